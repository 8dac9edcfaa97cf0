"""Runs as one file: packed in one place, read and taken in at another.

A pack is a zip of JSON and safetensors. Who opens one does not know who made it, so everything
in it is checked before anything of it is kept.
"""
