"""The record of each fit of a run: curve, choices, versions and machine.

`fit_records.json` has one entry for each stage (main, with_validation, id_only, refit), written when the fit
ends.
"""

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import recsys
from features.leakage import Audit
from recsys.files import replace_text
from recsys.ids import NUM_RESERVED
from training.cold_ranker import ColdRankerChoice
from training.cold_start import ColdItems
from training.fitting.fit import Fitted
from training.fitting.without_events import WithoutEvents
from training.ranker import FittedRanker

# Packages whose version can change results.
PACKAGES = ("torch", "torchrec", "onnxruntime-gpu", "polars", "numpy", "implicit", "mlflow")


@dataclass(frozen=True, kw_only=True)
class RankerRecord:
    """The choices on validation; `scores` are NDCG@10 without and with the ranker, empty in a refit."""

    num_lists: int
    best_epoch: int
    blend_weight: float
    scores: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class FitRecord:
    """The record of one stage."""

    at: str  # time of the end, UTC, ISO 8601
    curve: tuple[Mapping[str, float], ...]  # one entry for each epoch
    best_epoch: int
    best_score: float | None  # validation NDCG@10
    ranker: RankerRecord | None
    num_items: int
    cold_items: ColdItems
    without_events: WithoutEvents  # whether the towers or popularity answer users without events
    coverage: Mapping[str, int]  # modality that the towers read -> number of items that have it
    versions: Mapping[str, str]
    machine: Mapping[str, Any]
    cold_ranker: ColdRankerChoice = field(default_factory=ColdRankerChoice)


def record_fit(path: Path, stage: str, fitted: Fitted) -> None:
    """Write the record of `fitted` to `path`, beside the records of other stages.

    A fit that only read a finished checkpoint keeps the time, versions and machine of the first record.
    """
    fits = read_fit_records(path)
    fit = _record_of(fitted)
    before = fits.get(stage)
    if before is not None and before.curve == fit.curve:
        fit = FitRecord(**vars(fit) | {name: getattr(before, name) for name in ("at", "versions", "machine")})
    content = {name: asdict(each) for name, each in (fits | {stage: fit}).items()}
    replace_text(path, json.dumps(content, indent=2))


def read_fit_records(path: Path) -> dict[str, FitRecord]:
    """The records in `path` by stage; empty where there is no file."""
    if not path.exists():
        return {}
    return {stage: _read(values) for stage, values in json.loads(path.read_text("utf-8")).items()}


def record_audit(path: Path, stage: str, audit: Audit) -> None:
    """Write the audit of `stage` into `path`, beside the audits of other stages."""
    content = {name: asdict(each) for name, each in (read_audits(path) | {stage: audit}).items()}
    replace_text(path, json.dumps(content, indent=2))


def read_audits(path: Path) -> dict[str, Audit]:
    """The audits of a run by stage (main, with_validation, id_only, refit, test); empty without a file."""
    if not path.exists():
        return {}
    return {
        stage: Audit(
            checked=tuple(values["checked"]),
            not_checked=tuple(values["not_checked"]),
            seconds=values["seconds"],
        )
        for stage, values in json.loads(path.read_text("utf-8")).items()
    }


def machine() -> dict[str, Any]:
    """Processor, cores and system of this machine; its name is left out."""
    return {"processor": _processor(), "cores": os.cpu_count(), "system": platform.system()}


def versions() -> dict[str, str]:
    """Versions of recsys, Python, and the installed packages of `PACKAGES`."""
    found = {"recsys": recsys.__version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _record_of(fitted: Fitted) -> FitRecord:
    retriever, features = fitted.retriever, fitted.features
    spec = retriever.model.spec
    coverage = {name: int(features.observed(name).sum()) for name in spec.dense_dims}
    coverage |= {name: int((features.categories[name] > 0).any(1).sum()) for name in spec.category_sizes}
    return FitRecord(
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        curve=tuple({name: float(value) for name, value in entry.items()} for entry in retriever.curve),
        best_epoch=retriever.best_epoch,
        best_score=retriever.best_score if retriever.best_score == retriever.best_score else None,
        ranker=_ranker_record(fitted.ranker),
        num_items=features.size - NUM_RESERVED,
        cold_items=fitted.cold_items,
        without_events=fitted.without_events,
        cold_ranker=fitted.cold_ranker,
        coverage=coverage,
        versions=versions(),
        machine=machine(),
    )


def _ranker_record(ranker: FittedRanker | None) -> RankerRecord | None:
    if ranker is None:
        return None
    return RankerRecord(
        num_lists=ranker.num_lists,
        best_epoch=ranker.best_epoch,
        blend_weight=ranker.blend_weight,
        scores=dict(ranker.scores),
    )


def _read(values: dict[str, Any]) -> FitRecord:
    ranker = values["ranker"] and RankerRecord(**values["ranker"])
    read = {
        "curve": tuple(values["curve"]),
        "ranker": ranker,
        "cold_items": values["cold_items"] and ColdItems.from_dict(values["cold_items"]),
        "without_events": values["without_events"] and WithoutEvents(**values["without_events"]),
        "cold_ranker": ColdRankerChoice(**values.get("cold_ranker", {})),
    }
    return FitRecord(**values | read)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def validation_metrics(fitted: Fitted) -> dict[str, float]:
    """Validation results of the towers and the ranker, for a tracker."""
    metrics = (
        {"validation/best_ndcg_at_10": fitted.retriever.best_score} if fitted.retriever.best_epoch else {}
    )
    if fitted.ranker is not None:
        metrics |= {f"validation/ndcg_at_10_{name}": value for name, value in fitted.ranker.scores.items()}
        metrics["ranker/blend_weight"] = fitted.ranker.blend_weight
        metrics["ranker/lists"] = float(fitted.ranker.num_lists)
    return {name: value for name, value in metrics.items() if value == value}
