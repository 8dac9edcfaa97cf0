"""The record of a run carried out once more: what is told before, and which numbers agree after."""
