"""The tab Trace."""
