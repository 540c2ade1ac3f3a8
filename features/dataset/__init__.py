"""A folder with a `dataset.toml` to a validated `Dataset`."""
