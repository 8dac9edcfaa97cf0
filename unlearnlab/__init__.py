"""Watch a language model forget: run, measure and compare LLM unlearning from the browser."""

import os

__version__ = "0.1.0"

# Libraries read these when they are first imported; a user who sets them otherwise is obeyed.
# Everything that runs here is on this machine, so nothing may ask another host. Threads that wait
# must sleep: spinning, they cost a factor of five as soon as a browser shares two cores.
for _variable, _value in (
    ("HF_HUB_OFFLINE", "1"),
    ("HF_HUB_DISABLE_TELEMETRY", "1"),
    ("GRADIO_ANALYTICS_ENABLED", "False"),
    ("OMP_WAIT_POLICY", "PASSIVE"),
):
    os.environ.setdefault(_variable, _value)
