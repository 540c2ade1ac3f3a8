"""A converted encoder held against the original."""
