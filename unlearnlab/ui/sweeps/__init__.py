"""Sweeps on the page: the fold under the form, and the card of a sweep."""
