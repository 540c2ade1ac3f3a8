"""One fit: from a split and its vectors to towers, ranker and recommender."""
