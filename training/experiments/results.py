"""The content of ablation.json: the results of each option, and its paired change against the base.

Shape suffixes: U users of a view, M metrics, R resamples.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recsys.files import replacing
from recsys.metrics import Doubles, Sampled, resamples, weighted_means
from training.evaluation import Change
from training.experiments.options import BASE, Option
from training.experiments.outcome import Outcome


@dataclass(frozen=True, kw_only=True)
class Row:
    """One option: its results as means over the seeds, and its change against the base."""

    name: str
    settings: Mapping[str, Any]  # the changed settings; empty for the base
    validation: tuple[float | None, ...]  # NDCG@10 by seed
    best_epochs: tuple[int, ...]  # by seed
    cpu_seconds: float | None  # mean of the fits that were not interrupted
    views: Mapping[str, Mapping[str, Change]]  # view -> metric -> change; empty without users
    by_seed: Mapping[str, Mapping[str, tuple[float, ...]]]  # the same results by seed

    @property
    def validation_ndcg(self) -> float | None:
        """Mean over the seeds; None without validation events."""
        known = [value for value in self.validation if value is not None]
        return float(np.mean(known)) if known else None


@dataclass(frozen=True, kw_only=True)
class AblatedView:
    description: str
    num_users: int
    num_pairs: int
    num_ranked: int


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """The content of ablation.json; the first row is the base."""

    protocol: str
    description: str
    ks: tuple[int, ...]
    seeds: tuple[int, ...]
    is_full_system: bool  # with the ranker
    views: Mapping[str, AblatedView]
    rows: tuple[Row, ...]
    left_out: Mapping[str, str]  # option -> reason

    @property
    def base(self) -> Row:
        return self.rows[0]

    def save(self, path: Path) -> None:
        """Write ablation.json atomically."""
        text = json.dumps(asdict(self), indent=1, ensure_ascii=False, allow_nan=False)
        with replacing(path) as temporary:
            temporary.write_text(text + "\n", "utf-8")

    @classmethod
    def load(cls, path: Path) -> "Ablation":
        """Read the output of `save`."""
        data: dict[str, Any] = json.loads(path.read_text("utf-8"))
        views = {name: AblatedView(**view) for name, view in data["views"].items()}
        read = {"ks": tuple(data["ks"]), "seeds": tuple(data["seeds"]), "views": views}
        return cls(**data | read | {"rows": tuple(map(_row, data["rows"]))})


def rows_of(options: Sequence[Option], outcomes: Mapping[str, Sequence[Outcome]], *, seed: int) -> list[Row]:
    """One row for each option, the base first.

    `outcomes` has each option's outcomes by seed. All outcomes have the same users.
    """
    views = outcomes[BASE][0].views
    changes = {
        view: _changes(
            {name: _mean_of(outcomes_by_seed, view) for name, outcomes_by_seed in outcomes.items()}, seed
        )
        for view in views
    }
    base = Option(name=BASE, settings={})
    return [
        Row(
            name=option.name,
            settings=option.settings,
            validation=tuple(fit.validation_ndcg for fit in outcomes[option.name]),
            best_epochs=tuple(fit.best_epoch for fit in outcomes[option.name]),
            cpu_seconds=_mean([fit.cpu_seconds for fit in outcomes[option.name]]),
            views={view: changes[view].get(option.name, {}) for view in views},
            by_seed={view: _by_seed(outcomes[option.name], view) for view in views},
        )
        for option in (base, *options)
    ]


def _mean_of(outcomes_by_seed: Sequence[Outcome], view: str) -> dict[str, Doubles]:
    """Every user's results, averaged over the seeds: metric -> [U]."""
    each = [fit.views[view] for fit in outcomes_by_seed]
    assert all(results.users == each[0].users for results in each), "seeds share the test's users"
    return {
        metric: np.mean([results.values[metric] for results in each], axis=0) for metric in each[0].values
    }


def _by_seed(outcomes_by_seed: Sequence[Outcome], view: str) -> dict[str, tuple[float, ...]]:
    values = [fit.views[view].values for fit in outcomes_by_seed]
    return {metric: tuple(float(value[metric].mean()) for value in values) for metric in values[0]}


def _changes(value_of: Mapping[str, Mapping[str, Doubles]], seed: int) -> dict[str, dict[str, Change]]:
    """The change by option and metric; empty where the view has no users."""
    metrics = list(value_of[BASE])
    if not metrics:
        return {}
    value_UM_of = {name: np.stack([by[m] for m in metrics], axis=1) for name, by in value_of.items()}
    drawn: dict[str, list[Doubles]] = {name: [] for name in value_of}
    for drawn_RU in resamples(len(value_UM_of[BASE]), seed=seed):
        weight_RU = drawn_RU.astype(np.float64)
        for name, value_UM in value_UM_of.items():
            drawn[name].append(weighted_means(weight_RU, value_UM))
    sampled = {name: _sampled(value_UM_of[name], np.concatenate(drawn[name])) for name in value_of}
    return {
        name: {
            metric: Change(value=result.estimate(), change=(result - base).estimate())
            for metric, result, base in zip(metrics, results, sampled[BASE], strict=True)
        }
        for name, results in sampled.items()
    }


def _sampled(value_UM: Doubles, mean_RM: Doubles) -> list[Sampled]:
    return [
        Sampled(value=float(value), drawn_R=mean_RM[:, at]) for at, value in enumerate(value_UM.mean(axis=0))
    ]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _row(data: Mapping[str, Any]) -> Row:
    by_seed = {view: {m: tuple(v) for m, v in by.items()} for view, by in data["by_seed"].items()}
    read = {
        "views": Change.by_view(data["views"]),
        "by_seed": by_seed,
        "validation": tuple(data["validation"]),
    }
    return Row(**{**data, **read, "best_epochs": tuple(data["best_epochs"])})
