"""Loops, checkpoints, tracking, evaluation and export. Needs torch; never imported by serving."""
