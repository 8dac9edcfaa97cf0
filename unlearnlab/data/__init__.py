"""Datasets: the known ones, the embedded corpus, and adding a user's own files. No torch."""
