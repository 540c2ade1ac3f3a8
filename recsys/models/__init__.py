"""The torch models. Shape suffixes as in recsys/batches.py; import the submodules by name."""
