"""All results of one evaluation of search: the part `search` of metrics.json."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from recsys.metrics import Estimate

# Systems beside the legs, which have their own names.
LEXICAL, DENSE, HYBRID, PERSONAL = "lexical", "dense", "hybrid", "personal hybrid"
MAIN_METRIC: Final = "ndcg@10"


@dataclass(frozen=True, kw_only=True)
class Bin:
    """Hits whose relevance lies in one tenth of [0, 1]."""

    low: float
    high: float
    num_hits: int
    mean_relevance: float
    share_relevant: float  # of the hits, those judged relevant


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """How well the relevance of hits agrees with the judgements.

    `error` is the expected calibration error: the mean over hits of |mean relevance - share judged relevant|
    of the hit's bin (Naeini et al. 2015). Unjudged hits are not relevant, so that incomplete judgements make
    it larger.
    """

    error: float
    bins: tuple[Bin, ...]


@dataclass(frozen=True, kw_only=True)
class Endings:
    """What lists look like that end where relevance falls below the threshold."""

    min_relevance: float
    mean_length: float  # of lists of up to 100 items, of answerable queries
    share_found: Estimate | None  # of answerable queries, those with a relevant item in the first ten
    share_empty: Estimate | None  # of answerable queries, those without any item
    share_answered_wrongly: Estimate | None  # of unanswerable queries, those with any item


@dataclass(frozen=True, kw_only=True)
class Milliseconds:
    """Latency of one stage."""

    median: float
    p95: float


@dataclass(frozen=True, kw_only=True)
class SearchEvaluation:
    """Every system on one set of queries; intervals are over clusters of queries, one for each user."""

    description: str
    num_queries: int
    num_unanswerable: int  # queries that no item of the catalogue answers
    num_clusters: int
    systems: Mapping[str, Mapping[str, Estimate]]  # system -> metric
    differences: Mapping[str, Mapping[str, Estimate]]  # system -> hybrid minus it, paired
    personal: Mapping[str, Estimate]  # personal minus impersonal hybrid, paired; empty without users
    best_leg: str | None  # of all systems but the hybrids, the one of highest NDCG@10
    reliability: Reliability | None  # None without a calibration
    endings: Endings | None  # None without a threshold
    milliseconds: Mapping[str, Milliseconds]
    cross_modal: tuple[Mapping[str, Any], ...] = ()  # rows of training.alignment.cross_modal_recall

    @classmethod
    def of_dict(cls, data: Mapping[str, Any]) -> "SearchEvaluation":
        """Reads the output of `dataclasses.asdict`, also after JSON."""
        reliability, endings = data["reliability"], data["endings"]
        return cls(
            **{
                **data,
                "systems": {name: _estimates(each) for name, each in data["systems"].items()},
                "differences": {name: _estimates(each) for name, each in data["differences"].items()},
                "personal": _estimates(data["personal"]),
                "reliability": None
                if reliability is None
                else Reliability(
                    error=reliability["error"], bins=tuple(Bin(**each) for each in reliability["bins"])
                ),
                "endings": None if endings is None else _endings(endings),
                "milliseconds": {name: Milliseconds(**each) for name, each in data["milliseconds"].items()},
                "cross_modal": tuple(data["cross_modal"]),
            }
        )

    @property
    def beats_best_leg(self) -> Estimate | None:
        """NDCG@10 of the hybrid minus the best leg."""
        return None if self.best_leg is None else self.differences[self.best_leg][MAIN_METRIC]

    def flat(self) -> dict[str, float]:
        """`{"search/hybrid/ndcg@10": 0.1, ...}` for a tracker."""
        return {
            f"search/{system}/{metric}": estimate.value
            for system, estimates in self.systems.items()
            for metric, estimate in estimates.items()
        }


def _estimates(by_metric: Mapping[str, Mapping[str, float]]) -> dict[str, Estimate]:
    return {metric: Estimate(**estimate) for metric, estimate in by_metric.items()}


def _endings(data: Mapping[str, Any]) -> Endings:
    shares = {
        name: None if data[name] is None else Estimate(**data[name])
        for name in ("share_found", "share_empty", "share_answered_wrongly")
    }
    return Endings(**{**data, **shares})
