"""Watch a language model forget: run, measure and compare LLM unlearning from the browser."""

import os

__version__ = "0.1.0"

# Libraries read these when they are first imported. Everything that runs here is on this machine,
# so nothing may ask another host; a user who sets them otherwise is obeyed.
for _variable, _value in (
    ("HF_HUB_OFFLINE", "1"),
    ("HF_HUB_DISABLE_TELEMETRY", "1"),
    ("GRADIO_ANALYTICS_ENABLED", "False"),
):
    os.environ.setdefault(_variable, _value)
