"""Runs as far as a publication reads them, made without training: lists, evaluation, audit, split, bundle."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from bundle_parts import ITEMS, write_histories, write_tiny_bundle

from features.leakage import Audit
from features.splits import InMemorySplit
from recsys.arrays import Bools, Ints
from recsys.config import Config, dump_config
from recsys.ids import IdMap
from recsys.item_features import ItemFeatures
from training.evaluation import MODEL, EvaluationSet, EvaluationSettings, Predictions, evaluate
from training.fitting import record_audit
from training.run_directory import FORMAT, RunDirectory

IDS = IdMap(ITEMS)
NUM_USERS, NUM_WARM = 120, 10  # the last two items are cold
USERS = tuple(f"u{at:03}" for at in range(NUM_USERS))
K = 10


def seen_of(user: int) -> list[str]:
    return [ITEMS[user % NUM_WARM], ITEMS[(user + 1) % NUM_WARM]]


def held_out_of(user: int) -> list[str]:
    """One warm item, and a cold one for every third user."""
    return [ITEMS[(user + 2) % NUM_WARM], *([ITEMS[NUM_WARM]] if user % 3 == 0 else [])]


def events(items: Sequence[Sequence[str]], first_row: int, day: int) -> pl.DataFrame:
    rows = [(USERS[at], item) for at, names in enumerate(items) for item in names]
    return pl.DataFrame(rows, schema={"user_id": pl.String, "item_id": pl.String}, orient="row").with_columns(
        pl.Series("row", np.arange(first_row, first_row + len(rows)), dtype=pl.UInt32),
        pl.lit(day * 86_400_000_000, dtype=pl.Int64).alias("timestamp"),
        positive=pl.lit(True),
    )


def make_split(*, test_day: int = 2) -> InMemorySplit:
    train = events([seen_of(user) for user in range(NUM_USERS)], 0, 1)
    test = events([held_out_of(user) for user in range(NUM_USERS)], train.height, test_day)
    nothing = train.clear()
    return InMemorySplit(
        protocol="leave_one_out",
        description="the last items of each user",
        train=train,
        validation=nothing,
        test=test,
        context=nothing,
        reviews=nothing,
    )


class Skilled:
    """Ranks the held-out items first for a share of the users, drawn with `seed`, and last for the others."""

    name = MODEL

    def __init__(self, skill: float, seed: int) -> None:
        self._hits = np.random.default_rng(seed).random(NUM_USERS) < skill

    def recommend(self, users: Sequence[str], k: int, *, allowed: Bools | None) -> Ints:
        lists = np.zeros((len(users), k), np.int64)
        for row, name in enumerate(users):
            user = int(name[1:])
            wanted = held_out_of(user)
            others = [item for item in ITEMS if item not in (*seen_of(user), *wanted)]
            ranked = IDS.encode([*wanted, *others] if self._hits[user] else [*others, *wanted])
            ranked = ranked if allowed is None else ranked[allowed[ranked]]
            lists[row, : min(k, len(ranked))] = ranked[:k]
        return lists


def make_run(
    path: Path, *, skill: float = 0.5, seed: int = 0, audits: Sequence[str] = ("main", "test"), **bundle: Any
) -> RunDirectory:
    """An evaluated and exported run of a model that finds the held-out items of a share `skill` of the users.

    `bundle` goes to `write_tiny_bundle`.
    """
    path.mkdir(parents=True)
    run = RunDirectory(path)
    dump_config(Config(), run.config_file)
    reference = {"format": FORMAT, "name": "zoo", "path": "zoo", "cache": "cache", "fingerprint": "f00d"}
    run.dataset_file.write_text(json.dumps(reference), "utf-8")
    split = make_split()
    split.write(run.split)
    kept: list[Predictions] = []
    evaluation = evaluate(
        [Skilled(skill, seed)],
        EvaluationSet(split=split, items=item_features(), seen=seen_items()),
        EvaluationSettings(ks=(K,), main_model=MODEL),
        keep=kept.append,
    )
    kept[0].save(run.predictions, IDS)
    run.metrics.write_text(evaluation.to_json(), "utf-8")
    for stage in audits:
        record_audit(run.audits, stage, Audit(checked=("3 histories",)))
    write_histories(run.histories, {name: seen_of(at) for at, name in enumerate(USERS)})
    metrics = asdict(evaluation)
    metrics.pop("slices")
    write_tiny_bundle(run.bundle, **{"seed": seed, "metrics": metrics} | bundle)
    return run


def item_features() -> ItemFeatures:
    return ItemFeatures(
        item_ids=IDS,
        dense={},
        present={},
        categories={},
        category_ids={},
        trained=np.arange(IDS.size) < NUM_WARM + 2,
        popularity=np.where(np.arange(IDS.size) < NUM_WARM + 2, 24, 0).astype(np.float32),
    )


def seen_items() -> dict[str, Ints]:
    return {name: IDS.encode(seen_of(at)) for at, name in enumerate(USERS)}
