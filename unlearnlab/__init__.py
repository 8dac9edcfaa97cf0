"""Watch a language model forget: run, measure and compare LLM unlearning from the browser."""

import os

__version__ = "0.1.0"

# A user who closes the hub is obeyed. If it is closed below, `hub` may open it for a model that was
# asked for by name. A variable tells it, for a process that this one starts inherits them all.
if not {"HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"} & os.environ.keys():
    os.environ["UNLEARNLAB_MAY_ASK_HUB"] = "1"

# Libraries read these when they are first imported; a user who sets them otherwise is obeyed.
# What runs is on this machine, so no library may ask another host. What transformers logs, such as
# texts beyond the context, we refuse or tell in our own words. Threads that wait must sleep:
# spinning, they cost a factor of five as soon as a browser shares two cores.
for _variable, _value in (
    ("HF_HUB_OFFLINE", "1"),
    ("HF_HUB_DISABLE_TELEMETRY", "1"),
    ("HF_DATASETS_DISABLE_PROGRESS_BARS", "1"),
    ("GRADIO_ANALYTICS_ENABLED", "False"),
    ("TRANSFORMERS_VERBOSITY", "error"),
    ("OMP_WAIT_POLICY", "PASSIVE"),
):
    os.environ.setdefault(_variable, _value)
