"""The models to compare with: the baselines, chance and, on generated data, the oracle."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from features.dataset import Dataset, MediaVectors
from features.inputs import HistoryBuilder, SeenItems, build_item_features, build_maps
from features.splits import Split
from recsys.arrays import Ints
from recsys.config import Config
from recsys.item_features import ItemFeatures
from recsys.progress import Progress, silent
from training.baselines.chance import Random
from training.baselines.table import ChosenSettings, choose_baselines
from training.evaluation import (
    Evaluation,
    EvaluationSet,
    EvaluationSettings,
    Oracle,
    TopK,
    evaluate,
    times_of_tests,
)


@dataclass(frozen=True, kw_only=True)
class Competitors:
    """The models, and the settings that validation chose for the baselines among them."""

    models: Sequence[TopK]
    chosen: Sequence[ChosenSettings]


def make_competitors(
    dataset: Dataset,
    split: Split,
    items: ItemFeatures,
    config: Config,
    *,
    seen: Mapping[str, Ints],
    progress: Progress = silent,
) -> Competitors:
    """The baselines that `config` asks for, chance, and the oracle if the dataset has one.

    `seen` are the items of each user's history at test time.
    """
    settings = config.evaluate
    excluded = seen if settings.exclude_seen else None
    found = choose_baselines(
        settings.baselines,
        split,
        items,
        seen=excluded,
        has_clock=dataset.has_clock,
        grids=settings.grids,
        num_threads=config.train.num_threads or 0,
        progress=progress,
    )
    models = [each.model for each in found]
    models.append(Random(items, seen=excluded, seed=config.train.seed))
    if dataset.oracle_files is not None:
        models.append(Oracle(dataset, items, seen=excluded, known=seen, times=times_of_tests(split)))
    return Competitors(models=models, chosen=[each.chosen for each in found])


def evaluate_baselines(
    dataset: Dataset, vectors: MediaVectors, split: Split, config: Config, *, progress: Progress = silent
) -> tuple[Evaluation, Sequence[ChosenSettings]]:
    """Evaluate the competitors alone, without a trained model; their results and settings."""
    statistics = split.statistics
    items = build_item_features(dataset, vectors, train=statistics, reviews=split.reviews)
    maps = build_maps(dataset, statistics)
    seen = SeenItems(split.before_test(HistoryBuilder(dataset, item_ids=items.item_ids, maps=maps)))
    competitors = make_competitors(dataset, split, items, config, seen=seen, progress=progress)
    evaluation = evaluate(
        competitors.models,
        EvaluationSet(split=split, items=items, seen=seen),
        EvaluationSettings.of(config.evaluate),
        progress=progress,
    )
    return evaluation, competitors.chosen
