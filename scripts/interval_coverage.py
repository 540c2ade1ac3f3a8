"""How often the 95% intervals of coverage@10 and Gini@10 contain the true value.

    python scripts/interval_coverage.py

Lists of 10 of 800 items are sampled for populations of users by a power law. The true value is the mean of
the metric over many populations. "plain" is the percentile interval; "moved" is the reported interval, whose
resamples are shifted so that their mean is the metric.
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from recsys.metrics import Exposure, Sampled, coverage, gini, resamples

NUM_ITEMS, K, NUM_POPULATIONS, NUM_TEST_USERS, NUM_RESAMPLES = 800, 10, 150, 60, 300
METRICS = {"coverage@10": coverage, "gini@10": gini}


def metrics(lists, drawn_UR):  # type: ignore[no-untyped-def]
    """Each metric for every resample of the users."""
    (_, count_RN), *_ = Exposure(lists, (K,)).counts(drawn_UR)
    return {name: metric(count_RN, NUM_ITEMS) for name, metric in METRICS.items()}


def main() -> None:
    rng = np.random.default_rng(0)
    print("exponent  users  metric        mean    plain  moved")
    for exponent in (0.6, 1.2, 2.0):
        log_share = -exponent * np.log(np.arange(1, NUM_ITEMS + 1))
        for num_users in (60, 400):
            noise = rng.gumbel(size=(NUM_POPULATIONS, num_users, NUM_ITEMS))
            populations = np.argsort(-(log_share + noise), axis=2)[:, :, :K] + 2
            drawn_UR = np.concatenate(list(resamples(num_users, num=NUM_RESAMPLES))).T
            found = [metrics(lists, np.ones((num_users, 1), np.int64)) for lists in populations]
            drawn = [metrics(lists, drawn_UR) for lists in populations[:NUM_TEST_USERS]]
            for name in METRICS:
                mean = float(np.mean([each[name][0] for each in found]))
                plain = [
                    Sampled(value=found[at][name][0], drawn_R=drawn[at][name]) for at in range(NUM_TEST_USERS)
                ]
                held = [
                    np.mean([each.estimate().low <= mean <= each.estimate().high for each in sampled])
                    for sampled in (plain, [each.centred(0.0, 1.0) for each in plain])
                ]
                print(f"{exponent:8} {num_users:6}  {name:12} {mean:.3f} {held[0]:7.0%} {held[1]:6.0%}")


if __name__ == "__main__":
    main()
