"""Comparison of a converted encoder with its original."""
