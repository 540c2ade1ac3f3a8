"""The effect of one more candidate source of the ranker, on the towers of finished runs.

    python -m benchmarks.ranker_sources RUN [RUN ...] --add ease

The ranker is fitted again with the source, and both systems are compared on the test of the run, paired by
user, and on the validation users that chose the ranker's epoch. Nothing is written into a run.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

from features.inputs import SeenItems
from recsys.config import Config, changed
from training.evaluation import EvaluationSet, EvaluationSettings, evaluate, full_and_towers
from training.fitting import FitInputs, Fitted, audit, fit
from training.pipeline import Run
from training.runtime import threads

WITHOUT, WITH = "without", "with"
METRICS = ("ndcg@10", "recall@20")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--add", default="ease", help="the source (default: ease)")
    args = parser.parse_args()
    print(f"| run | view | users | metric | without {args.add} | with | with minus without | validation |")
    print("|---|---|---|---|---|---|---|---|")
    for path in args.runs:
        for row in compared(Run.open(path), args.add):
            print("| " + " | ".join([path.name, *row]) + " |", flush=True)


def compared(run: Run, source: str) -> list[list[str]]:
    """A row for each view and metric of the test."""
    old = [name for name in run.config.model.ranker.sources if name != source]
    fits = {
        name: _fitted(run, changed(run.config, {"model.ranker.sources": sources}))
        for name, sources in ((WITHOUT, old), (WITH, [*old, source]))
    }
    histories = run.split.before_test(fits[WITHOUT].builder)
    settings = run.config.evaluate
    with threads(run.config.train.num_threads):
        found = evaluate(
            [*(full_and_towers(each, histories, name, None, settings)[0] for name, each in fits.items())],
            EvaluationSet(split=run.split, items=fits[WITHOUT].features, seen=SeenItems(histories)),
            EvaluationSettings(ks=settings.k, exclude_seen=settings.exclude_seen, main_model=WITH),
        )
    validation = " → ".join(
        "–" if each.ranker is None else f"{each.ranker.scores['with_ranker']:.4f}" for each in fits.values()
    )
    rows = []
    for view, result in found.views.items():
        for metric in METRICS if result.models else ():
            gap = result.differences[WITHOUT][metric]
            values = [f"{result.models[name][metric].value:.4f}" for name in (WITHOUT, WITH)]
            change = f"{gap.value:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}]"
            rows.append([view, f"{result.num_users:,}", metric, *values, change, validation])
    return rows


def _fitted(run: Run, config: Config) -> Fitted:
    with tempfile.TemporaryDirectory() as folder, threads(config.train.num_threads):
        towers = Path(folder) / "main.pt"
        shutil.copy(run.directory.checkpoint("main"), towers)
        return fit(audit(FitInputs.of(run.dataset, run.vectors, run.split, config)), checkpoint=towers)


if __name__ == "__main__":
    main()
