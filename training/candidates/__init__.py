"""Fitting of the candidate sources beside the retriever. The home of `implicit`."""
