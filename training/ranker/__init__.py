"""Training of the ranker on lists that the retriever really returned."""
