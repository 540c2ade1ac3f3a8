"""Evaluation of search: queries with judgements, every system on them, results and tables."""
