"""Quality of search by words alone, beside a plain BM25 over the concatenated texts.

    python benchmarks/search/words.py lee FOLDER             # the Lee collection of gensim's tests
    python benchmarks/search/words.py sentences DATASET      # a sentence of a description finds its item
    python benchmarks/search/words.py titles DATASET         # a title finds its item
    python benchmarks/search/words.py people DATASET         # a word of a title and a name of the categories
    python benchmarks/search/words.py tags DATASET TAGS      # MovieLens: a tag finds the movies with this tag
    python benchmarks/search/words.py shop 41                # a new sample shop: kind and theme, sayings

Prints NDCG@10 of both and the mean paired difference with its standard error. The plain BM25 has the same
stems, k1 = 1.2, b = 0.75 and all words of a query; it knows no fields, no typos and no limits. Sentences are
taken out of what is indexed, and the words of the title are taken out of them; at most --count queries.
"""

import argparse
import math
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
import polars as pl

from features.conversion import default_cache_dir
from features.documents import item_documents
from features.event_log import open_dataset
from features.extraction import extract
from features.sample import FORMER_SHOP, SampleOptions, write_sample_shop
from features.sample.queries import spoken_queries, typed_queries, written_queries
from features.sample.shop import catalogue_of
from recsys.arrays import Floats
from recsys.columns import Columns
from recsys.config import load_config
from recsys.ids import IdMap
from recsys.search import Document, LexicalIndex, LexicalSettings, parse_words
from recsys.search.lexical.documents import words_in
from recsys.search.lexical.stemming import Stemmer
from training.search import sentence_queries

K = 10
LEE_RELEVANT = 0.5


@dataclass(frozen=True, kw_only=True)
class Query:
    text: str
    grades: Mapping[int, float]
    left_out: int = 0  # an item that is no answer


QuerySet = tuple[str, Sequence[Document], list[Query]]


class PlainBM25:
    """BM25 over all words of an item."""

    def __init__(self, documents: Sequence[Document]) -> None:
        self._stemmer = Stemmer(("english",))
        texts = [
            " . ".join((each.title, *each.categories, each.text, each.transcript, each.reviews))
            for each in documents
        ]
        terms = [self._terms(text) for text in texts]
        self.items = np.array([each.item for each in documents])
        length = np.array([len(each) for each in terms])
        self._norm = 1.2 * (0.25 + 0.75 * length / length.mean())
        self._postings: dict[str, list[tuple[int, int]]] = {}
        for row, each in enumerate(terms):
            for term, count in Counter(each).items():
                self._postings.setdefault(term, []).append((row, count))

    def best(self, query: Query) -> list[int]:
        score = np.zeros(len(self.items))
        for term in dict.fromkeys(self._terms(query.text)):
            if found := self._postings.get(term):
                row, tf = np.array(found).T
                idf = math.log1p((len(score) - len(row) + 0.5) / (len(row) + 0.5))
                score[row] += idf * 2.2 * tf / (tf + self._norm[row])
        score[self.items == query.left_out] = 0
        order = np.lexsort((self.items, -score))[:K]
        return [int(self.items[at]) for at in order if score[at] > 0]

    def _terms(self, text: str) -> list[str]:
        words = words_in(text)
        return self._stemmer.of_document(words).terms(words).split()


def ndcg(found: Sequence[int], grades: Mapping[int, float]) -> float:
    """NDCG@10 with linear gains."""
    ideal = sorted(grades.values(), reverse=True)[:K]
    return _dcg([grades.get(item, 0.0) for item in found]) / _dcg(ideal)


def _dcg(gains: Sequence[float]) -> float:
    return sum(gain / math.log2(rank + 2) for rank, gain in enumerate(gains))


def measure(name: str, documents: Sequence[Document], queries: Sequence[Query]) -> None:
    index, plain = LexicalIndex.build(documents, LexicalSettings()), PlainBM25(documents)
    size = max(each.item for each in documents) + 1
    pairs = []
    for query in queries:
        allowed = np.arange(size) != query.left_out
        own = index.search(parse_words(query.text), K, allowed)[0].tolist()
        pairs.append((ndcg(own, query.grades), ndcg(plain.best(query), query.grades)))
    words, base = np.array(pairs).T
    gain: Floats = words - base
    print(
        f"| {name} | {len(queries)} | {base.mean():.4f} | {words.mean():.4f} | "
        f"{gain.mean():+.4f} ({gain.std() / math.sqrt(len(gain)):.4f}) |",
        flush=True,
    )


def lee(args: Any) -> Iterator[QuerySet]:
    texts = (args.folder / "lee.cor").read_text("latin-1").strip().split("\n")
    above = np.loadtxt(args.folder / "similarities0-1.txt")  # the file has each pair once
    judged = np.maximum(above, above.T)
    documents = [Document(item=at + 2, text=text) for at, text in enumerate(texts)]
    queries = []
    for at, text in enumerate(texts):
        grades = {
            other + 2: float(grade)
            for other, grade in enumerate(judged[at])
            if other != at and grade >= LEE_RELEVANT
        }
        if grades:  # without quotes, whose words would be a phrase that must be found
            queries.append(Query(text=text.replace('"', " "), grades=grades, left_out=at + 2))
    yield "Lee", documents, queries


def sentences(args: Any) -> Iterator[QuerySet]:
    _, documents = _read(args.dataset)
    queries, left = sentence_queries(documents, max_queries=args.count)
    yield "sentences", left, [Query(text=each.text, grades={each.item: 1.0}) for each in queries]


def titles(args: Any) -> Iterator[QuerySet]:
    _, documents = _read(args.dataset)
    yield "titles", documents, title_queries(documents, args.count, seed=1)


def title_queries(documents: Sequence[Document], count: int, *, seed: int) -> list[Query]:
    """A title finds its item."""
    drawn = np.random.default_rng(seed).permutation(len(documents))
    asked = [documents[at] for at in drawn if documents[at].title][:count]
    return [Query(text=each.title, grades={each.item: 1.0}) for each in asked]


def people(args: Any) -> Iterator[QuerySet]:
    _, documents = _read(args.dataset)
    yield "a word of the title and a name", documents, people_queries(documents, args.count, seed=2)


def people_queries(documents: Sequence[Document], count: int, *, seed: int) -> list[Query]:
    """A word of the title and a name of the categories find their item."""
    rng = np.random.default_rng(seed)
    queries = []
    for at in rng.permutation(len(documents)):
        words = [
            word for word in re.findall(r"\w+", documents[at].title) if len(word) > 3 and not word.isdigit()
        ]
        names = [name for name in documents[at].categories if " " in name]
        if words and names:
            text = f"{rng.choice(words)} {rng.choice(names)}"
            queries.append(Query(text=text, grades={documents[at].item: 1.0}))
    return queries[:count]


def tags(args: Any) -> Iterator[QuerySet]:
    item_ids, documents = _read(args.dataset)
    yield "tags", documents, tag_queries(args.tags, item_ids)[: args.count]


def tag_queries(path: Path, item_ids: IdMap) -> list[Query]:
    """A tag of MovieLens finds the movies with this tag, of which there are at least two."""
    movies_of: dict[str, set[int]] = {}
    table = pl.read_csv(path, infer_schema=False, glob=False)
    for movie, tag in table.select("movieId", "tag").iter_rows():
        if movie in item_ids:
            movies_of.setdefault(tag.casefold().strip(), set()).add(item_ids.get(movie))
    return [
        Query(text=tag, grades=dict.fromkeys(movies, 1.0))
        for tag, movies in sorted(movies_of.items())
        if len(movies) > 1
    ]


def shop(args: Any) -> Iterator[QuerySet]:
    options = SampleOptions.from_values({**FORMER_SHOP, "seed": args.seed, "num_items": 300})
    with tempfile.TemporaryDirectory() as folder:
        write_sample_shop(Path(folder) / "shop", options)
        item_ids, documents = _read(Path(folder) / "shop", speech=True)
    catalogue = catalogue_of(options)
    sets = {
        "kind and theme": typed_queries(catalogue, count=60),
        "sayings": written_queries(spoken_queries(catalogue, count=60)),
    }
    for name, queries in sets.items():
        yield (
            f"shop {args.seed}, {name}",
            documents,
            [
                Query(text=each.text or "", grades={item_ids.get(item): 1.0 for item in each.relevant})
                for each in queries
            ],
        )


def _read(path: Path, *, speech: bool = False) -> tuple[IdMap, list[Document]]:
    """Ids and documents of a dataset with all its reviews, `speech` with the words of spoken ones."""
    config, cache = load_config(), default_cache_dir()
    dataset = open_dataset(path, config.data, cache_dir=cache)
    vectors = extract(dataset, config.encoders, cache_dir=cache) if speech else None
    item_ids = IdMap(sorted(dataset.items[Columns.ITEM].to_list()))
    return item_ids, list(item_documents(dataset, item_ids, reviews=dataset.reviews, vectors=vectors))


SETS: dict[str, tuple[Callable[[Any], Iterator[QuerySet]], Sequence[tuple[str, type]]]] = {
    "lee": (lee, [("folder", Path)]),
    "sentences": (sentences, [("dataset", Path)]),
    "titles": (titles, [("dataset", Path)]),
    "people": (people, [("dataset", Path)]),
    "tags": (tags, [("dataset", Path), ("tags", Path)]),
    "shop": (shop, [("seed", int)]),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (_, arguments) in SETS.items():
        command = commands.add_parser(name)
        command.add_argument("--count", type=int, default=500, help="queries at most")
        for argument, kind in arguments:
            command.add_argument(argument, type=kind)
    args = parser.parse_args()
    print("| queries | number | plain BM25 | words | difference (standard error) |\n|---|---|---|---|---|")
    for name, documents, queries in SETS[args.command][0](args):
        measure(name, documents, queries)


if __name__ == "__main__":
    main()
