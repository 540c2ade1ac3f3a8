"""What each modality brings: a trained system evaluated while one is absent, shuffled or noise."""
