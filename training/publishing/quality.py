"""Is a model worse than the champion? Paired differences over the users of one test.

Shape suffixes: U users of the test, K ranks, N items.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from features.splits import HISTORY, PART, TRAIN
from recsys.arrays import Floats, Ints
from recsys.columns import Columns
from recsys.config import PublishConfig
from recsys.ids import PAD, IdMap
from recsys.metrics import Estimate, IdLists, at_k
from training.evaluation import MODEL, GroundTruth, Part, Predictions, compare_lists, slices_of
from training.publishing.bars import Bar
from training.run_directory import RunDirectory


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Lists of both models for the same users, and the parts of the test that are compared."""

    challenger_UK: Ints
    champion_UK: Ints
    parts: Mapping[str, Part]


def parts_of(predictions: Predictions, popularity_N: Floats) -> dict[str, Part]:
    """The views and slices of `recsys.config.PARTS`; `popularity_N` counts positive training events."""
    truth = _ground_truth(predictions, len(popularity_N))
    parts = {"warm": truth.part("", ~truth.is_cold), "cold_full": truth.part("", truth.is_cold)}
    for kind, slices in slices_of(truth, popularity_N).items():
        parts |= {f"{kind}/{name}": part for name, part in slices.items()}
    return parts


def popularity_of(run: RunDirectory, item_ids: IdMap) -> Floats:
    """Positive training events of each item, from the split that the run has written. Shape [N]."""
    events = pl.scan_parquet(run.split / HISTORY, glob=False)
    counts = events.filter(pl.col(PART) == TRAIN, Columns.POSITIVE).group_by(Columns.ITEM).len().collect()
    popularity_N = np.zeros(item_ids.size, np.float32)
    popularity_N[item_ids.encode(counts[Columns.ITEM])] = counts["len"].to_numpy()
    return popularity_N


def is_same_test(one: Predictions, other: Predictions) -> bool:
    """Whether both evaluations asked the same users for the same items."""
    pairs = ((one.warm, other.warm), (one.cold, other.cold))
    return one.users == other.users and all(
        np.array_equal(first.offsets, second.offsets) and np.array_equal(first.ids, second.ids)
        for first, second in pairs
    )


def same_test(challenger: Predictions, champion: Predictions, popularity_N: Floats) -> Comparison:
    """The comparison of two evaluations for which `is_same_test` holds."""
    return Comparison(
        challenger_UK=challenger.models[MODEL],
        champion_UK=champion.models[MODEL],
        parts=parts_of(challenger, popularity_N),
    )


def quality_bars(comparison: Comparison, config: PublishConfig) -> list[Bar]:
    """A bar for each metric in each part that has enough users; one that fails where no part has."""
    bars: list[Bar] = []
    for name in config.slices:
        part = comparison.parts[name]
        if len(part.rows) < config.min_users:
            bars.append(
                Bar(
                    name=f"quality, {name}",
                    passed=None,
                    found=f"{len(part.rows)} users: too few to compare",
                    required=f"{config.min_users} users (publish.min_users)",
                )
            )
            continue
        bars += _bars_of(name, part, comparison, config)
    if not any(bar.passed is not None for bar in bars):
        bars.append(
            Bar(
                name="quality",
                passed=False,
                found="no slice has enough users",
                required=f"{config.min_users} users in one of {', '.join(config.slices)}",
            )
        )
    return bars


def _bars_of(name: str, part: Part, comparison: Comparison, config: PublishConfig) -> list[Bar]:
    ks = sorted({int(metric.partition("@")[2]) for metric in config.metrics})
    challenger_UK, champion_UK = (
        _at_least(lists_UK[part.rows], max(ks))
        for lists_UK in (comparison.challenger_UK, comparison.champion_UK)
    )
    gaps = compare_lists(challenger_UK, champion_UK, part.ground_truth, ks)
    values = [at_k(lists_UK, part.ground_truth, ks) for lists_UK in (challenger_UK, champion_UK)]
    return [
        _bar(
            f"{metric}, {name}",
            gaps[metric],
            challenger=float(values[0][metric].mean()),
            champion=float(values[1][metric].mean()),
            num_users=len(part.rows),
            config=config,
        )
        for metric in config.metrics
    ]


def _bar(
    name: str, gap: Estimate, *, challenger: float, champion: float, num_users: int, config: PublishConfig
) -> Bar:
    allowed = -config.max_loss * champion
    strict = config.test == "non_inferiority"
    reached = gap.low if strict else gap.high
    passed = reached >= allowed
    end = "lower" if strict else "upper"
    return Bar(
        name=name,
        passed=passed,
        found=(
            f"{challenger:.4f} against {champion:.4f} of the champion, difference {gap.value:+.4f} "
            f"[{gap.low:+.4f}, {gap.high:+.4f}], {num_users:,} users"
        ),
        required=f"the {end} end of the interval at least {allowed:+.4f}",
        missed_by="" if passed else f"{allowed - reached:.4f}",
    )


def _ground_truth(predictions: Predictions, num_items: int) -> GroundTruth:
    lists = (predictions.warm, predictions.cold)
    cold = np.zeros(num_items, np.bool_)
    cold[predictions.cold.ids] = True
    return GroundTruth(
        users=predictions.users,
        row=np.concatenate([_rows(each) for each in lists]),
        item=np.concatenate([each.ids for each in lists]),
        cold=cold,
        seen=None,
        num_seen=predictions.num_seen,
        counts={"catalogue_items": num_items},
    )


def _rows(lists: IdLists) -> Ints:
    return np.repeat(np.arange(len(lists)), lists.counts)


def _at_least(lists_UK: Ints, width: int) -> Ints:
    """The lists with as many columns as the largest k, padded where all are shorter."""
    missing = max(width - lists_UK.shape[1], 0)
    return np.pad(lists_UK, ((0, 0), (0, missing)), constant_values=PAD)
