"""Commands on runs: trained, evaluated, exported, reported, or all of it."""

from pathlib import Path
from shlex import quote
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from recsys.cli.app import (
    WIDTH_OF_A_LOG,
    CacheOption,
    ConfigOption,
    DatasetArgument,
    OutOption,
    PresetOption,
    SetOption,
    command,
    console,
    default_cache,
    joint_command,
)
from recsys.cli.console import ConsoleProgress, print_reasons, say, warn

MetricsOption = Annotated[
    str | None,
    typer.Option(help='Metrics to print in addition: "all", or names such as "map@10,coverage@10".'),
]
RunArgument = Annotated[Path, typer.Argument(help="A run directory.")]
MovedOption = Annotated[Path | None, typer.Option("--dataset", help="The run's dataset, if it was moved.")]
ChangeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", help="A setting that no result depends on, such as track.enabled=false; may be repeated."
    ),
]
SlicesOption = Annotated[bool, typer.Option("--slices", help="Print the slices by item and by user as well.")]


@joint_command
def train(
    dataset: DatasetArgument,
    out: OutOption,
    config: ConfigOption = None,
    preset: PresetOption = "default",
    set_: SetOption = None,
    cache: CacheOption = None,
) -> None:
    """Train towers and ranker on the training part of a split."""
    with ConsoleProgress(console) as progress:
        run = make_run(dataset, out, config, preset, set_, cache, progress)
        fitted = run.train()
    best = fitted.retriever.best_score
    say(
        console,
        f"Towers: epoch {fitted.retriever.best_epoch}, validation NDCG@10 {best:.4f}. Run in {out}.",
    )
    _print_plan(run)
    if fitted.ranker is not None:
        scores = fitted.ranker.scores
        console.print(
            f"Ranker: {fitted.ranker.num_lists} lists, blend weight {fitted.ranker.blend_weight}, "
            f"NDCG@10 on the other validation users {scores['retriever']:.4f} -> {scores['with_ranker']:.4f}."
        )


@joint_command
def evaluate(
    run: Annotated[Path, typer.Argument(help="A run directory; with --search also a bundle.")],
    search: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            "--search",
            metavar="QUERIES QRELS",
            help="Evaluate search on these queries (JSON Lines of BEIR, two columns, or those of recsys "
            "search --queries) and judgements (TREC or BEIR) instead; nothing is written.",
        ),
    ] = None,
    metrics: MetricsOption = None,
    slices: SlicesOption = False,
    dataset: MovedOption = None,
    cache: CacheOption = None,
    set_: ChangeOption = None,
) -> None:
    """Compare a run's model with baselines on its test events, search included; writes metrics.json."""
    from recsys.cli.search import evaluate_bundle_search, evaluate_run_search
    from training.baselines import read_choices
    from training.pipeline import Run
    from training.run_directory import RunDirectory

    if search is not None and not RunDirectory(run).dataset_file.is_file():
        evaluate_bundle_search(run, *search)
        return
    with ConsoleProgress(console) as progress:
        opened = Run.open(run, dataset=dataset, cache_dir=cache, settings=set_ or [], progress=progress)
        if search is not None:
            evaluate_run_search(opened, *search)
            return
        chosen = _chosen(metrics, opened)
        evaluation = opened.evaluate()
    _print_choices(read_choices(opened.directory.baselines))
    _print_evaluation(evaluation, chosen, slices)


@command
def baselines(
    dataset: DatasetArgument,
    out: OutOption,
    config: ConfigOption = None,
    preset: PresetOption = "default",
    set_: SetOption = None,
    cache: CacheOption = None,
    metrics: MetricsOption = None,
    slices: SlicesOption = False,
) -> None:
    """Evaluate the baselines alone, with settings chosen on validation; no model is trained."""
    from training.baselines import read_choices

    with ConsoleProgress(console) as progress:
        made = make_run(dataset, out, config, preset, set_, cache, progress)
        chosen = _chosen(metrics, made)
        evaluation = made.compare_baselines()
    _print_choices(read_choices(made.directory.baselines))
    _print_evaluation(evaluation, chosen, slices)


@command
def knockouts(
    run: RunArgument,
    users: Annotated[
        int | None,
        typer.Option(min=1, help="Number of test users; by default evaluate.knockout_users of the run."),
    ] = None,
    dataset: MovedOption = None,
    cache: CacheOption = None,
    set_: ChangeOption = None,
) -> None:
    """Measure the contribution of each modality: evaluate the model with it absent, shuffled and as noise.

    Nothing is trained; writes knockouts.json.
    """
    from training.pipeline import Run

    with ConsoleProgress(console) as progress:
        opened = Run.open(run, dataset=dataset, cache_dir=cache, settings=set_ or [], progress=progress)
        found = opened.knock_out(users)
    _print_knockouts(found)


@joint_command
def export(
    run: RunArgument, dataset: MovedOption = None, cache: CacheOption = None, set_: ChangeOption = None
) -> None:
    """Train again on all events (train.refit), export to ONNX and write the bundle."""
    from training.pipeline import Run

    with ConsoleProgress(console) as progress:
        opened = Run.open(run, dataset=dataset, cache_dir=cache, settings=set_ or [], progress=progress)
        bundle = opened.export()
    _print_parity(bundle)


@command
def report(
    run: RunArgument, dataset: MovedOption = None, cache: CacheOption = None, set_: ChangeOption = None
) -> None:
    """Write report.html of an evaluated run: metrics, charts and examples in one file; nothing is trained."""
    from training.pipeline import Run

    with ConsoleProgress(console) as progress:
        opened = Run.open(run, dataset=dataset, cache_dir=cache, settings=set_ or [], progress=progress)
        path = opened.report()
    _print_report(path)


@joint_command
def run(
    dataset: DatasetArgument,
    out: OutOption,
    config: ConfigOption = None,
    preset: PresetOption = "default",
    set_: SetOption = None,
    cache: CacheOption = None,
) -> None:
    """All steps for one dataset: features, training, evaluation, export, report."""
    _run_all(dataset, out, config, preset, set_, cache)


# Fewer products, shoppers, epochs and users of the knock-outs than by default, so that the demo takes minutes
# (docs/results.md).
DEMO_ITEMS, DEMO_USERS = 500, 1000
DEMO_SETTINGS = (
    "train.epochs=11",
    "model.ranker.num_epochs=8",
    "train.refit=false",
    "evaluate.knockout_users=150",
    'evaluate.knockout_kinds=["absent", "shuffled"]',
    "evaluate.search_queries=150",
    "search.alignment.method=closed_form",
)


@joint_command
def demo(
    out: Annotated[Path, typer.Option("--out", help="The folder for shop and run.")] = Path("demo"),
    set_: SetOption = None,
) -> None:
    """All steps on the sample shop, from generated media to one shopper's recommendations."""
    from features.sample import SampleOptions, write_sample_shop
    from recsys.cli.bundles import show

    shop = out / "shop"
    if not (shop / "dataset.toml").exists():
        with ConsoleProgress(console) as progress:
            options = SampleOptions(num_items=DEMO_ITEMS, num_users=DEMO_USERS)
            write_sample_shop(shop, options, progress=progress)
    _run_all(shop, out / "run", None, "default", [*DEMO_SETTINGS, *(set_ or [])], None)
    show(out / "run" / "bundle", user=None, k=10)
    say(
        console,
        f"\nServe it:  recsys serve {quote(str(out / 'run' / 'bundle'))}   (then open http://127.0.0.1:8000/docs)",
    )


def _run_all(
    dataset: Path, out: Path, config: Path | None, preset: str, set_: list[str] | None, cache: Path | None
) -> None:
    from features.event_log import all_reasons

    with ConsoleProgress(console) as progress:
        run = make_run(dataset, out, config, preset, set_, cache, progress)
        with run.directory.locked(), run.tracked():
            run.train()
            evaluation = run.evaluate()
            has_knockouts = run.config.evaluate.knockouts and not evaluation.not_measured
            knocked_out = run.knock_out() if has_knockouts else None
            bundle = run.export()
            path = run.report()
    _print_plan(run)
    _print_evaluation(evaluation)
    if knocked_out is not None:
        _print_knockouts(knocked_out)
    print_reasons(console, all_reasons(run.dataset, run.vectors.rejected))
    _print_parity(bundle)
    table = Table("step", "seconds", title="Time")
    for step, seconds in run.directory.seconds_now.items():
        table.add_row(step, f"{seconds:,.1f}")
    console.print(table)
    _print_report(path)


def make_run(
    dataset: Path,
    out: Path,
    config: Path | None,
    preset: str,
    set_: list[str] | None,
    cache: Path | None,
    progress: ConsoleProgress,
) -> Any:
    from recsys.config import load_config
    from training.pipeline import Run
    from training.run_directory import RunDirectory

    settings = load_config(config, preset=preset, overrides=set_ or [])
    is_there = RunDirectory(out).dataset_file.exists()
    run = Run.create(out, dataset, settings, cache_dir=cache or default_cache(), progress=progress)
    if is_there:
        say(console, f"{out} has this run already; it is continued. For a new run, name another --out.")
    for warning in run.dataset.warnings:
        warn(console, warning)
    return run


def _chosen(metrics: str | None, run: Any) -> tuple[str, ...] | None:
    """The requested metrics; an unknown name is an error before anything is measured."""
    from training.evaluation import parse_metrics

    return None if metrics is None else parse_metrics(metrics, run.config.evaluate.k)


def _print_evaluation(evaluation: Any, metrics: tuple[str, ...] | None = None, slices: bool = False) -> None:
    from training.evaluation import metrics_table, slice_tables, view_tables

    # A log takes a line of any length; a narrow terminal gets the metrics without their intervals.
    wide = console if console.is_terminal else Console(width=WIDTH_OF_A_LOG)
    intervals = wide.width >= WIDTH_OF_A_LOG
    if evaluation.not_measured:
        console.print(f"Nothing could be measured: {evaluation.not_measured}.", markup=False, highlight=False)
        return
    wide.print(metrics_table(evaluation, intervals=intervals))
    if metrics is not None:
        for table in view_tables(evaluation, metrics, intervals=intervals):
            wide.print(table)
    if slices:
        for table in slice_tables(evaluation, metrics, intervals=intervals):
            wide.print(table)
    if evaluation.search is not None:
        from recsys.cli.search import print_search

        print_search(evaluation.search)


def _print_choices(choices: Any) -> None:
    from training.baselines import settings_words

    table = Table("model", "settings", "NDCG@10", "tried", "CPU seconds", title="Chosen on validation")
    for each in choices:
        score = "" if each.validation_ndcg is None else f"{each.validation_ndcg:.4f}"
        table.add_row(
            each.name, settings_words(each), score, f"{each.num_candidates}", f"{each.cpu_seconds:,.1f}"
        )
    console.print(table)


def _print_knockouts(knockouts: Any) -> None:
    from training.knockouts import contributions, knockouts_table

    wide = console if console.is_terminal else Console(width=WIDTH_OF_A_LOG)
    wide.print(knockouts_table(knockouts, intervals=wide.width >= WIDTH_OF_A_LOG))
    for each in contributions(knockouts):
        console.print(each.text, markup=False, highlight=False)


def _print_plan(run: Any) -> None:
    """How the ranks of torchrun divide the learned tables; nothing in a single process."""
    path = run.directory.sharding_plan
    if run.ranks.size > 1 and path.exists():
        say(console, f"Learned tables, {path}:")
        console.print(path.read_text("utf-8"), markup=False, highlight=False, soft_wrap=True)


def _print_parity(bundle: Any) -> None:
    parity = bundle.manifest.parity
    say(
        console,
        f"Bundle {bundle.version} in {bundle.path}: top-10 lists of torch and ONNX Runtime agree in "
        f"{parity['top10_agreement']:.2%} of the ranks, scores within {parity['score_difference']:.1e}.",
    )


def _print_report(path: Path) -> None:
    say(console, f"Report: {path}")
