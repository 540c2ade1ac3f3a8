"""How often the 95% intervals of coverage@10 and Gini@10 hold the figure that they are about.

    python scripts/interval_coverage.py

Lists of 10 of 800 items are drawn for populations of users by a power law; the figure's mean over many
populations is what the interval of each of them should hold. "plain" is the percentile interval as it
comes, "moved" the one that is reported, its resamples moved to have the figure as their mean.
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from recsys.metrics import Exposure, Sampled, coverage, gini, resamples

NUM_ITEMS, K, NUM_POPULATIONS, NUM_JUDGED, NUM_RESAMPLES = 800, 10, 150, 60, 300
FIGURES = {"coverage@10": coverage, "gini@10": gini}


def figures(lists, drawn_UR):  # type: ignore[no-untyped-def]
    """Each figure for every drawing of the users."""
    (_, count_RN), *_ = Exposure(lists, (K,)).counts(drawn_UR)
    return {name: figure(count_RN, NUM_ITEMS) for name, figure in FIGURES.items()}


def main() -> None:
    rng = np.random.default_rng(0)
    print("exponent  users  figure        mean    plain  moved")
    for exponent in (0.6, 1.2, 2.0):
        log_share = -exponent * np.log(np.arange(1, NUM_ITEMS + 1))
        for num_users in (60, 400):
            noise = rng.gumbel(size=(NUM_POPULATIONS, num_users, NUM_ITEMS))
            populations = np.argsort(-(log_share + noise), axis=2)[:, :, :K] + 2
            drawn_UR = np.concatenate(list(resamples(num_users, num=NUM_RESAMPLES))).T
            found = [figures(lists, np.ones((num_users, 1), np.int64)) for lists in populations]
            drawn = [figures(lists, drawn_UR) for lists in populations[:NUM_JUDGED]]
            for name in FIGURES:
                mean = float(np.mean([each[name][0] for each in found]))
                plain = [
                    Sampled(value=found[at][name][0], drawn_R=drawn[at][name]) for at in range(NUM_JUDGED)
                ]
                held = [
                    np.mean([each.estimate().low <= mean <= each.estimate().high for each in sampled])
                    for sampled in (plain, [each.centred(0.0, 1.0) for each in plain])
                ]
                print(f"{exponent:8} {num_users:6}  {name:12} {mean:.3f} {held[0]:7.0%} {held[1]:6.0%}")


if __name__ == "__main__":
    main()
