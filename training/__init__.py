"""Training, tracking, evaluation and export. Needs torch; never imported by serving."""
