"""The gate: every bar that a run's bundle has to pass before it takes the place of the champion."""

from collections.abc import Callable

from recsys.bundle import Bundle
from recsys.config import PublishConfig
from recsys.errors import ConfigError, DataError
from training.evaluation import Predictions
from training.pipeline import Run
from training.publishing.bars import Bar
from training.publishing.budgets import latency_bars, size_bars
from training.publishing.champion import Champion, of_model
from training.publishing.evidence import evidence_bars
from training.publishing.newer_data import NotComparableError, on_newer_data
from training.publishing.quality import is_same_test, popularity_of, quality_bars, same_test
from training.run_directory import RunDirectory


def check(
    run: RunDirectory,
    bundle: Bundle,
    champion: Champion | None,
    config: PublishConfig,
    open_run: Callable[[], Run],
) -> list[Bar]:
    """All bars, in the order of the table; without a champion only the absolute ones.

    `open_run` opens the run with its dataset, which is needed where the champion is of other data.
    Raises `ConfigError` where the run was not evaluated.
    """
    for path in (run.metrics, run.predictions):
        if not path.is_file():
            raise ConfigError(f"{path} is missing; make it with: recsys evaluate {run.path}")
    predictions = of_model(run.predictions, bundle.item_ids)
    served = None if champion is None else champion.bundle
    return [
        *evidence_bars(run, bundle, predictions, config),
        *_compared(run, bundle, predictions, champion, config, open_run),
        *size_bars(bundle, served, config),
        *latency_bars(bundle, served, run.histories, config),
    ]


def _compared(
    run: RunDirectory,
    bundle: Bundle,
    predictions: Predictions,
    champion: Champion | None,
    config: PublishConfig,
    open_run: Callable[[], Run],
) -> list[Bar]:
    if champion is None:
        return []
    if bundle.manifest.dataset.fingerprint != champion.version.dataset_fingerprint:
        try:
            return quality_bars(on_newer_data(open_run(), bundle, predictions, champion), config)
        except NotComparableError as error:
            return [_not_comparable(str(error))]
    try:
        before = of_model(champion.predictions, bundle.item_ids)
    except DataError as error:
        return [_not_comparable(f"the lists of the champion are damaged: {error}")]
    if not is_same_test(predictions, before):
        return [
            _not_comparable(
                "the champion was evaluated on another split of the same data; train with its split settings"
            )
        ]
    return quality_bars(same_test(predictions, before, popularity_of(run, bundle.item_ids)), config)


def _not_comparable(reason: str) -> Bar:
    return Bar(name="quality", passed=False, found=reason, required="both evaluated on the same test")
