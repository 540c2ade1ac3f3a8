"""Is the evaluation of a run honest, and is it that of the bundle? By other code than made it."""

import json
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import polars as pl

from features.splits import GROUND_TRUTH, HISTORY
from recsys.bundle import Bundle
from recsys.columns import Columns
from recsys.config import PublishConfig
from recsys.ids import NUM_RESERVED, IdMap
from recsys.metrics import at_k
from training.evaluation import MODEL, Evaluation, Predictions
from training.fitting import read_audits
from training.publishing.bars import Bar, at_least, at_most
from training.publishing.champion import evaluation_of
from training.run_directory import RunDirectory

_PAIR: Final = (Columns.USER, Columns.ITEM)
_EQUAL: Final = 1e-9  # difference of two sums of the same numbers in another order


def evidence_bars(
    run: RunDirectory, bundle: Bundle, predictions: Predictions, config: PublishConfig
) -> list[Bar]:
    """The audit of leaks, the held-out events, the evaluation and the parity of the graphs."""
    evaluation = evaluation_of(run)
    return [
        _audited(run, bundle),
        _held_out(run, evaluation, predictions, bundle.item_ids),
        _recounted(run, evaluation, predictions),
        _belongs(run, bundle),
        *_parity(bundle.manifest.parity, config),
    ]


def _audited(run: RunDirectory, bundle: Bundle) -> Bar:
    """A leak ends the step that finds it, before its audit is written: a stage without audit is not clean."""
    audits = read_audits(run.audits)
    stages = ("main", "test", *(("refit",) if bundle.manifest.refit else ()))
    missing = [stage for stage in stages if stage not in audits or not audits[stage].checked]
    return Bar(
        name="audit of leaks",
        passed=not missing,
        found=f"no clean audit of: {', '.join(missing)}" if missing else f"clean: {', '.join(stages)}",
        required=f"{', '.join(stages)} in {run.audits.name}, as recsys evaluate and export write it",
        missed_by=f"{len(missing)} stages" if missing else "",
    )


def _held_out(run: RunDirectory, evaluation: Evaluation, predictions: Predictions, item_ids: IdMap) -> Bar:
    """No test event is in the history; without seen items in lists, no pair of the ground truth is either."""
    history, truth = (pl.read_parquet(run.split / name, glob=False) for name in (HISTORY, GROUND_TRUTH))
    leaked = truth.join(history, on=Columns.ROW, how="semi").select(_PAIR)
    if evaluation.exclude_seen:
        pairs = _pairs(predictions, item_ids).join(history, on=_PAIR, how="semi")
        leaked = pl.concat([leaked, pairs]).unique(maintain_order=True)
    example = (
        f", such as user {leaked[Columns.USER][0]!r}, item {leaked[Columns.ITEM][0]!r}"
        if leaked.height
        else ""
    )
    return Bar(
        name="held-out events",
        passed=not leaked.height,
        found=f"{leaked.height:,} of {truth.height:,} test events are in the history{example}",
        required="none",
        missed_by=f"{leaked.height:,} events" if leaked.height else "",
    )


def _pairs(predictions: Predictions, item_ids: IdMap) -> pl.DataFrame:
    """The ground truth under external ids."""
    external = pl.Series(item_ids.external, dtype=pl.String)
    frames = [
        pl.DataFrame(
            {
                Columns.USER: np.repeat(np.array(predictions.users, object), lists.counts).tolist(),
                Columns.ITEM: external.gather(lists.ids - NUM_RESERVED),
            },
            schema={Columns.USER: pl.String, Columns.ITEM: pl.String},
        )
        for lists in (predictions.warm, predictions.cold)
    ]
    return pl.concat(frames)


def _recounted(run: RunDirectory, evaluation: Evaluation, predictions: Predictions) -> Bar:
    """The metrics of both views, counted again from the lists."""
    differences = {}
    for view, truth in (("warm", predictions.warm), ("cold_full", predictions.cold)):
        rows = np.flatnonzero(truth.counts)
        published = evaluation.views[view].models.get(MODEL, {})
        if not len(rows) or not published:
            continue
        lists_UK = predictions.models[MODEL][rows]
        ks = [k for k in evaluation.ks if k <= lists_UK.shape[1]]
        ground_truth = [truth.ids[truth.offsets[row] : truth.offsets[row + 1]] for row in rows]
        for metric, values in at_k(lists_UK, ground_truth, ks).items():
            differences[f"{view} {metric}"] = abs(float(values.mean()) - published[metric].value)
    worst = max(differences, key=differences.__getitem__, default=None)
    if worst is None:
        return Bar(
            name="evaluation",
            passed=False,
            found=f"{run.metrics.name} has no figures of {MODEL!r}",
            required="some",
        )
    return at_most(
        "evaluation",
        differences[worst],
        _EQUAL,
        words=f"largest difference of {run.metrics.name} from {run.predictions.name}, {worst}",
    )


def _belongs(run: RunDirectory, bundle: Bundle) -> Bar:
    """The bundle was exported after this very evaluation."""
    metrics: dict[str, Any] = json.loads(run.metrics.read_text("utf-8"))
    same = bundle.manifest.metrics.get("views") == metrics["views"]
    return Bar(
        name="bundle and evaluation",
        passed=same,
        found=f"the metrics of the bundle are {'those' if same else 'not those'} of {run.metrics.name}",
        required="the same metrics; recsys export writes the bundle anew",
    )


def _parity(parity: Mapping[str, float], config: PublishConfig) -> list[Bar]:
    """What the export measured between torch and the graphs; a bundle without these figures does not pass."""
    outputs = {name: value for name, value in parity.items() if "." in name}
    worst = max(outputs, key=outputs.__getitem__, default="none")
    return [
        at_least("top-10 agreement", parity.get("top10_agreement", np.nan), config.min_agreement),
        at_most("score difference", parity.get("score_difference", np.nan), config.max_score_difference),
        at_most("graph parity", outputs.get(worst, np.nan), config.max_output_difference, words=worst),
    ]
