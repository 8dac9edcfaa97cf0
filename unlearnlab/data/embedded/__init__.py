"""The embedded target: a generator of its corpus and the recipe that trains it."""
