"""Scoring a model: generation, membership losses, MMLU, the official script's protocol."""
