"""The examples with titles and pictures: who they are, what was recommended, what of it was right."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from features.dataset import Dataset
from recsys.columns import Columns
from recsys.retrieval import phrase
from training.evaluation import Example, Listed
from training.report.pictures import thumbnail
from training.report.words import counted, short

TITLE_LENGTH = 60
HELD_OUT_SHOWN = 12


@dataclass(frozen=True, kw_only=True)
class Item:
    title: str
    picture: str | None  # data URI


@dataclass(frozen=True, kw_only=True)
class Place:
    """One place of a list; `why` is empty where nothing explains it."""

    rank: int
    item: Item
    hit: bool
    why: str


@dataclass(frozen=True, kw_only=True)
class Shown:
    user: str
    failed: bool
    verdict: str
    num_past: int
    past: tuple[Item, ...]  # newest first
    held_out: tuple[Item, ...]
    num_held_out: int
    places: tuple[Place, ...]


def show(examples: Sequence[Example], dataset: Dataset) -> tuple[Shown, ...]:
    """The examples, each item with its title (or its id) and its first picture."""
    items = _items(dataset, examples)
    return tuple(_shown(example, items) for example in examples)


def has_pictures(shown: Iterable[Shown]) -> bool:
    return any(
        item.picture
        for each in shown
        for item in (*each.past, *each.held_out, *(place.item for place in each.places))
    )


def _items(dataset: Dataset, examples: Sequence[Example]) -> dict[str, Item]:
    wanted = {
        name
        for each in examples
        for name in (*each.past, *each.held_out[:HELD_OUT_SHOWN], *(place.item for place in each.listed))
    }
    explaining = {place.past_item for each in examples for place in each.listed if place.past_item}
    # Only what an example names is decoded.
    rows = dataset.items.filter(pl.col(Columns.ITEM).is_in(sorted(wanted | explaining)))
    columns = rows.select(Columns.ITEM, Columns.TITLE, pl.col(Columns.IMAGE).list.first())
    return {
        name: Item(
            title=short(title or name, TITLE_LENGTH), picture=_picture(path) if name in wanted else None
        )
        for name, title, path in columns.iter_rows()
    }


def _shown(example: Example, items: Mapping[str, Item]) -> Shown:
    return Shown(
        user=short(example.user, 40),
        failed=not example.num_hits,
        verdict=_verdict(example.num_hits, len(example.held_out), len(example.listed)),
        num_past=example.num_past,
        past=tuple(items[name] for name in example.past),
        held_out=tuple(items[name] for name in example.held_out[:HELD_OUT_SHOWN]),
        num_held_out=len(example.held_out),
        places=tuple(
            Place(rank=rank, item=items[each.item], hit=each.hit, why=_why(each, items))
            for rank, each in enumerate(example.listed, 1)
        ),
    )


def _verdict(num_hits: int, num_held_out: int, length: int) -> str:
    if num_hits == num_held_out == 1:
        return f"The one held-out item is among the first {length}"
    if num_hits:
        return f"{num_hits} of {counted(num_held_out, 'held-out item')} are among the first {length}"
    missed = (
        "the one held-out item is not" if num_held_out == 1 else f"none of {num_held_out:,} held-out items is"
    )
    return f"A miss: {missed} among the first {length}"


def _why(listed: Listed, items: Mapping[str, Item]) -> str:
    """The modality and the past item that the ranker attended to most."""
    parts = [phrase(listed.modality)] if listed.modality else []
    parts += [f"“{items[listed.past_item].title}”"] if listed.past_item else []
    return ", ".join(parts)


def _picture(path: str | None) -> str | None:
    return thumbnail(Path(path)) if path else None
