"""The content of backtest.json: every model in every window, and the means over the windows.

A mean over windows has equal weights for the windows. Its interval is of a bootstrap over users: a user is
drawn with all windows that the user is in, because the windows of one user are not independent.

Shape suffixes: W windows, U users, C columns (a metric of a model), R resamples.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np

from recsys.config import EvaluateConfig
from recsys.files import replace_text
from recsys.metrics import Doubles, Estimate, IdLists, Sampled, at_k, resamples, weighted_means
from training.backtest.windows import Window
from training.evaluation import MODEL, Predictions

REFIT: Final = "recsys, refit"  # fitted again on all events before the window
ALL: Final = "all"
VIEWS: Final[Mapping[str, str]] = {
    ALL: "all positives of the window, warm and cold items counted together",
    "warm": "positives on items with an event before the window",
    "cold": "positives on items without an event before the window, the whole catalogue ranked",
    "known users": "all positives of users with an event before the window",
    "new users": "all positives of users without an event before the window",
}


@dataclass(frozen=True, kw_only=True)
class WindowLists:
    """The lists of every model in one window."""

    window: Window
    predictions: Predictions


@dataclass(frozen=True, kw_only=True)
class OverWindows:
    """One metric of one model: by window (None without users), the mean, and MODEL minus this model."""

    by_window: tuple[float | None, ...]
    mean: Estimate
    difference: Estimate  # paired; 0 for MODEL itself
    differences: tuple[Estimate | None, ...]  # by window


@dataclass(frozen=True, kw_only=True)
class BacktestView:
    """The results on one part of the tests."""

    description: str
    num_users: tuple[int, ...]  # by window
    models: Mapping[str, Mapping[str, OverWindows]]  # model -> metric; empty without users


@dataclass(frozen=True, kw_only=True)
class Backtest:
    """All results of a backtest."""

    windows: tuple[Window, ...]
    ks: tuple[int, ...]
    views: Mapping[str, BacktestView]

    @classmethod
    def of(cls, lists: Sequence[WindowLists], settings: EvaluateConfig) -> "Backtest":
        """The metrics of the lists of all windows; models that a window lacks are left out."""
        predictions = [each.predictions for each in lists]
        names = [name for name in predictions[0].models if all(name in each.models for each in predictions)]
        return cls(
            windows=tuple(each.window for each in lists),
            ks=tuple(settings.k),
            views={view: _view(view, predictions, names, settings.k) for view in VIEWS},
        )

    def save(self, path: Path) -> None:
        """Write backtest.json atomically."""
        replace_text(path, json.dumps(asdict(self), indent=1, ensure_ascii=False, allow_nan=False) + "\n")

    @classmethod
    def load(cls, path: Path) -> "Backtest":
        """Read the output of `save`."""
        data: dict[str, Any] = json.loads(path.read_text("utf-8"))
        return cls(
            windows=tuple(Window(**each) for each in data["windows"]),
            ks=tuple(data["ks"]),
            views={name: _read_view(each) for name, each in data["views"].items()},
        )


def _view(
    view: str, predictions: Sequence[Predictions], names: Sequence[str], ks: Sequence[int]
) -> BacktestView:
    parts = [_Part.of(view, each, names, ks) for each in predictions]
    filled = [part for part in parts if part.users]
    place_of = {id(part): place for place, part in enumerate(filled)}
    places = [place_of.get(id(part)) for part in parts]
    models = {}
    if filled:
        metrics = filled[0].metrics
        value_WC = np.stack([part.value_UC.mean(axis=0) for part in filled])
        drawn_WRC = _resampled(filled)
        columns = {each: at for at, each in enumerate(product(names, metrics))}

        def of(name: str, metric: str) -> list[Sampled]:
            at = columns[name, metric]
            return [
                Sampled(value=float(v), drawn_R=d)
                for v, d in zip(value_WC[:, at], drawn_WRC[:, :, at], strict=True)
            ]

        models = {
            name: {metric: _over_windows(of(name, metric), of(MODEL, metric), places) for metric in metrics}
            for name in names
        }
    counts = tuple(len(part.users) for part in parts)
    return BacktestView(description=VIEWS[view], num_users=counts, models=models)


def _resampled(parts: Sequence["_Part"]) -> Doubles:
    """The means of every column in each window, in resamples of the users of all windows. [W, R, C]."""
    everyone = {user: row for row, user in enumerate(sorted({user for part in parts for user in part.users}))}
    rows = [np.array([everyone[user] for user in part.users]) for part in parts]
    drawn: list[list[Doubles]] = [[] for _ in parts]
    for drawn_RU in resamples(len(everyone)):
        weight_RU = drawn_RU.astype(np.float64)
        for found, part, row in zip(drawn, parts, rows, strict=True):
            with np.errstate(invalid="ignore"):  # NaN in a resample without a user of this window
                found.append(weighted_means(weight_RU[:, row], part.value_UC))
    return np.stack([np.concatenate(each) for each in drawn])


@dataclass(frozen=True, kw_only=True)
class _Part:
    """The users of one window who are in a view, and their values by model and metric."""

    users: tuple[str, ...]
    metrics: tuple[str, ...]
    value_UC: Doubles  # columns: all metrics of the first model, then those of the next

    @classmethod
    def of(cls, view: str, found: Predictions, names: Sequence[str], ks: Sequence[int]) -> "_Part":
        wanted = {"warm": [found.warm], "cold": [found.cold]}.get(view, [found.warm, found.cold])
        items = [np.concatenate(each) for each in zip(*(each.to_lists() for each in wanted), strict=True)]
        everyone = np.ones(len(found.users), np.bool_)
        is_known = found.num_seen > 0
        is_in = {"known users": is_known, "new users": ~is_known}.get(view, everyone)
        rows = [row for row, each in enumerate(items) if len(each) and is_in[row]]
        if not rows:
            return cls(users=(), metrics=(), value_UC=np.empty((0, 0)))
        truth = IdLists.from_lists([items[row] for row in rows])
        values = [at_k(found.models[name][rows], truth, ks) for name in names]
        return cls(
            users=tuple(found.users[row] for row in rows),
            metrics=tuple(values[0]),
            value_UC=np.stack([each[metric] for each in values for metric in values[0]], axis=1),
        )


def _over_windows(
    own: Sequence[Sampled], main: Sequence[Sampled], places: Sequence[int | None]
) -> OverWindows:
    gaps = [first - second for first, second in zip(main, own, strict=True)]
    return OverWindows(
        by_window=tuple(None if place is None else own[place].value for place in places),
        mean=_mean(own).estimate(),
        difference=_mean(gaps).estimate(),
        differences=tuple(None if place is None else gaps[place].estimate() for place in places),
    )


def _mean(windows: Sequence[Sampled]) -> Sampled:
    """The mean over windows; in a resample, over the windows that have a user in it."""
    drawn_WR = np.stack([each.drawn_R for each in windows])
    number_R = (~np.isnan(drawn_WR)).sum(axis=0)
    drawn_R = np.nansum(drawn_WR, axis=0) / np.where(number_R > 0, number_R, np.nan)
    return Sampled(value=float(np.mean([each.value for each in windows])), drawn_R=drawn_R)


def _read_view(data: Mapping[str, Any]) -> BacktestView:
    def over(values: Mapping[str, Any]) -> OverWindows:
        return OverWindows(
            by_window=tuple(values["by_window"]),
            mean=Estimate(**values["mean"]),
            difference=Estimate(**values["difference"]),
            differences=tuple(each and Estimate(**each) for each in values["differences"]),
        )

    return BacktestView(
        description=data["description"],
        num_users=tuple(data["num_users"]),
        models={
            name: {metric: over(values) for metric, values in metrics.items()}
            for name, metrics in data["models"].items()
        },
    )
