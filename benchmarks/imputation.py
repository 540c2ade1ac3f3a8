"""What imputed vectors of missing modalities bring: nothing, mean, ridge and variational beside each other.

    python benchmarks/imputation.py vectors VECTORS.npz --seeds 0     # stored vectors
    python benchmarks/imputation.py shops 1 2 --items 300             # vectors of new sample shops
    python benchmarks/imputation.py cold 1 2 --items 300 --users 500  # cold items of new sample shops

"vectors" and "shops" hide a modality of 20% of the items. Cosine: of imputed and true unit vectors. Recall@10
of "a → b": the true vector of modality a of an item with a hidden medium is the query, the vectors of b, the
imputed ones among them, are searched, and the item is the answer; among the items with a hidden medium, and
in brackets among all. Ties count half. VECTORS.npz has for each modality its vectors [N, D] and an array
has_<modality> [N].

"cold" removes a medium from half of the items without training events, trains the towers for each method,
and measures Recall@20 on the test positives of all items without training events, the whole catalogue ranked.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

from features.conversion import default_cache_dir
from features.dataset import Dataset, MediaVectors, MediumVectors
from features.event_log import open_dataset
from features.extraction import extract
from features.inputs import SeenItems
from features.sample import FORMER_SHOP, SampleOptions, write_sample_shop
from features.splits import Split, make_split
from recsys.arrays import Bools, Floats, Ints, unit
from recsys.columns import Columns
from recsys.config import AlignmentConfig, Config, ImputationMethod, load_config
from recsys.search import AlignmentHeads
from training.alignment import fit_alignment
from training.evaluation import EvaluationSet, System, results_by_user
from training.fitting import FitInputs, audit, fit
from training.imputation import fit_imputer, impute_media

METHODS: tuple[ImputationMethod, ...] = get_args(ImputationMethod)
HIDDEN = 0.2
GROUPS = {"pictures": ("image",), "texts": ("title", "text")}
KIND = {"title": "text", "text": "text", "image": "image"}
FEW_EPOCHS = (
    "model.ranker.enabled=false", "train.refit=false", "search.enabled=false", "encoders.transcriber=none",
)  # fmt: skip
Vectors = Mapping[str, tuple[Floats, Bools]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    of_file = commands.add_parser("vectors")
    of_file.add_argument("file", type=Path)
    of_file.add_argument("--seeds", type=int, nargs="+", default=[0])
    for name in ("shops", "cold"):
        shops = commands.add_parser(name)
        shops.add_argument("seeds", type=int, nargs="+")
        shops.add_argument("--items", type=int, default=300)
        shops.add_argument("--users", type=int, default=500)
        shops.add_argument("--epochs", type=int, default=14)
    args = parser.parse_args()
    for line in {"vectors": of_vectors, "shops": of_shops, "cold": of_cold_items}[args.command](args):
        print(line, flush=True)


def of_vectors(args: Any) -> Iterator[str]:
    stored = np.load(args.file)
    vectors = {name: (stored[name], stored[f"has_{name}"]) for name in KIND if name in stored}
    yield from _table([(f"seed {seed}", vectors, seed) for seed in args.seeds])


def of_shops(args: Any) -> Iterator[str]:
    cases = []
    for seed in args.seeds:
        with tempfile.TemporaryDirectory() as folder:
            dataset, vectors = _shop(Path(folder), seed, args)
            pooled = {name: vectors.items[name].pooled(dataset.items.height) for name in KIND}
            cases.append((f"shop {seed}", pooled, seed))
    yield from _table(cases)


def _table(cases: Sequence[tuple[str, Vectors, int]]) -> Iterator[str]:
    yield "| vectors | hidden | method | seconds | cosine | query → leg: Recall@10 |"
    yield "|---|---|---|---|---|---|"
    for name, vectors, seed in cases:
        for hidden in GROUPS:
            for method in METHODS:
                yield f"| {name} | {hidden} | {method} | {_row(vectors, hidden, method, seed)} |"


def _row(vectors: Vectors, hidden: str, method: ImputationMethod, seed: int) -> str:
    names = [name for name in GROUPS[hidden] if name in vectors]
    rest = [name for name in vectors if name not in names]
    everywhere = np.logical_and.reduce([has for _, has in vectors.values()])
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.permutation(np.flatnonzero(everywhere))[: round(HIDDEN * everywhere.sum())])
    visible = {
        name: (array, _without(has, rows) if name in names else has) for name, (array, has) in vectors.items()
    }
    heads = fit_alignment(visible, AlignmentConfig(method="closed_form"), seed=seed, kinds=KIND)
    start = time.process_time()
    imputer = fit_imputer(method, visible, seed=seed)
    found = {name: imputer.predict(name, rows) for name in names} if imputer is not None else {}
    seconds = time.process_time() - start
    true = {name: unit(array[rows].astype(np.float32)) for name, (array, _) in vectors.items()}
    cosine = ", ".join(f"{name} {np.mean((found[name] * true[name]).sum(1)):.3f}" for name in found) or "–"
    recalls = []
    for query, leg in [*((q, q) for q in names), *((q, leg) for q in rest for leg in names)]:
        filled = _filled(visible[leg], rows, found.get(leg))
        recalls.append(f"{query} → {leg} {_recalls(true[query], query, leg, filled, rows, heads)}")
    if method == "none":
        # Without the medium an item is found by its other media, in the shared space.
        recalls = [
            f"{query} → {leg} {_recalls(true[query], query, leg, visible[leg], rows, heads)}"
            for query in names
            for leg in rest
        ]
    return f"{seconds:.1f} | {cosine} | {', '.join(recalls)}"


def _without(has: Bools, rows: Ints) -> Bools:
    left = has.copy()
    left[rows] = False
    return left


def _filled(leg: tuple[Floats, Bools], rows: Ints, found: Floats | None) -> tuple[Floats, Bools]:
    array, has = leg[0].astype(np.float32), leg[1].copy()
    if found is not None:
        array[rows], has[rows] = found, True
    return array, has


def _recalls(
    queries: Floats, query: str, leg: str, filled: tuple[Floats, Bools], rows: Ints, heads: AlignmentHeads
) -> str:
    """Recall@10 of `queries` [R] for their own items `rows`, among these and among all items."""
    array, has = unit(filled[0]), filled[1]
    if KIND[query] != KIND[leg]:
        queries = heads.project(KIND[query], queries)  # type: ignore[arg-type]
        array = heads.project(KIND[leg], array)  # type: ignore[arg-type]
    score = np.where(has, np.round(queries @ array.T, 6), -np.inf)
    return f"{_recall(score[:, rows], np.arange(len(rows))):.3f} ({_recall(score, rows):.3f})"


def _recall(score: Floats, own: Ints) -> float:
    own_score = score[np.arange(len(own)), own][:, None]
    rank = 1 + (score > own_score).sum(1) + ((score == own_score).sum(1) - 1) / 2
    return float(((rank <= 10) & np.isfinite(own_score[:, 0])).mean())


def of_cold_items(args: Any) -> Iterator[str]:
    yield "| shop | removed | items | " + " | ".join(METHODS) + " | nothing removed |"
    yield "|---|---|---|" + "---|" * (len(METHODS) + 1)
    for seed in args.seeds:
        with tempfile.TemporaryDirectory() as folder:
            dataset, vectors = _shop(Path(folder), seed, args)
            config = load_config(overrides=[*FEW_EPOCHS, f"train.epochs={args.epochs}"])
            split = make_split(dataset, config.split, Path(folder) / "split")
            trained = split.train[Columns.ITEM].unique().implode()
            cold = np.flatnonzero(~dataset.items[Columns.ITEM].is_in(trained).to_numpy())
            rows = np.sort(np.random.default_rng(seed).permutation(cold)[: len(cold) // 2])
            whole = _cold_recall(dataset, vectors, split, config)
            for removed, names in GROUPS.items():
                left = _removed(vectors, names, rows)
                found = [
                    _cold_recall(
                        dataset, impute_media(left, dataset.items.height, method, seed=0), split, config
                    )
                    for method in METHODS
                ]
                figures = " | ".join(f"{value:.4f}" for value in (*found, whole))
                yield f"| {seed} | {removed} | {len(rows)} of {len(cold)} | {figures} |"


def _removed(vectors: MediaVectors, names: Sequence[str], rows: Ints) -> MediaVectors:
    items = dict(vectors.items)
    for name in names:
        kept = ~np.isin(items[name].owner, rows)
        items[name] = MediumVectors(owner=items[name].owner[kept], vectors=items[name].vectors[kept])
    return replace(vectors, items=items)


def _cold_recall(dataset: Dataset, vectors: MediaVectors, split: Split, config: Config) -> float:
    fitted = fit(audit(FitInputs.of(dataset, vectors, split, config)))
    histories = split.before_test(fitted.builder)
    system = System("recsys", fitted.recommender, histories, empty=fitted.builder.empty)
    data = EvaluationSet(split=split, items=fitted.features, seen=SeenItems(histories))
    _, views = results_by_user(system, data)
    return float(views["cold_full"].values["recall@20"].mean())


def _shop(folder: Path, seed: int, args: Any) -> tuple[Dataset, MediaVectors]:
    """A sample shop without voices; tastes depend on pictures and texts."""
    sizes = {"seed": seed, "num_items": args.items, "num_users": args.users, "picture_size": 96}
    no_voices = {"voice_share": 0.0, "panel_reviews": 0, "spoken_share": 0.0}
    options = SampleOptions.from_values({**FORMER_SHOP, **sizes, **no_voices})
    write_sample_shop(folder / "shop", options)
    config, cache = load_config(overrides=FEW_EPOCHS), default_cache_dir()
    dataset = open_dataset(folder / "shop", config.data, cache_dir=cache)
    return dataset, extract(dataset, config.encoders, cache_dir=cache)


if __name__ == "__main__":
    main()
