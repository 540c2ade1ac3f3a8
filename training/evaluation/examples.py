"""A few test users, drawn at random, with their lists and the reasons of the ranker."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from recsys.arrays import Bools
from recsys.files import replacing
from recsys.history import History
from recsys.ids import NUM_RESERVED, PAD
from recsys.metrics import IdLists
from recsys.retrieval import Recommendations, reason_of
from training.evaluation.predictions import Predictions
from training.evaluation.system import history_of
from training.fitting import Fitted

# Constants, so that reports of different runs look alike.
NUM_DRAWN = 4  # users
LIST_LENGTH = 10
PAST_SHOWN = 8  # newest items of a history


@dataclass(frozen=True, kw_only=True)
class Listed:
    """One item of a list, and the modality and past item that the ranker attended to most.

    Both are None without a ranker.
    """

    item: str
    hit: bool
    past_item: str | None
    modality: str | None


@dataclass(frozen=True, kw_only=True)
class Example:
    """One user: newest past items, held-out items, and the list of the model, all as external ids."""

    user: str
    num_past: int
    past: tuple[str, ...]  # newest first
    held_out: tuple[str, ...]
    listed: tuple[Listed, ...]

    @property
    def num_hits(self) -> int:
        return sum(each.hit for each in self.listed)


def draw_examples(
    predictions: Predictions,
    fitted: Fitted,
    histories: Mapping[str, History],
    *,
    model: str,
    exclude_seen: bool = True,
    seed: int = 0,
) -> list[Example]:
    """`NUM_DRAWN` users at random. Where all or none of them have a hit, one more for the other case.

    `model` is the name of `fitted` in `predictions`.
    """
    rows = drawn_rows(predictions, model, seed)
    if not rows:
        return []
    known = [history_of(predictions.users[row], histories, fitted.builder.empty) for row in rows]
    found = fitted.recommender.recommend(known, LIST_LENGTH, exclude_seen=exclude_seen)
    return [
        _example(predictions, row, known[place], fitted, _explained(found, place, fitted))
        for place, row in enumerate(rows)
    ]


def drawn_rows(predictions: Predictions, model: str, seed: int) -> list[int]:
    """Rows of the users to show: the first of a seeded order, with one hit and one miss if possible."""
    order = np.random.default_rng(seed).permutation(len(predictions.users))
    held_out = _held_out(predictions)
    has_hit: Bools = np.any(held_out.contain(predictions.models[model][:, :LIST_LENGTH]), axis=1)
    rows = order[:NUM_DRAWN].tolist()
    for wanted in (True, False):
        others = [row for row in order[NUM_DRAWN:].tolist() if has_hit[row] == wanted]
        if others and wanted not in has_hit[rows]:
            rows.append(others[0])
    return rows


def _held_out(predictions: Predictions) -> IdLists:
    """The ground truth of every user, warm and cold items together."""
    return IdLists.from_lists(list(predictions.ground_truth().values()))


def _example(
    predictions: Predictions, row: int, history: History, fitted: Fitted, listed: list[tuple[int, Listed]]
) -> Example:
    decode = fitted.features.item_ids.decode
    held_out = np.concatenate([each.to_lists()[row] for each in (predictions.warm, predictions.cold)])
    past = history.item[history.item >= NUM_RESERVED][::-1]
    return Example(
        user=predictions.users[row],
        num_past=len(history),
        past=tuple(decode(past[:PAST_SHOWN])),
        held_out=tuple(decode(held_out)),
        listed=tuple(replace(each, hit=item in held_out) for item, each in listed),
    )


def _explained(found: Recommendations, row: int, fitted: Fitted) -> list[tuple[int, Listed]]:
    """Item id and entry for each rank of one list that has an item. `hit` is not yet set."""
    decode = fitted.features.item_ids.decode
    listed = []
    for place, item in enumerate(found.items[row].tolist()):
        if item == PAD:
            break
        imputed = [name for name, has_N in fitted.features.imputed.items() if has_N[item]]
        token_names = fitted.retriever.model.spec.token_names
        reason = reason_of(found, row, place, token_names, str, imputed=imputed)
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
    """Write examples.json atomically."""
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
                "held_out": tuple(entry["held_out"]),
                "listed": tuple(Listed(**each) for each in entry["listed"]),
            }
        )
        for entry in entries
    ]
