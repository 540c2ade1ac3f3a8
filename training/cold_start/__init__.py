"""Cold items: content regressed onto learned vectors, and the calibration of their scores."""
