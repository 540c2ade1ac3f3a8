"""Model inputs: item features, users' histories, and the view of a split that training reads."""
