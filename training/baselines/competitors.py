"""The table of the baselines alone: nothing of ours is trained."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from features.inputs.histories import HistoryBuilder, SeenItems, build_maps
from features.inputs.item_features import build_item_features
from features.splits.split import Split
from recsys.arrays import Ints
from recsys.errors import ConfigError
from recsys.item_features import ItemFeatures
from training.baselines import Random, choose_baselines, save_choices
from training.evaluation.evaluate import Evaluation, TopK, evaluate
from training.evaluation.oracle import Oracle

if TYPE_CHECKING:
    from training.pipeline import Run


def rivals(run: "Run", split: Split, items: ItemFeatures, seen: Mapping[str, Ints]) -> list[TopK]:
    """The baselines that the run asks for, chance and, if there is one, the oracle.

    `seen` are the items of each user's history at test time. What was chosen goes into `baselines.json`.
    """
    knobs = run.config.evaluate
    known = seen if knobs.exclude_seen else None
    found = choose_baselines(
        knobs.baselines,
        split,
        items,
        seen=known,
        has_clock=run.dataset.has_clock,
        num_threads=run.config.train.num_threads or 0,
        progress=run.progress,
    )
    save_choices(run.out, [each.chosen for each in found])
    models = [each.model for each in found]
    models.append(Random(items, seen=known, seed=run.config.train.seed))
    if run.dataset.oracle_files is not None:
        models.append(Oracle(run.dataset, items, seen=known))
    return models


def compare_baselines(run: "Run") -> Evaluation:
    """Writes `split/`, `baselines.json` and `metrics.json`, the latter without a model of ours.

    Raises `ConfigError` where the run has a model, whose figures would be lost.
    """
    if (run.out / "checkpoints").exists():
        raise ConfigError(f"{run.out} holds a trained run; name another --out, or: recsys evaluate {run.out}")
    split, knobs = run.split, run.config.evaluate
    statistics = split.statistics
    items = build_item_features(run.dataset, run.vectors, train=statistics, reviews=split.reviews)
    builder = HistoryBuilder(run.dataset, item_ids=items.item_ids, maps=build_maps(run.dataset, statistics))
    seen = SeenItems(split.before_test(builder))
    evaluation = evaluate(
        rivals(run, split, items, seen),
        split=split,
        items=items,
        seen=seen,
        ks=knobs.k,
        exclude_seen=knobs.exclude_seen,
        beyond_accuracy=True,
        progress=run.progress,
    )
    (run.out / "metrics.json").write_text(evaluation.to_json(), "utf-8")
    return evaluation
