"""What a dataset is added from: files, folders and typed facts, read, checked and kept.

Nothing here needs torch, and nothing goes to a network unless it was asked to.
"""
