"""Cold items: the cold ranker beside the towers alone and the fusion of content neighbours.

    python benchmarks/cold_items.py RUN [RUN ...]

A RUN is a run directory of `recsys train` with `model.cold_start.ranker = true`. Prints NDCG and Recall at 10
and 20 of the cold items among themselves (pool) and in the whole catalogue (full), and the differences of the
cold ranker to the other models, paired by user, with 95% intervals of a bootstrap over users.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from features.inputs import SeenItems
from training.baselines import choose_baselines
from training.evaluation import Evaluation, EvaluationSet, EvaluationSettings, System, TopK, evaluate
from training.fitting import Fitted
from training.pipeline import Run

RANKER, TOWERS, NEIGHBORS = "cold ranker", "towers alone", "content (fusion)"
LAST, FORMER = "cold items last", "cold ranks 10, 17, 19"
METRICS = ("ndcg@10", "recall@10", "ndcg@20", "recall@20")
VIEWS = ("cold_pool", "cold_full", "warm")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    args = parser.parse_args()
    for path in args.runs:
        run = Run.open(path)
        fitted = run.fitted
        print(
            f"\n{path.name}: weights {_rounded(fitted)}, cold ranks {fitted.recommender.settings.cold_ranks}"
        )
        print("| view | users | model | " + " | ".join(METRICS) + " |")
        print("|" + "---|" * (3 + len(METRICS)))
        for line in rows(measure(run, fitted)):
            print(line, flush=True)


def measure(run: Run, fitted: Fitted) -> Evaluation:
    """The three models on the test of the run; the cold ranker is the main model."""
    histories = run.split.before_test(fitted.builder)
    seen, settings = SeenItems(histories), run.config.evaluate
    whole = fitted.recommender
    recommenders = {
        RANKER: whole,
        TOWERS: whole.with_cold_ranker(None),
        LAST: whole.with_settings(cold_ranks=()),
        FORMER: whole.with_settings(cold_ranks=(10, 17, 19)),
    }
    models: list[TopK] = [
        System.of(fitted, name, each, histories, settings) for name, each in recommenders.items()
    ]
    found = choose_baselines(
        [NEIGHBORS],
        run.split,
        fitted.features,
        seen=seen if settings.exclude_seen else None,
        has_clock=run.dataset.has_clock,
        grids=settings.grids,
        num_threads=run.config.train.num_threads or 0,
    )
    models += [each.model for each in found]
    return evaluate(
        models,
        EvaluationSet(split=run.split, items=fitted.features, seen=seen),
        EvaluationSettings(exclude_seen=settings.exclude_seen, main_model=RANKER),
    )


def rows(evaluation: Evaluation) -> Iterator[str]:
    """A row of a Markdown table for each view and model; below a model its difference to the cold ranker."""
    for view in VIEWS:
        result = evaluation.views[view]
        for name, estimates in result.models.items():
            values = [f"{estimates[metric].value:.4f}" for metric in METRICS]
            yield f"| {view} | {result.num_users} | {name} | " + " | ".join(values) + " |"
            if name in result.differences:
                changes = [result.differences[name][metric] for metric in METRICS]
                cells = [f"{each.value:+.4f} [{each.low:+.4f}, {each.high:+.4f}]" for each in changes]
                yield f"| | | {RANKER} minus {name} | " + " | ".join(cells) + " |"


def _rounded(fitted: Fitted) -> str:
    choice = fitted.cold_ranker
    return ", ".join(f"{name} {weight:.2f}" for name, weight in choice.weights.items()) or "none"


if __name__ == "__main__":
    main()
