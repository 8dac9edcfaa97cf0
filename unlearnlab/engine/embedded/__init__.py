"""The embedded model: its tokenizer, its training recipe, and the check of what it must be."""
