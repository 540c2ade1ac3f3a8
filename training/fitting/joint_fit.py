"""Fits that several ranks take together: rank 0 announces a fit, the others make its inputs and join.

Rank 0 alone runs the steps of a run. For each fit it sends a `JointFit`. The others read the dataset and the
vectors where rank 0 has read them, train the towers with it, and wait for the next fit. They write nothing
into the run directory.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from features.dataset import Dataset, MediaVectors
from features.event_log import open_dataset
from features.extraction import extract
from features.splits import Split, make_split
from recsys.config import Config
from recsys.files import replacing
from training.fitting.fit import FitChoices, fit_towers
from training.fitting.inputs import FitInputs
from training.fitting.refit import newest_events_split
from training.imputation import with_imputed
from training.ranks import Ranks
from training.runtime import threads


@dataclass(frozen=True)
class JointFit:
    """One fit. All ranks find its files under the same absolute paths."""

    stage: str
    dataset: Path
    cache_dir: Path
    checkpoint: Path
    config: Config
    choices: FitChoices | None


def announce(ranks: Ranks, fit: JointFit) -> None:
    """Let the other ranks join `fit`, which rank 0 is about to start."""
    paths = {name: getattr(fit, name).resolve() for name in ("dataset", "cache_dir", "checkpoint")}
    ranks.share(lambda: replace(fit, **paths))


def dismiss(ranks: Ranks) -> None:
    """Let the other ranks end: rank 0 fits nothing any more."""
    ranks.share(lambda: None)


def follow(ranks: Ranks) -> None:
    """Join every fit that rank 0 announces, until it dismisses this rank.

    Raises `RankError` where rank 0 is lost, or reads other data than this rank.
    """
    with tempfile.TemporaryDirectory(prefix=f"recsys-rank{ranks.rank}-") as folder:
        while (fit := ranks.share(_nothing)) is not None:
            with threads(fit.config.train.num_threads):
                inputs = _inputs(fit, Path(folder) / fit.stage)
                fit_towers(inputs, fit.choices, checkpoint=fit.checkpoint, ranks=ranks)


def _nothing() -> JointFit | None:
    """The value of a rank other than 0 in `Ranks.share`; nobody reads it."""
    return None


def record_plan(path: Path, stage: str, plan: str | None) -> None:
    """Write how the learned tables of `stage` were divided to `path`, below the plans of other stages."""
    if plan is None:
        return
    plans = dict(_read_plans(path)) | {stage: plan.strip()}
    with replacing(path) as temporary:
        text = "\n\n".join(f"[{name}]\n{each}" for name, each in plans.items())
        temporary.write_text(text + "\n", "utf-8")


def _read_plans(path: Path) -> Mapping[str, str]:
    if not path.exists():
        return {}
    sections = ("\n" + path.read_text("utf-8")).split("\n[")[1:]
    pairs = (section.split("]\n", 1) for section in sections)
    return {name: plan.strip() for name, plan in pairs}


def _inputs(fit: JointFit, folder: Path) -> FitInputs:
    dataset = open_dataset(fit.dataset, fit.config.data, cache_dir=fit.cache_dir)
    extracted: MediaVectors = extract(dataset, fit.config.encoders, cache_dir=fit.cache_dir)
    vectors = with_imputed(dataset, extracted, fit.config)
    return FitInputs.of(dataset, vectors, _split(fit, dataset, folder), fit.config)


def _split(fit: JointFit, dataset: Dataset, folder: Path) -> Split:
    """The split of the stage; the parts of an event log are written into `folder`."""
    if fit.stage == "refit":
        assert fit.choices is not None
        needs_targets = fit.choices.blend_weight > 0
        return newest_events_split(dataset, fit.config, needs_targets=needs_targets, folder=folder)
    split = make_split(dataset, fit.config.split, folder)
    return split.with_validation() if fit.stage == "with_validation" else split
