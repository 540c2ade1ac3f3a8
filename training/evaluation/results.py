"""All results of one evaluation: the content of metrics.json."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from recsys.errors import ConfigError
from recsys.metrics import Estimate
from training.search import SearchEvaluation

# A constant, so that reports of different runs compare. With fewer users a bootstrap interval is unreliable.
FEW_USERS = 30


@dataclass(frozen=True, kw_only=True)
class Change:
    """The value of an altered model, and the difference: altered minus unaltered model."""

    value: Estimate
    change: Estimate  # paired: both values are of the same drawn users in every resample

    @classmethod
    def by_view(cls, data: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> dict[str, dict[str, "Change"]]:
        """View -> metric -> change, from the output of `dataclasses.asdict`."""
        return {
            view: {
                metric: cls(value=Estimate(**each["value"]), change=Estimate(**each["change"]))
                for metric, each in changes.items()
            }
            for view, changes in data.items()
        }


@dataclass(frozen=True, kw_only=True)
class ViewResult:
    """One part of the test: its numbers of users, pairs and ranked items, and every model's estimates."""

    description: str
    num_users: int
    num_pairs: int
    num_ranked: int
    models: Mapping[str, Mapping[str, Estimate]]  # model -> metric -> estimate; empty without users
    differences: Mapping[str, Mapping[str, Estimate]] = field(default_factory=dict)  # main minus it

    @property
    def is_small(self) -> bool:
        return self.num_users < FEW_USERS


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Results by view, and by slice: kind ("items", "users") -> name -> result."""

    protocol: str
    description: str
    ks: tuple[int, ...]
    exclude_seen: bool
    counts: Mapping[str, int]
    views: Mapping[str, ViewResult]
    slices: Mapping[str, Mapping[str, ViewResult]] = field(default_factory=dict)
    not_measured: str = ""  # why the test has no user to measure on; empty where it has one
    main_model: str | None = None  # the differences are this model minus every other
    content: tuple[str, ...] = ()  # modalities of the diversity of a list
    search: SearchEvaluation | None = None  # None where the run has no search, or no queries with answers

    def to_json(self) -> str:
        """The text of metrics.json."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Evaluation":
        """Reads the output of `to_json`; raises `ConfigError` for results of an older version."""
        data: dict[str, Any] = json.loads(text)
        if "main_model" not in data:
            raise ConfigError("metrics.json is of an older version; write it again: recsys evaluate RUN")
        slices = {kind: _results(parts) for kind, parts in data["slices"].items()}
        read = {
            "ks": tuple(data["ks"]),
            "views": _results(data["views"]),
            "slices": slices,
            "content": tuple(data["content"]),
            "search": SearchEvaluation.of_dict(data["search"]) if data.get("search") else None,
        }
        return cls(**data | read)

    def flat(self) -> dict[str, float]:
        """`{"warm/als/ndcg@10": 0.1, ...}`: every mean of the views and of search, for a tracker."""
        found = {
            f"{view}/{model}/{metric}": estimate.value
            for view, result in self.views.items()
            for model, estimates in result.models.items()
            for metric, estimate in estimates.items()
        }
        return found | (self.search.flat() if self.search else {})


def _results(parts: Mapping[str, Mapping[str, Any]]) -> dict[str, ViewResult]:
    return {
        name: ViewResult(
            **{
                **part,
                "models": _estimates(part["models"]),
                "differences": _estimates(part["differences"]),
            }
        )
        for name, part in parts.items()
    }


def _estimates(models: Mapping[str, Mapping[str, Mapping[str, float]]]) -> dict[str, dict[str, Estimate]]:
    return {
        model: {metric: Estimate(**estimate) for metric, estimate in by_metric.items()}
        for model, by_metric in models.items()
    }
