"""Commands on experiments: options of the towers, windows of time, and what MLflow gets of a run."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from recsys.cli.app import (
    CacheOption,
    ConfigOption,
    DatasetArgument,
    OutOption,
    PresetOption,
    SetOption,
    command,
    console,
    default_cache,
)
from recsys.cli.console import ConsoleProgress, say
from recsys.cli.runs import RunArgument, make_run

WIDTH_OF_AN_ABLATION = 140  # columns where output is no terminal
TablesOption = Annotated[str | None, typer.Option(help='Tables of these, such as "ndcg@10,recall@20".')]


@command
def ablate(
    dataset: DatasetArgument,
    out: OutOption,
    options: Annotated[
        str | None,
        typer.Option(
            help='Options by name, such as "mean-fusion,no-id-dropout", or settings, such as '
            '"train.epochs=3"; by default all options that change something on these data.'
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Fits of each, from train.seed on.")] = 3,
    whole: Annotated[bool, typer.Option("--whole", help="With the ranker; else the towers alone.")] = False,
    split_train: Annotated[
        Path | None, typer.Option(help="A file of training events, instead of the dataset's split.")
    ] = None,
    split_test: Annotated[Path | None, typer.Option(help="A file of test events, with the former.")] = None,
    metrics: TablesOption = None,
    config: ConfigOption = None,
    preset: PresetOption = "default",
    set_: SetOption = None,
    cache: CacheOption = None,
) -> None:
    """Measure the effect of each option of the towers: fits as configured, and with one option changed.

    Writes ablation.json and ablation.md. The same command with more options or seeds fits only the new ones.
    """
    from recsys.metrics import METRICS
    from training.evaluation import parse_metrics
    from training.experiments import ablate as measure
    from training.experiments import ablation_table, main_metrics, names_in, write_markdown

    files = {"split.train": split_train, "split.test": split_test}
    settings = [f"{name}={path.resolve()}" for name, path in files.items() if path is not None]
    settings += [] if whole else ["model.ranker.enabled=false"]
    names = None if options is None else names_in(options)
    with ConsoleProgress(console) as progress:
        run = make_run(dataset, out, config, preset, [*settings, *(set_ or [])], cache, progress)
        chosen = None if metrics is None else parse_metrics(metrics, run.config.evaluate.k, measured=METRICS)
        found = measure(run, names, num_seeds=seeds)
    chosen = chosen or main_metrics(found)
    path = run.directory.ablation_table
    write_markdown(found, path, chosen)
    wide = console if console.is_terminal else Console(width=WIDTH_OF_AN_ABLATION)
    for metric in chosen:
        wide.print(ablation_table(found, metric, intervals=wide.width >= WIDTH_OF_AN_ABLATION))
    for name, why in found.left_out.items():
        say(console, f"Left out: {name}, since {why}.")
    say(console, f"Table: {path}")


@command
def backtest(
    dataset: DatasetArgument,
    out: OutOption,
    windows: Annotated[
        int, typer.Option(min=1, help="The number of windows, one after the other, up to the last event.")
    ] = 3,
    days: Annotated[
        float | None,
        typer.Option(help="The length of a window; by default a tenth of the positive events."),
    ] = None,
    cutoffs: Annotated[
        str | None,
        typer.Option(help='Starts of the windows, such as "2020-06-15,2020-07-15", with --days; UTC.'),
    ] = None,
    metrics: TablesOption = None,
    config: ConfigOption = None,
    preset: PresetOption = "default",
    set_: SetOption = None,
    cache: CacheOption = None,
) -> None:
    """Fit the model and all baselines before each of several windows of time, and ask them for the window.

    Writes backtest.json, backtest.md and backtest.svg; each window is a run directory in --out, and the same
    command goes on where it was interrupted. With train.refit the model that a bundle would hold is measured
    as well.
    """
    from recsys.config import load_config
    from recsys.metrics import METRICS
    from training.backtest import backtest as measure
    from training.backtest import backtest_findings, backtest_table, write_backtest
    from training.evaluation import parse_metrics

    loaded = load_config(config, preset=preset, overrides=set_ or [])
    names = [each.strip() for each in (cutoffs or "").split(",") if each.strip()]
    first = loaded.evaluate.k[0]
    chosen = (
        (f"ndcg@{first}", f"recall@{first}")
        if metrics is None
        else parse_metrics(metrics, loaded.evaluate.k, measured=METRICS)
    )
    with ConsoleProgress(console) as progress:
        found = measure(
            dataset,
            out,
            loaded,
            num=windows,
            days=days,
            cutoffs=names,
            cache_dir=cache or default_cache(),
            progress=progress,
        )
    write_backtest(found, out, chosen)
    wide = console if console.is_terminal else Console(width=WIDTH_OF_AN_ABLATION)
    for view, results in found.views.items():
        for metric in chosen if results.models else ():
            wide.print(backtest_table(found, view, metric))
    for sentence in backtest_findings(found, chosen[0]):
        say(console, sentence)
    say(console, f"Tables: {out / 'backtest.md'}")


@command
def track(
    run: RunArgument,
    uri: Annotated[
        str | None,
        typer.Option(
            help="The address of an MLflow server, or sqlite:///FILE, that gets a copy; by default where "
            "the run is tracked."
        ),
    ] = None,
    experiment: Annotated[
        str | None, typer.Option(help="The MLflow experiment; by default that of the run.")
    ] = None,
) -> None:
    """Send to MLflow what the run has journaled and MLflow does not have; to another server all of it."""
    from training.run_directory import RunDirectory
    from training.tracking import deliver_now

    directory = RunDirectory.open(run)
    settings = directory.config().track
    with directory.locked():
        sent = deliver_now(
            directory.path,
            directory.tracking,
            uri=uri or settings.uri,
            experiment=experiment or settings.experiment,
            is_copy=uri is not None,
        )
    say(console, f"{sent.num_entries:,} entries sent to {sent.place}: MLflow run {sent.run_id}.")
