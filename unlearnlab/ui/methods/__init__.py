"""The tab Methods."""
