"""The form on the left of the tab Unlearn."""
