"""Reasons of recommendations: the past item and the modality that an item owes its score to."""

from recsys.retrieval.explanations.attention import Reason, phrase, reason_of
from recsys.retrieval.explanations.leave_one_out import LEFT_OUT, by_leave_one_out, score_drops

__all__ = [
    "LEFT_OUT",
    "Reason",
    "by_leave_one_out",
    "phrase",
    "reason_of",
    "score_drops",
]
