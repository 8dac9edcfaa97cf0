"""Carrying sweeps out: their runs are handed to the worker's queue, which does the rest."""
