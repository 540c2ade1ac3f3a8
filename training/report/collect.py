"""The content of the report, read from a run directory; `template.html` gives it its form."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from features.dataset import Dataset
from features.inputs import read_quality
from recsys.bundle import MANIFEST
from recsys.checksums import sha256_of
from recsys.config import Config
from recsys.errors import ConfigError
from training.baselines import read_choices, settings_words
from training.evaluation import MODEL, Evaluation, load_examples, metric_name
from training.fitting import FitRecord, read_audits, read_fit_records
from training.knockouts import Knockouts
from training.report.beyond import Beyond, beyond
from training.report.charts import Chart, Series, line_chart
from training.report.cold_items import cold_items_chart
from training.report.data_summary import DataSummary, data_summary, sentiment_words
from training.report.example_cards import ExampleCard, example_cards, has_pictures
from training.report.modalities import Modalities, modalities
from training.report.origin import Origin, origin
from training.report.results import Slices, View, slices, views
from training.report.words import (
    Findings,
    audit_words,
    baselines,
    compare,
    findings,
    headline,
    main_view,
    model_name,
    tagline,
)
from training.run_directory import RunDirectory

STAGES = {"main": "evaluated model", "id_only": "id-only model", "refit": "refit"}
STAGE_KINDS = {"main": "main", "id_only": "variant", "refit": "competitor"}  # classes of style.css


@dataclass(frozen=True, kw_only=True)
class Head:
    """The summary at the head of the page."""

    dataset: str
    made_at: str
    model: str
    tagline: str
    headline: str
    metric: str
    findings: tuple[Findings, ...]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """The record of one fit."""

    name: str
    fit: FitRecord


@dataclass(frozen=True, kw_only=True)
class BundleSummary:
    """Version of the bundle, and on which events its models were fitted."""

    version: str
    refit_description: str


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The settings chosen for one baseline; `validation_ndcg` is None without a validation pair."""

    model: str
    settings: str
    task: str
    num_candidates: int
    validation_ndcg: float | None


@dataclass(frozen=True, kw_only=True)
class Report:
    head: Head
    evaluation: Evaluation
    views: tuple[View, ...]
    beyond: Beyond | None
    modalities: Modalities | None
    curves: tuple[Chart, ...]
    stages: tuple[Stage, ...]
    choices: tuple[Choice, ...]
    data: DataSummary
    sentiment: str
    baseline: str | None
    slices: tuple[Slices, ...]
    examples: tuple[ExampleCard, ...]
    has_pictures: bool
    origin: Origin
    bundle: BundleSummary | None
    audit: str


def collect(run: RunDirectory, dataset: Dataset, config: Config, *, name: str, fingerprint: str) -> Report:
    """The content of the report of `run`; `name` is the name of its dataset's folder.

    Raises `ConfigError` for a missing or older file, with the command that writes it.
    """
    _check_files(run)
    evaluation = Evaluation.from_json(run.metrics.read_text("utf-8"))
    if evaluation.main_model != MODEL:
        raise ConfigError(
            f"{run.metrics} has no results of {MODEL!r}; write it again: recsys evaluate {run.path}"
        )
    fits = read_fit_records(run.fit_records)
    view = main_view(evaluation)
    competitors = (
        baselines(evaluation, view, f"ndcg@{evaluation.ks[0]}") if evaluation.views[view].models else []
    )
    best = competitors[0] if competitors else None
    examples = example_cards(load_examples(run.examples), dataset)
    return Report(
        head=_head(evaluation, competitors, dataset, config, fits["main"]),
        evaluation=evaluation,
        views=views(evaluation),
        beyond=beyond(evaluation, best),
        modalities=modalities(Knockouts.load(run.knockouts)),
        curves=curves(fits),
        stages=tuple(Stage(name=words, fit=fits[stage]) for stage, words in STAGES.items() if stage in fits),
        choices=_choices(run.baselines),
        data=data_summary(dataset, fits["main"].coverage, run.rejected),
        sentiment=sentiment_words(read_quality(run.review_sentiment)),
        baseline=model_name(best) if best else None,
        slices=slices(evaluation, best),
        examples=examples,
        has_pictures=has_pictures(examples),
        origin=origin(
            config,
            fits["main"],
            dataset=name,
            out=run.path.resolve().name,
            fingerprint=fingerprint,
            seconds=run.seconds(),
        ),
        bundle=_bundle_summary(run.bundle),
        audit=audit_words(read_audits(run.audits)),
    )


def curves(fits: dict[str, FitRecord]) -> tuple[Chart, ...]:
    """Loss and validation NDCG@10 by epoch, the kept epoch ringed, and the chart of cold ranks."""
    known = {stage: fits[stage] for stage in STAGES if stage in fits and fits[stage].curve}
    return tuple(
        chart
        for chart in (
            _curve(known, "loss", "Training loss", "loss"),
            _curve(known, "validation_ndcg_at_10", "Validation NDCG@10 of the towers", "NDCG@10"),
            cold_items_chart(fits["main"]) if "main" in fits else None,
        )
        if chart is not None
    )


def _curve(fits: dict[str, FitRecord], key: str, title: str, y_label: str) -> Chart | None:
    series = [
        Series(
            name=STAGES[stage],
            kind=STAGE_KINDS[stage],
            x=[float(at) for at in range(1, len(fit.curve) + 1)],
            y=[entry[key] for entry in fit.curve],
            mark=min(fit.best_epoch, len(fit.curve)) - 1,
        )
        for stage, fit in fits.items()
        if all(key in entry for entry in fit.curve)
    ]
    if not series:
        return None
    words = "; ".join(
        f"{each.name} from {each.y[0]:.4g} to {each.y[-1]:.4g} in {len(each.y)} epochs" for each in series
    )
    return line_chart(series, title=title, description=f"{words}.", x_label="epoch", y_label=y_label)


def _head(
    evaluation: Evaluation,
    competitors: Sequence[str],
    dataset: Dataset,
    config: Config,
    fit: FitRecord,
) -> Head:
    compared = [compare(evaluation, view) for view in ("warm", "cold_full")]
    comparisons = [each for each in compared if each is not None]
    main = comparisons[0] if comparisons else None
    return Head(
        dataset=dataset.name,
        made_at=f"{fit.at[:16].replace('T', ' ')} UTC",
        model=_model_words(config, fit),
        tagline=tagline(main, competitors) if main else "Nothing could be measured",
        headline=headline(main)
        if main
        else f"The test has no user to measure on: {evaluation.not_measured}.",
        metric=metric_name(f"ndcg@{evaluation.ks[0]}"),
        findings=tuple(findings(each, competitors) for each in comparisons),
    )


def _model_words(config: Config, fit: FitRecord) -> str:
    item = config.model.item
    read = ", ".join(name.replace("_", " ") for name in [*fit.coverage, *(["id"] if item.use_id else [])])
    ranker = (
        f"a ranker with blend weight {fit.ranker.blend_weight:g}"
        if fit.ranker and fit.ranker.blend_weight
        else "no ranker"
    )
    return f"Two towers of width {config.model.dim} over {read} ({item.fusion} fusion), and {ranker}."


def _bundle_summary(bundle: Path) -> BundleSummary | None:
    """None where no bundle was exported."""
    path = bundle / MANIFEST
    if not path.exists():
        return None
    manifest = json.loads(path.read_text("utf-8"))
    return BundleSummary(version=sha256_of(path)[:12], refit_description=manifest["refit_description"])


def _choices(path: Path) -> tuple[Choice, ...]:
    return tuple(
        Choice(
            model=model_name(each.name),
            settings=settings_words(each),
            task=each.task,
            num_candidates=each.num_candidates,
            validation_ndcg=each.validation_ndcg,
        )
        for each in read_choices(path)
    )


def _check_files(run: RunDirectory) -> None:
    """Raises `ConfigError` for a missing file."""
    for path in (run.metrics, run.examples, run.fit_records):
        if not path.exists():
            raise ConfigError(
                f"{run.path} has no {path.name}; an evaluation writes it: recsys evaluate {run.path}"
            )
