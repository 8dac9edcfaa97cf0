"""The training loop, its row order and optimizer steps."""
