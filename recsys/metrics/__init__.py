"""Metrics of ranked lists, beyond accuracy too, and their confidence intervals."""
