"""Compare two runs of one dataset and split: share of equal top-20 lists, and paired differences of metrics.

    python -m scripts.compare_predictions FIRST.parquet SECOND.parquet [MODEL ...]

The files are `predictions.parquet` of two run directories. Without MODEL all models of both files are
compared. A difference is second minus first, as a mean over the users with ground truth in the view, with the
95% interval of a bootstrap over users (2,000 resamples).
"""

import sys
from pathlib import Path

import numpy as np
import polars as pl

K = 20
DRAWS = 2_000
VIEWS = ("warm", "cold")
METRICS = ("NDCG@20", "Recall@20")


def main(first: Path, second: Path, models: list[str]) -> None:
    one, two = (pl.read_parquet(path, glob=False).sort("user_id") for path in (first, second))
    if one["user_id"].to_list() != two["user_id"].to_list():
        sys.exit("the two files have different users")
    ground_truths = {
        view: next(name for name in one.columns if name.endswith(f"truth_{view}")) for view in VIEWS
    }
    names = models or [
        name for name in one.columns if name in two.columns and name not in _others(ground_truths)
    ]
    header = ["model", "equal top-20 lists", "view", "users"]
    header += [f"{metric} {which}" for metric in METRICS for which in ("first", "second", "difference")]
    print("| " + " | ".join(header) + " |")
    print("|" + "---|" * len(header))
    for name in names:
        lists = [_lists(frame[name]) for frame in (one, two)]
        equal = np.mean([a[:K] == b[:K] for a, b in zip(*lists, strict=True)])
        for view, column in ground_truths.items():
            ground_truth = [set(row) for row in _lists(one[column])]
            rows = [at for at, items in enumerate(ground_truth) if items]
            if rows:
                values = [np.array([_metrics(of[at], ground_truth[at]) for at in rows]) for of in lists]
                cells = [_cells(values[0][:, metric], values[1][:, metric]) for metric in (0, 1)]
                print(f"| {name} | {equal:.2%} | {view} | {len(rows)} | {' | '.join(cells)} |")


def _others(ground_truths: dict[str, str]) -> set[str]:
    return {"user_id", "num_seen", *ground_truths.values()}


def _lists(column: pl.Series) -> list[list[str]]:
    return [row or [] for row in column.cast(pl.List(pl.String)).to_list()]


def _metrics(ranked: list[str], ground_truth: set[str]) -> tuple[float, float]:
    hits = np.array([item in ground_truth for item in ranked[:K]], np.float64)
    discount = 1.0 / np.log2(2.0 + np.arange(K))
    ideal = discount[: min(K, len(ground_truth))].sum()
    return float((hits * discount[: len(hits)]).sum() / ideal), float(hits.sum() / len(ground_truth))


def _cells(first: np.ndarray, second: np.ndarray) -> str:
    difference = second - first
    rng = np.random.default_rng(0)
    means = [difference[rng.integers(len(difference), size=len(difference))].mean() for _ in range(DRAWS)]
    low, high = np.quantile(means, [0.025, 0.975])
    return f"{first.mean():.4f} | {second.mean():.4f} | {difference.mean():+.4f} [{low:+.4f}, {high:+.4f}]"


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
