"""The change of every metric when a group is knocked out: the same evaluation, paired by user."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from features.inputs import SeenItems
from recsys.arrays import Bools, Ints
from recsys.columns import Columns
from recsys.errors import ConfigError, DataError
from recsys.files import replacing
from recsys.metrics import Content, Estimate
from recsys.progress import Progress, silent
from training.evaluation import (
    FEW_USERS,
    MODEL,
    Change,
    Evaluation,
    EvaluationSet,
    EvaluationSettings,
    TopK,
    ViewResult,
    evaluate,
)
from training.knockouts.alteration import Kind
from training.knockouts.groups import ModalityGroup
from training.knockouts.kept import KeptCases
from training.knockouts.systems import KnockoutSubject


@dataclass(frozen=True, kw_only=True)
class Knockout:
    """One group altered in one way."""

    group: str
    tokens: tuple[str, ...]
    kind: Kind
    num_items: int  # that have any of the tokens
    num_reviews: int  # whose vectors are altered in histories
    views: Mapping[str, Mapping[str, Change]]  # view -> metric -> change; empty without users


@dataclass(frozen=True, kw_only=True)
class FullView:
    """The full model in one view."""

    description: str
    num_users: int
    num_pairs: int
    num_ranked: int
    metrics: Mapping[str, Estimate]

    @property
    def is_small(self) -> bool:
        return self.num_users < FEW_USERS


@dataclass(frozen=True, kw_only=True)
class Knockouts:
    """The content of knockouts.json."""

    protocol: str
    ks: tuple[int, ...]
    seed: int
    num_drawn: int  # test users that were drawn for the measurement
    num_users: int  # all test users
    views: Mapping[str, FullView]
    knockouts: tuple[Knockout, ...]

    def of(self, group: str, kind: Kind) -> Knockout:
        return next(each for each in self.knockouts if (each.group, each.kind) == (group, kind))

    @property
    def groups(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(each.group for each in self.knockouts))

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The ways in which every group was altered."""
        return tuple(dict.fromkeys(each.kind for each in self.knockouts))

    def relative(self, group: str, kind: Kind, view: str, metric: str) -> Estimate | None:
        """The change divided by the full model's value; the interval does not cover the error of the divisor.

        None without users and where the full model's value is 0.
        """
        changes, full = self.of(group, kind).views[view], self.views[view].metrics
        if not changes or full[metric].value == 0:
            return None
        change, by = changes[metric].change, full[metric].value
        return Estimate(value=change.value / by, low=change.low / by, high=change.high / by)

    def save(self, path: Path) -> None:
        """Write knockouts.json atomically."""
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(asdict(self), indent=1, allow_nan=False) + "\n", "utf-8")

    @classmethod
    def load(cls, path: Path) -> "Knockouts | None":
        """Reads the output of `save`; None where there is no file."""
        if not path.exists():
            return None
        data: dict[str, Any] = json.loads(path.read_text("utf-8"))
        if any("group" not in each for each in data["knockouts"]):
            raise ConfigError(
                f"{path} is of an older version; write it again: recsys knockouts {path.parent}"
            )
        views = {name: _read_full_view(view) for name, view in data["views"].items()}
        knockouts = tuple(_knockout(each) for each in data["knockouts"])
        return cls(**data | {"ks": tuple(data["ks"]), "views": views, "knockouts": knockouts})


def measure_knockouts(
    subject: KnockoutSubject, *, num_users: int, progress: Progress = silent, kept: Path | None = None
) -> Knockouts:
    """Every group of `subject` altered in the ways of `evaluate.knockout_kinds`, over `num_users` test users.

    Where there are more test users, `num_users` of them are drawn at random.

    Only one altered system is in memory at a time. Finished cases are kept in the folder `kept`, and not
    measured again. Raises `DataError` where the test has no positive event.
    """
    split = subject.split
    users = split.test.filter(Columns.POSITIVE)[Columns.USER].unique().sort().to_list()
    drawn = _sampled_users(users, num_users, subject.seed)
    if not drawn:
        raise DataError("the test has no positive event: there is no user to measure knock-outs on")
    data = EvaluationSet(
        split=split.testing(drawn),
        items=subject.fitted.features,
        seen=SeenItems(subject.histories),
    )
    full = _CachedModel(subject.full())
    content = Content.of(
        subject.fitted.features
    )  # unaltered, so that the diversity of all lists has one scale

    def evaluate_with(altered: TopK) -> Evaluation:
        settings = EvaluationSettings.of(subject.config.evaluate, main_model=altered.name)
        settings = replace(settings, with_slices=False)
        return evaluate([full, altered], data, settings, content=content)

    cases = [(group, kind) for group in subject.groups for kind in subject.config.evaluate.knockout_kinds]
    finished = KeptCases(kept, _key(subject, drawn))
    found: list[Knockout] = []
    views: Mapping[str, FullView] = {}
    for at, (group, kind) in enumerate(cases):
        name = f"{group.name} {kind}"
        progress("knock out", at, len(cases), name)
        values = finished.get_or_measure(
            f"{name} {group.tokens}", partial(_measure_case, subject, group, kind, evaluate_with)
        )
        found.append(_knockout(values["knockout"]))
        views = {name: _read_full_view(view) for name, view in values["views"].items()}
    progress("knock out", len(cases), len(cases))
    return Knockouts(
        protocol=split.protocol,
        ks=tuple(subject.config.evaluate.k),
        seed=subject.seed,
        num_drawn=len(drawn),
        num_users=len(users),
        views=views,
        knockouts=tuple(found),
    )


def _measure_case(
    subject: KnockoutSubject, group: ModalityGroup, kind: Kind, evaluate_with: Callable[[TopK], Evaluation]
) -> dict[str, Any]:
    """One `Knockout`, and the `FullView` of every view, as JSON values."""
    altered = subject.without(group, kind)
    views = evaluate_with(altered).views
    knockout = Knockout(
        group=group.name,
        tokens=group.tokens,
        kind=kind,
        num_items=subject.num_items(group),
        num_reviews=subject.num_reviews(group),
        views={name: _changes(view, altered.name) for name, view in views.items()},
    )
    full = {name: asdict(_full_view(view)) for name, view in views.items()}
    return {"knockout": asdict(knockout), "views": full}


def _key(subject: KnockoutSubject, drawn: Sequence[str]) -> str:
    """Changes with everything that a case depends on."""
    read = (
        subject.fitted.digest(),
        subject.dataset.fingerprint(),
        subject.split.description,
        subject.config.split,
        subject.config.evaluate,
        subject.config.encoders,
        subject.seed,
        drawn,
    )
    return hashlib.sha256(repr(read).encode("utf-8", "surrogatepass")).hexdigest()


def _sampled_users(users: Sequence[str], num: int, seed: int) -> list[str]:
    if len(users) <= num:
        return list(users)
    rows = np.random.default_rng(seed).choice(len(users), num, replace=False)
    return [users[row] for row in np.sort(rows)]


class _CachedModel:
    """The full model; its lists are computed once and used in every comparison."""

    def __init__(self, model: TopK) -> None:
        self.name, self._model = model.name, model
        self._predictions: dict[tuple[bool, tuple[str, ...]], Ints] = {}

    def recommend(self, users: Sequence[str], k: int, *, allowed: Bools | None) -> Ints:
        """`k` is the same in every call; `allowed` is None or always the pool of cold items."""
        key = (allowed is None, tuple(users))
        if key not in self._predictions:
            self._predictions[key] = self._model.recommend(users, k, allowed=allowed)
        return self._predictions[key]


def _changes(view: ViewResult, altered: str) -> dict[str, Change]:
    """Changes of the metrics that both systems have."""
    if not view.models:
        return {}
    return {
        metric: Change(value=view.models[altered][metric], change=change)
        for metric, change in view.differences[MODEL].items()
    }


def _full_view(view: ViewResult) -> FullView:
    return FullView(
        description=view.description,
        num_users=view.num_users,
        num_pairs=view.num_pairs,
        num_ranked=view.num_ranked,
        metrics=view.models.get(MODEL, {}),
    )


def _read_full_view(data: Mapping[str, Any]) -> FullView:
    metrics = {name: Estimate(**each) for name, each in data["metrics"].items()}
    return FullView(**{**data, "metrics": metrics})


def _knockout(data: Mapping[str, Any]) -> Knockout:
    views = Change.by_view(data["views"])
    return Knockout(**{**data, "tokens": tuple(data["tokens"]), "views": views})
