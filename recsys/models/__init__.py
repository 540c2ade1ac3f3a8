"""The torch models. Shape suffixes as in recsys/arrays.py; import the submodules by name."""
