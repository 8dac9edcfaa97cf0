"""Everything that uses torch: models, training, evaluation, tracing. No store, threads or UI."""

import logging

# Importing peft imports bitsandbytes, which reports a missing optional kernel on every start.
logging.getLogger("bitsandbytes").setLevel(logging.CRITICAL)
