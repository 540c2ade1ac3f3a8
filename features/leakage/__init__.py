"""The leakage audit: model inputs are computed again by separate code and compared with the given inputs."""

from features.leakage.audit import Audit, audit_fit, audit_test

__all__ = [
    "Audit",
    "audit_fit",
    "audit_test",
]
