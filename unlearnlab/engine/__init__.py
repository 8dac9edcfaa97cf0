"""All that touches a tensor. The engine knows no store, threads or widgets."""

import logging

# Importing peft imports bitsandbytes, which reports a missing optional kernel on every start.
logging.getLogger("bitsandbytes").setLevel(logging.CRITICAL)
