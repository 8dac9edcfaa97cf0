"""Datasets: those a spec can name, the embedded corpus, and adding a user's files. No torch."""
