"""Example users as the page shows them: history, recommended items, hits, held-out items, pictures."""

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

TITLE_LENGTH = 60  # characters
HELD_OUT_SHOWN = 12


@dataclass(frozen=True, kw_only=True)
class Item:
    title: str
    picture: str | None  # data URI


@dataclass(frozen=True, kw_only=True)
class RankedItem:
    """One item of a list; `reason` is empty where there is no ranker to explain it."""

    rank: int
    item: Item
    hit: bool
    reason: str


@dataclass(frozen=True, kw_only=True)
class ExampleCard:
    user: str
    failed: bool
    verdict: str
    num_past: int
    past: tuple[Item, ...]  # newest first
    held_out: tuple[Item, ...]
    num_held_out: int
    ranked: tuple[RankedItem, ...]


def example_cards(examples: Sequence[Example], dataset: Dataset) -> tuple[ExampleCard, ...]:
    """The examples; every item has its title, else its id, and its first picture."""
    items = _items(dataset, examples)
    return tuple(_card(example, items) for example in examples)


def has_pictures(cards: Iterable[ExampleCard]) -> bool:
    return any(
        item.picture
        for each in cards
        for item in (*each.past, *each.held_out, *(entry.item for entry in each.ranked))
    )


def _items(dataset: Dataset, examples: Sequence[Example]) -> dict[str, Item]:
    wanted = {
        name
        for each in examples
        for name in (*each.past, *each.held_out[:HELD_OUT_SHOWN], *(entry.item for entry in each.listed))
    }
    explaining = {entry.past_item for each in examples for entry in each.listed if entry.past_item}
    # Only images of items in an example are decoded.
    rows = dataset.items.filter(pl.col(Columns.ITEM).is_in(sorted(wanted | explaining)))
    columns = rows.select(Columns.ITEM, Columns.TITLE, pl.col(Columns.IMAGE).list.first())
    return {
        name: Item(
            title=short(title or name, TITLE_LENGTH), picture=_picture(path) if name in wanted else None
        )
        for name, title, path in columns.iter_rows()
    }


def _card(example: Example, items: Mapping[str, Item]) -> ExampleCard:
    return ExampleCard(
        user=short(example.user, 40),
        failed=not example.num_hits,
        verdict=_verdict(example.num_hits, len(example.held_out), len(example.listed)),
        num_past=example.num_past,
        past=tuple(items[name] for name in example.past),
        held_out=tuple(items[name] for name in example.held_out[:HELD_OUT_SHOWN]),
        num_held_out=len(example.held_out),
        ranked=tuple(
            RankedItem(rank=rank, item=items[each.item], hit=each.hit, reason=_reason(each, items))
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
    return f"No hit: {missed} among the first {length}"


def _reason(listed: Listed, items: Mapping[str, Item]) -> str:
    """The modality and the past item that the ranker attended to most."""
    parts = [phrase(listed.modality)] if listed.modality else []
    parts += [f"“{items[listed.past_item].title}”"] if listed.past_item else []
    return ", ".join(parts)


def _picture(path: str | None) -> str | None:
    return thumbnail(Path(path)) if path else None
