"""Quality of search on query sets with judgements: each leg, the vectors together, hybrid, personal hybrid.

    python benchmarks/search/quality.py shops 1 2 --items 300      # new sample shops of these seeds
    python benchmarks/search/quality.py run RUN                    # words of a run's held-out reviews
    python benchmarks/search/quality.py tags RUN TAGS              # MovieLens: tags of held-out movies
    python benchmarks/search/quality.py tags-alone DATASET TAGS    # the same without a trained run
    python benchmarks/search/quality.py items DATASET --count 300 --seed 1 --tags tags.csv   # known items
    python benchmarks/search/quality.py lee FOLDER                 # the Lee collection of gensim's tests

A sample shop is indexed without a recommender. Its queries are of features/sample/queries.py: typed,
spoken, the words of the spoken ones, pictures, and typed ones without an answer. "tags" takes tags.csv of
MovieLens: the tags of a person on one movie are a query of that person, whose answer is the movie; validation
pairs choose the settings of search and test pairs measure. "tags-alone" indexes the items alone, takes all
tagged movies, chooses on half of the users and measures on the others. "items" indexes the items alone: a
title finds its item, a word of the title with a name of the categories, a sentence that is taken out of the
description, and with --tags a tag of MovieLens its movies. The Lee collection (Lee, Pincombe and
Welsh 2005) has 50 news texts and the similarity of all pairs as judged by people. Every text is a query for
the others; a mean judgement of at least 0.5 is relevant and is the grade.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
import polars as pl
from rich.console import Console

from benchmarks.search.words import Query, people_queries, tag_queries, title_queries
from features.conversion import default_cache_dir
from features.encoders import Encoder
from features.event_log import open_dataset
from features.extraction import extract
from features.inputs import build_item_features
from features.queries import Clause, QueryEncoder, TextClause
from features.sample import FORMER_SHOP, SampleOptions, write_sample_shop
from features.sample.queries import (
    SampleQuery,
    picture_queries,
    spoken_queries,
    typed_queries,
    unanswerable_queries,
    write_queries,
    written_queries,
)
from features.sample.shop import catalogue_of
from recsys.columns import Columns
from recsys.config import Config, load_config
from recsys.history import History
from recsys.ids import UNKNOWN
from recsys.search import Document, EncodedQuery, Searcher, SearchSettings, personalizer
from training.pipeline import Run
from training.search import (
    GradedQuery,
    LabelledQuery,
    PersonalTask,
    Searchable,
    SearchEvaluation,
    align,
    build_scorer,
    build_searcher,
    encoder_directories,
    evaluate_search,
    fit_search,
    graded_queries,
    query_encoder,
    read_query_files,
    search_tables,
    sentence_queries,
    without_title,
    word_encoder,
)

CONSOLE = Console(width=200)
LEE_RELEVANT = 0.5
SHOP_SETS = ("typed", "spoken", "words of the spoken", "pictures")
MAX_OF_USER = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    shops = commands.add_parser("shops")
    shops.add_argument("seeds", type=int, nargs="+")
    shops.add_argument("--items", type=int, default=300)
    shops.add_argument("--count", type=int, default=60, help="queries of each set")
    shops.add_argument("--sets", nargs="+", choices=SHOP_SETS, default=SHOP_SETS)
    commands.add_parser("run").add_argument("run", type=Path)
    tags = commands.add_parser("tags")
    tags.add_argument("run", type=Path)
    tags.add_argument("tags", type=Path)
    alone = commands.add_parser("tags-alone")
    alone.add_argument("dataset", type=Path)
    alone.add_argument("tags", type=Path)
    known = commands.add_parser("items")
    known.add_argument("dataset", type=Path)
    known.add_argument("--count", type=int, default=300, help="queries of each set, but tags")
    known.add_argument("--seed", type=int, default=1)
    known.add_argument("--tags", type=Path)
    commands.add_parser("lee").add_argument("folder", type=Path)
    args = parser.parse_args()
    summary: list[tuple[str, SearchEvaluation]] = []
    for name, found in SETS[args.command](args):
        CONSOLE.rule(name)
        for table in search_tables(found):
            CONSOLE.print(table)
        summary.append((name, found))
    print("\n| query set | queries | best leg | hybrid minus best leg, NDCG@10 |\n|---|---|---|---|")
    for name, found in summary:
        gap = found.beats_best_leg
        if gap is not None:
            print(
                f"| {name} | {found.num_queries} | {found.best_leg} | "
                f"{gap.value:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}] |"
            )


def shops(args: Any) -> Iterator[tuple[str, SearchEvaluation]]:
    for seed in args.seeds:
        options = SampleOptions.from_values({**FORMER_SHOP, "seed": seed, "num_items": args.items})
        with tempfile.TemporaryDirectory() as folder:
            write_sample_shop(Path(folder) / "shop", options)
            searcher, encoder, searchable = _items_alone(Path(folder) / "shop", load_config())
            catalogue, count = catalogue_of(options), args.count
            spoken = spoken_queries(catalogue, count=count)
            typed = typed_queries(catalogue, count=count)
            sets: dict[str, list[SampleQuery]] = {
                "typed": [*typed, *unanswerable_queries(catalogue, count=count)],
                "spoken": spoken,
                "words of the spoken": written_queries(spoken),
                "pictures": picture_queries(catalogue, options, count=count),
            }
            for name, queries in sets.items():
                if name not in args.sets:
                    continue
                files = read_query_files(*write_queries(queries, Path(folder) / name))
                judged, _ = graded_queries(files, searchable.features.item_ids, _clauses(encoder))
                yield f"shop {seed}, {name}", evaluate_search(searcher, judged, description=name)


def _items_alone(path: Path, config: Config) -> tuple[Searcher, QueryEncoder, Searchable]:
    cache = default_cache_dir()
    dataset = open_dataset(path, config.data, cache_dir=cache)
    vectors = extract(dataset, config.encoders, cache_dir=cache)
    features = build_item_features(dataset, vectors, train=dataset.interactions, reviews=dataset.reviews)
    searchable = Searchable(dataset=dataset, features=features, vectors=vectors, reviews=dataset.reviews)
    encoders = encoder_directories(config, features)
    encoder = query_encoder(config, encoders)
    searcher = build_searcher(
        searchable, align(searchable, config, encoders), SearchSettings(), encode_words=word_encoder(encoders)
    )
    return searcher.with_settings(fit_search(searcher, [], encode=_words(encoder))), encoder, searchable


def run(args: Any) -> Iterator[tuple[str, SearchEvaluation]]:
    opened = Run.open(args.run)
    found = opened.search_before_test(opened.split.before_test(opened.fitted.builder)).evaluate()
    if found is not None:
        yield f"{args.run.name}, words of held-out reviews", found


def tags(args: Any) -> Iterator[tuple[str, SearchEvaluation]]:
    opened = Run.open(args.run)
    search = opened.search_before_test(opened.split.before_test(opened.fitted.builder))
    subject, encode = search.subject, _words(search.encoder)
    items, split = subject.searchable, subject.split
    fit_on = _tag_queries(
        args.tags, items, split.validation, subject.split.before_validation(subject.builder), encode
    )
    test = _tag_queries(args.tags, items, split.test, subject.histories_before_test, encode)
    folds = [
        (
            search.plain_searcher.with_personalizer(personalizer(fold.recommender, subject.modalities)),
            _labelled([each for each in fit_on if fold.includes(each.group)]),
        )
        for fold in subject.held_out
    ]
    task = PersonalTask(folds=tuple(folds))
    for name, found in _on_tags(search.plain_searcher, fit_on, test, encode, task):
        yield f"{args.run.name}, tags of held-out movies, {name}", found


def tags_alone(args: Any) -> Iterator[tuple[str, SearchEvaluation]]:
    config = load_config(overrides=["search.alignment.method=closed_form", "encoders.transcriber=none"])
    searcher, encoder, searchable = _items_alone(args.dataset, config)
    encode, pairs = _words(encoder), searchable.dataset.interactions
    queries = _tag_queries(args.tags, searchable, pairs, {}, encode)
    users = sorted({each.group for each in queries})
    fit_on = [each for each in queries if users.index(each.group) % 2 == 0]
    test = [each for each in queries if users.index(each.group) % 2 == 1]
    for name, found in _on_tags(searcher.with_settings(SearchSettings()), fit_on, test, encode):
        yield f"{args.dataset.name}, tags, {name}", found


def items(args: Any) -> Iterator[tuple[str, SearchEvaluation]]:
    config = load_config(overrides=["search.alignment.method=closed_form", "encoders.transcriber=none"])
    searcher, encoder, searchable = _items_alone(args.dataset, config)
    documents, encode = searchable.documents(), _words(encoder)
    asked, left = sentence_queries(documents, max_queries=args.count, seed=args.seed)
    sets = {
        "titles": title_queries(documents, args.count, seed=args.seed),
        "a word of the title and a name": people_queries(documents, args.count, seed=args.seed),
    }
    if args.tags is not None:
        sets["tags"] = tag_queries(args.tags, searchable.features.item_ids)
    searchers = dict.fromkeys(sets, searcher)
    sets["sentences"] = [Query(text=each.text, grades={each.item: 1.0}) for each in asked]
    searchers["sentences"] = _without_sentences(searcher, searchable, left, config)
    for name, queries in sets.items():
        judged = [
            GradedQuery(query=encode(each.text), grades=each.grades, group=str(at))
            for at, each in enumerate(queries)
        ]
        yield f"{args.dataset.name}, {name}", evaluate_search(searchers[name], judged, description=name)


def _without_sentences(
    searcher: Searcher, searchable: Searchable, left: Sequence[Document], config: Config
) -> Searcher:
    """The searcher whose words and vectors of descriptions are those of `left`."""
    encoders = encoder_directories(config, searchable.features)
    changed = [
        each for each, whole in zip(left, searchable.documents(), strict=True) if each.text != whole.text
    ]
    vectors = searchable.features.dense["text"].copy()
    encoder = Encoder.load(encoders["text"])
    vectors[[each.item for each in changed]] = encoder.encode_texts([each.text for each in changed])
    features = replace(searchable.features, dense={**searchable.features.dense, "text": vectors})
    scorer = build_scorer(features, left, searcher.scorer.heads, encode_words=word_encoder(encoders))
    return Searcher(scorer, searcher.settings)


def _on_tags(
    plain: Searcher,
    fit_on: Sequence[GradedQuery],
    test: Sequence[GradedQuery],
    encode: Callable[[str], EncodedQuery],
    personal_task: PersonalTask | None = None,
) -> Iterator[tuple[str, SearchEvaluation]]:
    """With the settings that `fit_on` chooses, and with default settings."""
    settings = fit_search(plain, _labelled(fit_on), encode=encode, personal_task=personal_task)
    for reason in (*settings.fusion_reason.values(), settings.relevance_reason, settings.personal_reason):
        CONSOLE.print(reason)
    for name, searcher in {
        "chosen settings": plain.with_settings(settings),
        "default settings, personal 0.3": plain.with_settings(SearchSettings(personal=0.3)),
    }.items():
        yield name, evaluate_search(searcher, test, description=f"{len(fit_on)} validation queries; {name}")


def _labelled(queries: Sequence[GradedQuery]) -> list[LabelledQuery]:
    return [
        LabelledQuery(
            query=each.query, relevant=np.array(list(each.grades)), group=each.group, history=each.history
        )
        for each in queries
    ]


def _tag_queries(
    path: Path,
    searchable: Searchable,
    events: pl.DataFrame,
    histories: Mapping[str, History],
    encode: Callable[[str], EncodedQuery],
) -> list[GradedQuery]:
    """The tags of a user on one movie, without the words of its title; at most five of a user."""
    text = pl.read_csv(path, infer_schema=False, glob=False).select(
        pl.col("userId").alias(Columns.USER), pl.col("movieId").alias(Columns.ITEM), "tag"
    )
    text = text.group_by(Columns.USER, Columns.ITEM, maintain_order=True).agg(pl.col("tag").str.join(", "))
    text = text.join(events.select(Columns.USER, Columns.ITEM).unique(), on=[Columns.USER, Columns.ITEM])
    items = searchable.dataset.items
    titles = dict(zip(items[Columns.ITEM], items[Columns.TITLE], strict=True))
    ids = searchable.features.item_ids
    number: dict[str, int] = {}
    found = []
    for user, item, tags_ in text.sort(Columns.USER, Columns.ITEM).iter_rows():
        words = without_title(tags_, titles.get(item) or "")
        if words is None or ids.get(item) == UNKNOWN or number.get(user, 0) == MAX_OF_USER:
            continue
        number[user] = number.get(user, 0) + 1
        found.append(
            GradedQuery(
                query=encode(words), grades={ids.get(item): 1.0}, group=user, history=histories.get(user)
            )
        )
    return found


def lee(args: Any) -> Iterator[tuple[str, SearchEvaluation]]:
    texts = (args.folder / "lee.cor").read_text("latin-1").strip().split("\n")
    above = np.loadtxt(args.folder / "similarities0-1.txt")  # the file has each pair once
    judged = np.maximum(above, above.T)
    assert judged.shape == (len(texts), len(texts)), "one judgement of each pair"
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        pl.DataFrame({"id": [str(at) for at in range(len(texts))], "text": texts}).write_parquet(
            root / "items.parquet"
        )
        (root / "dataset.toml").write_text(
            'name = "lee"\n[items]\npath = "items.parquet"\nid = "id"\ntext = ["text"]\n', "utf-8"
        )
        searcher, encoder, searchable = _items_alone(root, load_config())
        encode, ids = _words(encoder), searchable.features.item_ids
        queries = []
        for at, text in enumerate(texts):
            grades = {
                ids.get(str(other)): float(grade)
                for other, grade in enumerate(judged[at])
                if other != at and grade >= LEE_RELEVANT
            }
            if grades:
                plain = text.replace('"', " ")  # quoted words would be a phrase that must be found
                others = np.arange(ids.size) != ids.get(str(at))
                queries.append(GradedQuery(query=encode(plain), grades=grades, group=str(at), allowed=others))
        yield "Lee", evaluate_search(searcher, queries)


def _clauses(encoder: QueryEncoder) -> Callable[[Sequence[Clause]], EncodedQuery]:
    return lambda clauses: encoder.encode(clauses).query


def _words(encoder: QueryEncoder) -> Callable[[str], EncodedQuery]:
    return lambda text: encoder.encode([TextClause(name="query", text=text)]).query


SETS: dict[str, Callable[[Any], Iterator[tuple[str, SearchEvaluation]]]] = {
    "shops": shops,
    "run": run,
    "tags": tags,
    "tags-alone": tags_alone,
    "items": items,
    "lee": lee,
}

if __name__ == "__main__":
    main()
