"""From a user vector to a ranked list: indexes, candidate sources, the `Recommender`, re-ranking, reasons."""
