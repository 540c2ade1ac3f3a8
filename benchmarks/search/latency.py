"""Time of a whole search by stage, beside the bare calls on the same inputs, on generated items.

    python -m benchmarks.search.latency [--items 100000] [--queries 30] [--encoder minilm-l6]

An item has 100 words drawn from 50,000 by Zipf's law, random vectors of its title and text (384) and of its
picture (1,280), heads to a shared space of 256, and a popularity. A query has three words; its vector is that
of the encoder. Bare calls: the encoder's graph on the same tokens; one call of tantivy for as many hits as
the leg proposes; one matrix product and one `argpartition` for each leg. Times are medians of CPU time, so
that other work on the machine counts little.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.search.lexical import vocabulary
from features.conversion import ensure_encoder
from features.encoders import Encoder
from recsys.arrays import Bools, Floats, Ints, unit
from recsys.history import History
from recsys.modalities import EncoderKind
from recsys.search import (
    Calibration,
    Document,
    EncodedClause,
    EncodedQuery,
    LexicalIndex,
    LexicalSettings,
    PersonalScores,
    Scorer,
    Searcher,
    SearchSettings,
    fuse,
    parse_words,
    relevance,
)
from recsys.search.legs import DenseLeg, build_leg, leg_queries

NUM_WORDS, WIDTHS, SHARED = 100, {"text": 384, "image": 1280}, 256
LEGS: dict[str, EncoderKind] = {"title": "text", "text": "text", "image": "image"}
ROUNDS = 3


class RandomHeads:
    """Linear heads to the shared space."""

    kinds: tuple[EncoderKind, ...] = ("text", "image")
    dim = SHARED

    def __init__(self, rng: np.random.Generator) -> None:
        self._weight = {
            kind: rng.standard_normal((WIDTHS[kind], SHARED)).astype(np.float32) for kind in self.kinds
        }

    def project(self, kind: EncoderKind, vectors_BD: Floats) -> Floats:
        projected: Floats = unit(vectors_BD @ self._weight[kind])
        return projected


def documents(num_items: int, words: list[str], rng: np.random.Generator) -> list[Document]:
    weight = 1 / np.arange(1, len(words) + 1)
    drawn_NW = rng.choice(len(words), (num_items, NUM_WORDS), p=weight / weight.sum())
    return [
        Document(
            item=item,
            title=" ".join(words[at] for at in row[:6]),
            text=" ".join(words[at] for at in row[6:]),
            categories=(f"group{item % 20}",),
            popularity=float(item % 97),
        )
        for item, row in enumerate(drawn_NW.tolist(), 2)
    ]


def clock(name: str, call: Callable[[], object], *, rounds: int = 1) -> float:
    """Median milliseconds of CPU time; the memory of the process so far is printed with a name."""
    times = []
    for _ in range(rounds):
        start = time.process_time()
        call()
        times.append(1000 * (time.process_time() - start))
    if name:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        print(f"| {name} | {times[0] / 1000:.1f} | {peak:,.0f} |", flush=True)
    return float(np.median(times))


def build(num_items: int, folder: Path) -> Searcher:
    rng = np.random.default_rng(0)
    print("| building | CPU s | peak memory, MB |\n|---|---|---|")
    made: list[Document] = []
    clock("making the documents", lambda: made.extend(documents(num_items, vocabulary(), rng)))
    clock("lexical index", lambda: LexicalIndex.build(made, LexicalSettings(), folder / "lexical"))
    heads, legs = RandomHeads(rng), list[DenseLeg]()
    present = np.arange(num_items + 2) >= 2
    for name, kind in LEGS.items():
        make = partial(add_leg, legs, name, kind, present, heads, rng)
        clock(f"leg {name}, with its vectors", make)
    scorer = Scorer(
        legs,
        num_items=num_items + 2,
        heads=heads,
        words=LexicalIndex.open(folder / "lexical"),
        popularity=rng.integers(0, 50, num_items + 2).astype(np.float32),
    )
    # Threshold 0.5 leaves most candidates in.
    calibration = Calibration(intercept=0.0, weights={"own:text": 1.0, "shared": 1.0, "coverage": 1.0})
    return Searcher(scorer, SearchSettings(calibration={"text": calibration}, personal=0.5), likes)


def add_leg(
    legs: list[DenseLeg],
    name: str,
    kind: EncoderKind,
    present: Bools,
    heads: RandomHeads,
    rng: np.random.Generator,
) -> None:
    vectors = rng.standard_normal((len(present), WIDTHS[kind]), np.float32)
    legs.append(build_leg(name, kind, vectors, present, heads))


def likes(history: History, items: Ints) -> PersonalScores:
    """In place of the recommender, whose time is not that of search."""
    return PersonalScores(scores=(items % 7).astype(np.float32), past_items=np.zeros(len(items), np.int64))


def queries(num: int, encoder: Encoder) -> list[tuple[str, EncodedQuery]]:
    words, rng = vocabulary(), np.random.default_rng(2)
    found = []
    for _ in range(num):
        text = " ".join(words[at] for at in rng.geometric(1 / 2000, 3) - 1)
        vector = unit(encoder.encode_texts([text])[0])
        clause = EncodedClause(kind="text", words=parse_words(text), vectors={"text": vector})
        found.append((text, EncodedQuery(clauses=(clause,))))
    return found


def stages(
    searcher: Searcher, encoder: Encoder, text: str, query: EncodedQuery
) -> dict[str, tuple[float, float]]:
    """Stage -> milliseconds of search, and of the bare calls; 0 where there is none."""
    scorer, num, clause = searcher.scorer, searcher.settings.num_candidates, query.clauses[0]
    words, index = clause.words, scorer.words
    assert words is not None
    assert isinstance(index, LexicalIndex)
    scores = scorer.score(query, num, None)
    fused, matcher = fuse(scores, searcher.settings)[0], index._matcher()
    asked = leg_queries(clause, scorer.legs, scorer.heads)
    tokens = encoder._text([text])
    bare = matcher.score(matcher.units(words), words.excluded)
    tantivy_searcher = index._documents.searcher

    def lexical() -> None:
        matcher._matches_of, matcher._items_of = {}, {}  # a new query each time
        index.search(words, num)
        index.scores(words, scores.items)
        index.coverage(words, scores.items)

    def bare_lexical() -> object:
        hits = tantivy_searcher.search(bare, num, count=False).hits
        return tantivy_searcher.fast_field_values("item", [address for _, address in hits])

    def dense() -> None:
        for leg in scorer.legs:
            leg.head([(1.0, asked[leg.name])], num)
            leg.scores(asked[leg.name], scores.items)

    matrices = [leg._floats.get(asked[leg.name].space) for leg in scorer.legs]

    def bare_dense() -> None:
        for leg, matrix in zip(scorer.legs, matrices, strict=True):
            used = leg._halves(asked[leg.name].space).astype(np.float32) if matrix is None else matrix
            np.argpartition(-(used @ asked[leg.name].vector_D), num)

    def ranked(*, explain: bool, personal: float) -> None:
        history = History.empty() if personal else None
        searcher.ranked(scores, query, 20, explain=explain, personal=personal, history=history)

    def ms(call: Callable[[], object]) -> float:
        return clock("", call, rounds=ROUNDS)

    plain = ms(lambda: ranked(explain=False, personal=0.0))
    whole_bare = [ms(lambda: encoder._run(tokens)), ms(bare_lexical), ms(bare_dense)]
    found = {
        "encoding": (ms(lambda: encoder.encode_texts([text])), whole_bare[0]),
        "lexical": (ms(lexical), whole_bare[1]),
        "dense": (ms(dense), whole_bare[2]),
        "fusion": (ms(lambda: fuse(scores, searcher.settings)), 0.0),
        "relevance": (ms(lambda: relevance(scores, searcher.settings, searcher.encoder_kinds)), 0.0),
        "personal order": (max(ms(lambda: ranked(explain=False, personal=0.5)) - plain, 0.0), 0.0),
        "explanations of 20": (max(ms(lambda: ranked(explain=True, personal=0.0)) - plain, 0.0), 0.0),
    }
    assert len(fused) == len(scores.items)
    whole = ms(lambda: (encoder.encode_texts([text]), searcher.search(query, 20, history=History.empty())))
    return {**found, "whole, 20 items": (whole, sum(whole_bare))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=30)
    parser.add_argument("--encoder", default="minilm-l6")
    options = parser.parse_args()
    encoder = Encoder.load(ensure_encoder(options.encoder, kind="text"), num_threads=1)
    with tempfile.TemporaryDirectory() as folder:
        searcher = build(options.items, Path(folder))
        asked = queries(options.queries, encoder)
        clock("first search", lambda: searcher.search(asked[0][1], 20))
        rows = [stages(searcher, encoder, text, query) for text, query in asked]
    print("\n| stage | CPU ms | bare, CPU ms | ratio |\n|---|---|---|---|")
    for name in rows[0]:
        own, bare = (float(np.median([row[name][at] for row in rows])) for at in (0, 1))
        beside = f"{bare:.2f} | {own / bare:.1f}" if bare else " | "
        print(f"| {name} | {own:.2f} | {beside} |")


if __name__ == "__main__":
    main()
