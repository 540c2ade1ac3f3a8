"""All media of a dataset to vectors, cached by content."""
