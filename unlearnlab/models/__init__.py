"""Models that a spec can name: families, checkpoints on disk, the hub. No model is loaded here."""
