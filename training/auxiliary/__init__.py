"""Losses of the towers beside that of the next item, each off by default: `train.auxiliary`."""
