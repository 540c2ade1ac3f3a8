"""The audit where torch comes in: rows of the model and of its steps, and what a run keeps of its audits.

Legend: N items.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from features.leakage.audit import Audit
from recsys.arrays import Ints
from recsys.errors import LeakError
from recsys.files import replacing
from recsys.history import History
from recsys.ids import NUM_RESERVED, PAD, UNKNOWN
from recsys.models.item_tower import Standardise
from recsys.models.retriever import Retriever
from training.evaluation.predictions import Answers
from training.sequences import Sequence
from training.towers.train_step import TrainStep

AUDIT = "audit.json"
_REMEDY = "make models and steps of features whose `trained` are the items of split.train"


class Histories(Mapping[str, History]):
    """The histories of training sequences, each made when it is asked for."""

    def __init__(self, sequences: Mapping[str, Sequence]) -> None:
        self._sequences = sequences

    def __getitem__(self, user: str) -> History:
        return self._sequences[user].history

    def __iter__(self) -> Iterator[str]:
        return iter(self._sequences)

    def __len__(self) -> int:
        return len(self._sequences)


def audit_step(step: TrainStep) -> TrainStep:
    """The same step; `LeakError` where an untrained item has an id row, is a negative or bends a scale.

    Which items are trained is `ItemFeatures.trained`, which `features.leakage.audit.audit_fit` has checked.
    """
    model, trained_N = step.model, step.model.features.trained
    id_row_N = model.id_row_N.numpy()
    _reject(model, ~trained_N & (id_row_N > UNKNOWN), "an untrained item has an id row of its own", "id rows")
    drawn_N = np.zeros(model.features.size, np.bool_)
    drawn_N[step.trained_rows.numpy()] = True
    _reject(model, ~trained_N & drawn_N, "an untrained item stands among the negatives", "negatives")
    for name, scale in model.scale.items():
        assert isinstance(scale, Standardise)
        _check_scale(model, name, scale)
    return step


def truth_of(answers: Answers) -> dict[str, Ints]:
    """What was to be found, warm or cold, by user."""
    parts = [np.split(each.ids, each.offsets[1:-1]) for each in (answers.warm, answers.cold)]
    return {
        user: np.concatenate(both) for user, both in zip(answers.users, zip(*parts, strict=True), strict=True)
    }


def record_audit(directory: Path, stage: str, audit: Audit) -> None:
    """Write what was looked at, beside the other stages, into `audit.json`."""
    content = {name: asdict(each) for name, each in (read_audits(directory) | {stage: audit}).items()}
    with replacing(directory / AUDIT) as temporary:
        temporary.write_text(json.dumps(content, indent=2), "utf-8")


def read_audits(directory: Path) -> dict[str, Audit]:
    """The audits of a run by stage (main, later, twin, refit, test); none of an older run."""
    path = directory / AUDIT
    if not path.exists():
        return {}
    return {
        stage: Audit(
            checked=tuple(values["checked"]),
            not_checked=tuple(values["not_checked"]),
            seconds=values["seconds"],
        )
        for stage, values in json.loads(path.read_text("utf-8")).items()
    }


def _check_scale(model: Retriever, name: str, scale: Standardise) -> None:
    features = model.features
    rows = np.flatnonzero(features.trained & features.present[name])
    expected = Standardise(len(scale.mean))
    expected.fit(torch.from_numpy(features.dense[name][rows]))
    if not torch.allclose(scale.mean.cpu(), expected.mean, rtol=1e-4, atol=1e-5):
        raise LeakError(
            "vectors are centred on a mean that is not that of the trained items",
            table=f"the scale of {name!r}",
            remedy=_REMEDY,
        )


def _reject(model: Retriever, wrong_N: np.ndarray, what: str, table: str) -> None:
    wrong_N = wrong_N.copy()
    wrong_N[[PAD, UNKNOWN]] = False
    if wrong_N.any():
        item = model.features.item_ids.external[int(wrong_N.argmax()) - NUM_RESERVED]
        raise LeakError(what, table=table, item=item, remedy=_REMEDY)
