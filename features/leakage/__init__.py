"""The audit: what models are handed is held against the split anew, by other code than made it."""

from features.leakage.audit import Audit, audit_fit, audit_test

__all__ = [
    "Audit",
    "audit_fit",
    "audit_test",
]
