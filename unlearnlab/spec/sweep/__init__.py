"""Sweeps: one run varied along axes, as a value; the runs it asks for; what came of them."""
