"""Add datasets from files, folders and typed facts: read, check, save.

Nothing here needs torch, and nothing uses a network except on request.
"""
