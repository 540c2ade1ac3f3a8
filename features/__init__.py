"""Raw tables and media to model inputs: the same code for training, batch and serving."""
