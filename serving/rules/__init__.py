"""Rules of the operator and of a request: read, validated, merged within limits, applied to a catalogue."""

from serving.rules.book import RuleBook, seed_of
from serving.rules.schema import RulesBody

__all__ = [
    "RuleBook",
    "RulesBody",
    "seed_of",
]
