"""Losses of the towers beside that of the next item, by their weights in `train.auxiliary`."""
