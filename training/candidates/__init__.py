"""Candidate sources fitted beside the retriever, on positive training events. A home of `implicit`."""
