"""Which events are training, validation and test, and which reviews may be read."""
