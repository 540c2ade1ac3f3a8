"""Commands on a store: publish a run's bundle behind the gate, go back, list and remove versions."""

import os
from pathlib import Path
from shlex import quote
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from recsys.cli.app import WIDTH_OF_A_LOG, CacheOption, SetOption, command, console
from recsys.cli.console import say, warn
from recsys.cli.runs import MovedOption
from recsys.errors import ConfigError, GateError

StoreArgument = Annotated[
    Path, typer.Argument(help="A store, as `recsys publish` makes it.", metavar="STORE")
]
RegistryOption = Annotated[
    str | None,
    typer.Option(
        help="MLflow server or SQLite file with the registered bundles, or 'none'; by default track.uri of "
        "the run, $MLFLOW_REGISTRY_URI or $MLFLOW_TRACKING_URI, where one of them is set."
    ),
]
BYTES_PER_MB = 1e6
MOVES_SHOWN = 10


@command
def publish(
    run: Annotated[Path, typer.Argument(help="An evaluated and exported run directory.")],
    store: Annotated[Path, typer.Option("--store", help="The store; made where there is none.")],
    registry: RegistryOption = None,
    force: Annotated[
        str | None,
        typer.Option(
            metavar="REASON",
            help="Serve the bundle although bars failed; the store keeps the reason.",
        ),
    ] = None,
    histories: Annotated[
        bool, typer.Option(help="Copy the users' histories beside the bundle in the store.")
    ] = True,
    histories_in_model: Annotated[
        bool, typer.Option(help="Log the users' histories with the registered model, too.")
    ] = False,
    set_: SetOption = None,
    dataset: MovedOption = None,
    cache: CacheOption = None,
) -> None:
    """Put a run's bundle into a store and a registry; serve it if it passes the gate (section publish)."""
    from recsys.bundle import Store
    from recsys.config import load_config
    from training.run_directory import RunDirectory

    if force is not None and not force.strip():
        raise ConfigError("--force needs the reason, which the store keeps")
    directory = RunDirectory.open(run)
    Store.check_place(store)
    config = load_config(directory.config_file, overrides=set_ or [])
    # Imports that take seconds; a mistake in the command is told before.
    from training.pipeline import Run
    from training.publishing import publish as publish_bundle

    uri = _registry_uri(registry, config.track)
    experiment = config.track.experiment
    published = publish_bundle(
        directory,
        store,
        config.publish,
        registry=None if uri is None else _registry(uri, directory, experiment, histories_in_model),
        force=force,
        histories=histories,
        open_run=lambda: Run.open(run, dataset=dataset, cache_dir=cache),
        say=lambda text: say(console, text),
    )
    _print_bars(published)
    _tell(published, store)


@command
def versions(store: StoreArgument) -> None:
    """List the versions of a store: which is served, which one a roll-back leads to, and their metrics."""
    from recsys.bundle import Pointer, Store
    from recsys.errors import BundleError

    opened, problem = Store.open(store), None
    found = opened.versions()
    try:
        pointer = opened.pointer
    except BundleError as error:  # the list shows which version to name in place of it
        pointer, problem = Pointer(), error
    columns = ("version", "", "published", "run", "dataset", "MB", "metrics", "gate")
    table = Table(*columns, title=escape(f"Versions in {store}"))
    for name in ("version", "metrics"):
        table.columns[columns.index(name)].no_wrap = True
    for each in found:
        table.add_row(
            "\n".join(filter(None, (each.version, each.registered))),
            _place(each.version, pointer),
            each.published_at[:19].replace("T", " "),
            each.run,
            f"{each.dataset} {each.dataset_fingerprint[:8]}",
            f"{each.size_bytes / BYTES_PER_MB:,.1f}",
            "\n".join(f"{name} {value:.4f}" for name, value in each.metrics.items()),
            _gate(each),
        )
    _wide().print(table)
    if problem is not None:
        raise problem
    title = f"Last moves, of {len(pointer.moves)}"
    moves = Table("time", "action", "version", "before", "reason", title=title)
    for move in pointer.moves[: -MOVES_SHOWN - 1 : -1]:
        cells = (move.at[:19].replace("T", " "), move.action, move.version, move.before or "", move.reason)
        moves.add_row(*map(escape, cells))
    _wide().print(moves)


@command
def rollback(
    store: StoreArgument,
    to: Annotated[
        str | None,
        typer.Option(help="The version to go back to, or its beginning; by default the previous one."),
    ] = None,
    reason: Annotated[str, typer.Option(help="Why; kept in the store.")] = "",
    registry: RegistryOption = None,
) -> None:
    """Make the previous version of a store the current one, after a check of all its files."""
    from recsys.bundle import REPAIR, Store

    opened = Store.open(store)
    with opened.writing():
        pointer = opened.roll_back(to, reason=reason)
    served, previous = pointer.current, pointer.previous
    then = f"; the previous one is now {previous}." if previous else "; there is no previous one."
    say(console, f"{store} serves version {served}{then}")
    if pointer.moves[-1].action == REPAIR:
        warn(console, "The pointer was damaged and is written anew: the history of its moves is lost.")
    _move_alias(opened.version(served or ""), registry)


@command
def prune(
    store: StoreArgument,
    keep: Annotated[int, typer.Option(help="The newest versions to keep.")] = 5,
) -> None:
    """Remove old versions of a store, never the current and the previous one."""
    from recsys.bundle import Store

    opened = Store.open(store)
    with opened.writing():
        pruned = opened.prune(keep)
    left = len(opened.versions())
    say(
        console,
        f"Removed {len(pruned.versions)} versions{_listed(pruned.versions)} and "
        f"{pruned.freed_bytes / BYTES_PER_MB:,.1f} MB; {left} left.",
    )


def _move_alias(version: Any, registry: str | None) -> None:
    """Let the registry's champion be the version that is served, where it is registered."""
    if version.registered is None or registry == "none":
        return
    uri, reason = _registry_uri(registry, None), "name the registry with --registry"
    if uri is not None:
        try:
            from training.publishing import CHAMPION
        except ModuleNotFoundError as error:  # a store is also rolled back where only `serve` is installed
            uri, reason = None, f"{error.name} is not installed here"
    if uri is None:
        warn(console, f"The registry's alias champion was not moved to {version.registered}: {reason}.")
        return
    _registry(uri, None, None, False).set_alias(version.registered, CHAMPION)
    say(console, f"Alias {CHAMPION} of the registry: {version.registered}.")


def _registry_uri(asked: str | None, track: Any) -> str | None:
    """Where to register, None where nowhere is named."""
    if asked is not None:
        return None if asked == "none" else asked
    configured: str | None = track.uri if track is not None and track.enabled else None
    return configured or os.environ.get("MLFLOW_REGISTRY_URI") or os.environ.get("MLFLOW_TRACKING_URI")


def _registry(uri: str, run: Any, experiment: str | None, with_histories: bool) -> Any:
    """The registry at `uri`. A model brings the code of serving along, which `training` does not know."""
    import features
    import recsys
    import serving
    from training.publishing import MlflowRegistry, ModelCode
    from training.tracking import DEFAULT_EXPERIMENT, tracked_run_id

    packages = tuple(Path(package.__path__[0]) for package in (recsys, features, serving))
    code = ModelCode(script=packages[-1] / "pyfunc.py", packages=packages)
    return MlflowRegistry(
        uri,
        code,
        experiment=experiment or DEFAULT_EXPERIMENT,
        run_id=None if run is None else tracked_run_id(run.path, run.tracking, uri),
        histories=run.histories if with_histories else None,
    )


def _print_bars(published: Any) -> None:
    words = {True: "passed", False: "failed", None: "–"}
    table = Table("bar", "found", "required", "", "missed by", title="Gate")
    for bar in published.bars:
        cells = (bar.name, bar.found, bar.required, words[bar.passed], bar.missed_by)
        table.add_row(*map(escape, cells), style="red" if bar.passed is False else "")
    _wide().print(table)


def _tell(published: Any, store: Path) -> None:
    """What became of the version. Raises `GateError` where it is not served."""
    version, before = published.version.version, published.before
    if not published.promoted:
        served = f"{store} still serves {before}" if before else f"{store} serves nothing yet"
        reasons = "".join(f"\n  - {bar.in_words()}" for bar in published.failed)
        raise GateError(
            f"version {version} does not pass; {served}. To serve it all the same: --force REASON{reasons}"
        )
    if before == version:
        say(console, f"{store} serves version {version}, as before.")
        return
    forced = f", by force although {len(published.failed)} bars failed" if published.failed else ""
    back = f"; back to {before} with: recsys rollback {quote(str(store))}" if before else ""
    say(console, f"{store} serves version {version} now{forced}{back}.")


def _wide() -> Console:
    """A log takes a line of any length."""
    return console if console.is_terminal else Console(width=WIDTH_OF_A_LOG)


def _place(version: str, pointer: Any) -> str:
    return {pointer.current: "current", pointer.previous: "previous"}.get(version, "")


def _gate(version: Any) -> str:
    if version.failed is None:
        return "not reached"
    return "\n".join(f"failed: {name}" for name in version.failed) or "passed"


def _listed(names: tuple[str, ...]) -> str:
    return f" ({', '.join(names)})" if names else ""
