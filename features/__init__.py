"""Raw tables and media to model inputs: the same code for training, batch and serving."""

import os

# Polars reads this when it is imported. By default it keeps freed memory for 0.5 to 1.5 seconds, so that the
# steps from the tables to the inputs of a training hold the freed tables of each other.
os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:10,muzzy_decay_ms:0")
