"""Compare the towers of two trained runs by the paired difference of their validation NDCG@10.

    python -m scripts.compare_validation FIRST_RUN SECOND_RUN

The runs have one dataset and split, and are finished. NDCG@10 is the metric of early stopping, over warm
items, of the kept epoch. The difference is second minus first, as a mean over the validation users, with the
95% interval of a bootstrap over users (1,000 resamples), the same ones for both runs.
"""

import sys
from pathlib import Path

import numpy as np

from recsys.metrics import Doubles, Sampled, resamples, weighted_means
from training.fitting import FitInputs, tower_ndcg
from training.pipeline import Run


def main(first: Path, second: Path) -> None:
    users, values = zip(*(ndcg_of(path) for path in (first, second)), strict=True)
    if users[0] != users[1]:
        sys.exit(f"{first} and {second} have different validation users; train both on one dataset and split")
    one, two = (sampled(each) for each in values)
    difference = (two - one).estimate()
    differing = int((values[0] != values[1]).sum())
    print(f"{len(users[0])} validation users, {differing} of them with another NDCG@10")
    print(f"first {one.value:.5f}, second {two.value:.5f}")
    print(f"difference {difference.value:+.5f} [{difference.low:+.5f}, {difference.high:+.5f}]")


def ndcg_of(path: Path) -> tuple[list[str], Doubles]:
    """The validation users of a run and their NDCG@10."""
    run = Run.open(path)
    if not run.directory.checkpoint("main").is_file():
        sys.exit(f"{path} has no trained towers; make them with: recsys train")
    inputs = FitInputs.of(run.dataset, run.vectors, run.split, run.config)
    return list(inputs.ground_truth), tower_ndcg(run.fitted.retriever.model, inputs)


def sampled(value_U: Doubles) -> Sampled:
    drawn_R = np.concatenate(
        [
            weighted_means(part_RU.astype(np.float64), value_U[:, None])[:, 0]
            for part_RU in resamples(len(value_U))
        ]
    )
    return Sampled(value=float(value_U.mean()), drawn_R=drawn_R)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
