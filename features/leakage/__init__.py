"""The audit: what models are handed is held against the split anew, by other code than made it."""
