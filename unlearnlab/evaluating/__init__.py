"""The official evaluation of any checkpoint: what is asked of it, the files it leaves, commands."""
