"""What the tabs of the page share: controls, theme, text, caches."""
