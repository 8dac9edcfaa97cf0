"""Models that can be named: families, checkpoints on disk, the hub. No model is loaded here."""
