"""The generator of the embedded model's data."""
