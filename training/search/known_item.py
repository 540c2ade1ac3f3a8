"""Known-item queries: a text by a person about one item, which search has to find.

With behaviour the texts are reviews of held-out events. Such a review is in no item vector and no lexical
index, its event is in no training, and the person's history ends before it. Without behaviour they are
sentences that are taken out of the descriptions. The words of the item's title are taken out of every text.
Queries of the kind of an item and a word near one of its words stand for what people type.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

import numpy as np
import polars as pl

from features.dataset import Dataset
from recsys.arrays import Bools, Ints
from recsys.columns import Columns
from recsys.history import History
from recsys.ids import NUM_RESERVED, IdMap
from recsys.retrieval import Owners
from recsys.search import Document, EncodedQuery, Searcher, parse_words

MAX_WORDS: Final = 64  # of a query
MIN_WORDS: Final = 3  # beside those of the title
NUM_NEAR: Final = 20  # nearest words of a word of an item, of which one becomes a query
FREQUENT_SHARE: Final = 0.02  # of the items that have a word which says the kind of an item, at least 3
_MIN_FREQUENT: Final = 3
T = TypeVar("T")
_SENTENCE: Final = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])")
_WORD: Final = re.compile(r"\w+")


@dataclass(frozen=True, kw_only=True)
class KnownItemQuery:
    """A text, and the item that it describes."""

    text: str
    item: int
    user: str | None = None  # who wrote it
    history: History | None = None  # of the user, before the event


@dataclass(frozen=True, kw_only=True)
class LabelledQuery:
    """An encoded query with the items that answer it; empty where the catalogue has none."""

    query: EncodedQuery
    relevant: Ints
    group: str  # queries of one group, of a user say, are never divided among folds
    history: History | None = None
    allowed: Bools | None = None  # [N], the items that the user may see; None: all


def review_queries(
    dataset: Dataset,
    events: pl.DataFrame,
    item_ids: IdMap,
    *,
    readable: pl.DataFrame,
    histories: Mapping[str, History],
    transcripts: Mapping[int, str] | None = None,
    max_queries: int = 2000,
    max_per_user: int = 5,
    seed: int = 0,
) -> list[KnownItemQuery]:
    """Queries from the reviews of `events`, the validation or the test events of a split, drawn with `seed`.

    `readable` are the rows of `dataset.reviews` that may be read while `events` are held out; none of them
    becomes a query. `histories` end before the events. A spoken review without a text has that of
    `transcripts`, by row of `dataset.reviews`. In the order of users and items.
    """
    if not dataset.reviews.height:
        return []
    held = events.select(Columns.USER, Columns.ITEM).unique()
    reviews = (
        dataset.reviews.with_row_index("at")
        .join(held, on=[Columns.USER, Columns.ITEM], how="semi")
        .join(readable.select(Columns.ROW), on=Columns.ROW, how="anti")
        .unique([Columns.USER, Columns.ITEM], keep="first", maintain_order=True)
        .sort(Columns.USER, Columns.ITEM)
    )
    titles = dict(dataset.items.select(Columns.ITEM, Columns.TITLE).iter_rows())
    found: dict[str, list[KnownItemQuery]] = {}
    for at, user, item, text in reviews.select("at", Columns.USER, Columns.ITEM, Columns.TEXT).iter_rows():
        spoken = (transcripts or {}).get(at)
        words = without_title(text or spoken or "", titles.get(item) or "")
        if words is not None and item in item_ids:
            query = KnownItemQuery(
                text=words, item=item_ids.get(item), user=user, history=histories.get(user)
            )
            found.setdefault(user, []).append(query)
    rng = np.random.default_rng(seed)
    kept = [drawn(queries, max_per_user, rng) for queries in found.values()]
    return drawn([query for queries in kept for query in queries], max_queries, rng)


def borrowed_queries(
    dataset: Dataset,
    wanted: Mapping[str, Ints],
    item_ids: IdMap,
    *,
    readable: pl.DataFrame,
    histories: Mapping[str, History],
    transcripts: Mapping[int, str] | None = None,
    max_queries: int = 500,
    max_per_user: int = 5,
    seed: int = 0,
) -> tuple[list[KnownItemQuery], pl.DataFrame]:
    """Queries in which a user seeks a wanted item by the words of another person's review of it.

    `wanted` are items by user, such as those of validation events. The reviews are drawn from `readable`, one
    an item; the second result are the rows of `readable` without those that became queries, which must be
    searched in their place. Users without one of `histories` are left out.
    """
    rng = np.random.default_rng(seed)
    titles = dict(dataset.items.select(Columns.ITEM, Columns.TITLE).iter_rows())
    places = dataset.reviews.select(Columns.ROW).with_row_index("at")
    columns = ("at", Columns.ROW, Columns.USER, Columns.ITEM, Columns.TEXT)
    reviews = readable.join(places, on=Columns.ROW, how="inner").select(columns).sort("at")
    word_of: dict[int, tuple[str, str, int]] = {}  # item -> words, author, row
    for at, row, author, item, text in reviews.sample(fraction=1.0, shuffle=True, seed=seed).iter_rows():
        words = without_title(text or (transcripts or {}).get(at) or "", titles.get(item) or "")
        if words is not None and item in item_ids:
            word_of.setdefault(item_ids.get(item), (words, author, row))
    found: list[tuple[KnownItemQuery, int]] = []
    for user in wanted:
        own = [item for item in wanted[user].tolist() if item in word_of and word_of[item][1] != user]
        for item in drawn(own, max_per_user if user in histories else 0, rng):
            words, _, row = word_of[item]
            query = KnownItemQuery(text=words, item=item, user=user, history=histories[user])
            found.append((query, row))
    kept = drawn(found, max_queries, rng)
    taken = {row for _, row in kept}
    return [query for query, _ in kept], readable.filter(~pl.col(Columns.ROW).is_in(list(taken)))


def sentence_queries(
    documents: Sequence[Document], *, max_queries: int = 1000, seed: int = 0
) -> tuple[list[KnownItemQuery], list[Document]]:
    """Queries from one sentence of a description each, and all documents without these sentences.

    Only descriptions of at least two sentences lose one, so that every item keeps a description.
    """
    rng = np.random.default_rng(seed)
    can_lose = [at for at, each in enumerate(documents) if len(_sentences(each.text)) > 1]
    queries, left = [], list(documents)
    for at in sorted(drawn(can_lose, max_queries, rng)):
        document, sentences = documents[at], _sentences(documents[at].text)
        taken = int(rng.integers(len(sentences)))
        words = without_title(sentences[taken], document.title)
        if words is None:
            continue
        rest = " ".join(each for place, each in enumerate(sentences) if place != taken)
        queries.append(KnownItemQuery(text=words, item=document.item))
        left[at] = replace(document, text=rest)
    return queries, left


def typed_queries(searcher: Searcher, *, max_queries: int = 200, seed: int = 0) -> list[tuple[str, Ints]]:
    """Two words each, as people type them: the kind of a drawn item, and a word near one of its words.

    No item of this kind has the near word, so that words alone find the kind, and vectors the rest. The
    answers are the items of the kind that have the item's own word. Empty without the words of items.
    """
    words, index = searcher.scorer.item_words, searcher.scorer.words
    if words is None or index is None:
        return []
    rng = np.random.default_rng(seed)
    items = np.arange(NUM_RESERVED, searcher.scorer.num_items)
    found: dict[str, Ints] = {}
    for item in rng.permutation(items[words.has_words(items)])[: 4 * max_queries].tolist():
        if len(found) == max_queries:
            break
        kind = kind_word(item, searcher)
        own = [word for word in words.words_of(item) if word != kind]
        if kind is None or not own:
            continue
        word = own[int(rng.integers(len(own)))]
        of_kind = items[index.strengths(parse_words(kind), items)[0] >= 1]
        for near in words.near_words(word, NUM_NEAR):
            if not (index.strengths(parse_words(near), of_kind) > 0).any():
                answers = of_kind[index.strengths(parse_words(word), of_kind)[0] >= 1]
                found[f"{near} {kind}"] = answers
                break
    return [(text, answers) for text, answers in found.items() if len(answers)]


def kind_word(item: int, searcher: Searcher) -> str | None:
    """The word that says most of the item: of those that many items have, the nearest to its title.

    To its first text without a title; None where it has neither, or no such word.
    """
    words = searcher.scorer.item_words
    assert words is not None, "only items with words are asked"
    num_items = int(words.has_words(np.arange(NUM_RESERVED, searcher.scorer.num_items)).sum())
    is_frequent_V = words.counts >= max(_MIN_FREQUENT, FREQUENT_SHARE * num_items)
    of_text = (leg.query_of(item, "own") for leg in searcher.scorer.legs if leg.kind == "text")
    found = next((each for each in of_text if each is not None), None)
    return None if found is None else words.nearest_word(item, found.vector_D, is_frequent_V)


def labelled(
    queries: Iterable[KnownItemQuery],
    encode: Callable[[str], EncodedQuery],
    owners: Owners | None = None,
) -> list[LabelledQuery]:
    """The queries encoded; the one right answer of each is its item.

    A user searches the items that `owners` lets them see, and is known by events on these alone. A query
    without a user is the owner's. Queries for an item that their user may not see are left out.
    """
    found = []
    for each in queries:
        user, history = each.user, each.history
        allowed = None
        if owners:
            user = owners.owner_of(each.item) if user is None else user
            allowed = owners.visible(user)
            history = None if history is None else owners.visible_history(user, history)
        if allowed is None or allowed[each.item]:
            found.append(
                LabelledQuery(
                    query=encode(each.text),
                    relevant=np.array([each.item], np.int64),
                    group=each.user or f"item {each.item - NUM_RESERVED}",
                    history=history,
                    allowed=allowed,
                )
            )
    return found


def without_title(text: str, title: str) -> str | None:
    """The first 64 words of the text without the words of the title, a plural or genitive s apart.

    None where fewer than 3 words are left.
    """
    named = {_bare(word) for word in _WORD.findall(title)}
    kept = _WORD.sub(lambda found: "" if _bare(found[0]) in named else found[0], text).split()
    words = [each for each in kept if _WORD.search(each)][:MAX_WORDS]
    return " ".join(words) if len(words) >= MIN_WORDS else None


def _bare(word: str) -> str:
    folded = word.casefold()
    return folded[:-1] if len(folded) > 3 and folded.endswith("s") else folded


def _sentences(text: str) -> list[str]:
    return [each.strip() for each in _SENTENCE.split(text) if _WORD.search(each)]


def drawn(values: Sequence[T], num: int, rng: np.random.Generator) -> list[T]:
    """At most `num` of the values, in their order."""
    if len(values) <= num:
        return list(values)
    return [values[at] for at in np.sort(rng.choice(len(values), num, replace=False))]
