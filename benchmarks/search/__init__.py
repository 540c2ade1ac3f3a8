"""Programs that measure search and what it is made of."""
