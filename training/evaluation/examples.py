"""A few users of a test, drawn by lot, with what was recommended to them and why."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from recsys.arrays import Bools
from recsys.files import replacing
from recsys.history import History
from recsys.ids import NUM_RESERVED, PAD
from recsys.metrics.ranking import IdLists
from recsys.retrieval.explanations import reason_of
from recsys.retrieval.recommendations import Recommendations
from training.evaluation.predictions import Predictions
from training.evaluation.system import history_of
from training.fitting.fit import Fitted

NUM_DRAWN = 4
LIST_LENGTH = 10
PAST_SHOWN = 8


@dataclass(frozen=True, kw_only=True)
class Listed:
    """One place of a list; what the ranker attended to most, where there is a ranker that counts."""

    item: str
    hit: bool
    past_item: str | None
    modality: str | None


@dataclass(frozen=True, kw_only=True)
class Example:
    """One user: what was known, what was to be found and what we recommended, by external ids."""

    user: str
    num_past: int
    past: tuple[str, ...]  # newest first
    sought: tuple[str, ...]
    listed: tuple[Listed, ...]

    @property
    def num_hits(self) -> int:
        return sum(each.hit for each in self.listed)


def draw_examples(
    answers: Predictions,
    fitted: Fitted,
    histories: Mapping[str, History],
    *,
    model: str,
    exclude_seen: bool = True,
    seed: int = 0,
) -> list[Example]:
    """`NUM_DRAWN` users by lot, and one more where all of those failed or none did.

    `model` is the name of `fitted` in `answers`.
    """
    rows = drawn_rows(answers, model, seed)
    if not rows:
        return []
    known = [history_of(answers.users[row], histories, fitted.builder.empty) for row in rows]
    found = fitted.recommender.recommend(known, LIST_LENGTH, exclude_seen=exclude_seen)
    return [
        _example(answers, row, known[place], fitted, _explained(found, place, fitted))
        for place, row in enumerate(rows)
    ]


def drawn_rows(answers: Predictions, model: str, seed: int) -> list[int]:
    """Rows of the users to show: the first of a seeded order, success and failure both among them."""
    order = np.random.default_rng(seed).permutation(len(answers.users))
    sought = _sought(answers)
    has_hit: Bools = np.any(sought.contain(answers.models[model][:, :LIST_LENGTH]), axis=1)
    rows = order[:NUM_DRAWN].tolist()
    for wanted in (True, False):
        others = [row for row in order[NUM_DRAWN:].tolist() if has_hit[row] == wanted]
        if others and wanted not in has_hit[rows]:
            rows.append(others[0])
    return rows


def _sought(answers: Predictions) -> IdLists:
    """Everything that was to be found, warm or cold."""
    both = [
        np.concatenate(pair) for pair in zip(answers.warm.to_lists(), answers.cold.to_lists(), strict=True)
    ]
    return IdLists.from_lists(both)


def _example(
    answers: Predictions, row: int, history: History, fitted: Fitted, listed: list[tuple[int, Listed]]
) -> Example:
    decode = fitted.features.item_ids.decode
    sought = np.concatenate([each.to_lists()[row] for each in (answers.warm, answers.cold)])
    past = history.item[history.item >= NUM_RESERVED][::-1]
    return Example(
        user=answers.users[row],
        num_past=len(history),
        past=tuple(decode(past[:PAST_SHOWN])),
        sought=tuple(decode(sought)),
        listed=tuple(replace(each, hit=item in sought) for item, each in listed),
    )


def _explained(found: Recommendations, row: int, fitted: Fitted) -> list[tuple[int, Listed]]:
    """The places of one list that hold an item."""
    decode = fitted.features.item_ids.decode
    listed = []
    for place, item in enumerate(found.items[row].tolist()):
        if item == PAD:
            break
        reason = reason_of(found, row, place, fitted.retriever.model.spec.token_names, str)
        past = reason.past_item if reason else None
        listed.append(
            (
                item,
                Listed(
                    item=decode([item])[0],
                    hit=False,
                    past_item=None if past is None else decode([past])[0],
                    modality=reason.modality if reason else None,
                ),
            )
        )
    return listed


def save_examples(examples: list[Example], path: Path) -> None:
    text = json.dumps([asdict(each) for each in examples], indent=2, ensure_ascii=False)
    with replacing(path) as temporary:
        temporary.write_text(text, "utf-8")


def load_examples(path: Path) -> list[Example]:
    """Reads what `save_examples` wrote."""
    entries = json.loads(path.read_text("utf-8"))
    return [
        Example(
            **entry
            | {
                "past": tuple(entry["past"]),
                "sought": tuple(entry["sought"]),
                "listed": tuple(Listed(**each) for each in entry["listed"]),
            }
        )
        for entry in entries
    ]
