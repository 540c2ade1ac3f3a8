"""Training of the towers: next-item prediction over the catalogue."""
