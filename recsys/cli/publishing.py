"""Commands on a store: publish a run's bundle behind the gate, go back, list and remove versions."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from recsys.cli.app import WIDTH_OF_A_LOG, command, console
from recsys.cli.console import say

StoreArgument = Annotated[
    Path, typer.Argument(help="A store, as `recsys publish` makes it.", metavar="STORE")
]
BYTES_PER_MB = 1e6


@command
def versions(store: StoreArgument) -> None:
    """List the versions of a store: which is served, which one a roll-back leads to, and their metrics."""
    from recsys.bundle import Store

    opened = Store.open(store)
    found, pointer = opened.versions(), opened.pointer
    columns = ("version", "", "published", "run", "dataset", "MB", "metrics", "gate")
    table = Table(*columns, title=escape(f"Versions in {store}"))
    for name in ("version", "metrics"):
        table.columns[columns.index(name)].no_wrap = True
    for each in found:
        table.add_row(
            each.version,
            _place(each.version, pointer),
            each.published_at[:19].replace("T", " "),
            each.run,
            f"{each.dataset} {each.dataset_fingerprint[:8]}",
            f"{each.size_bytes / BYTES_PER_MB:,.1f}",
            "\n".join(f"{name} {value:.4f}" for name, value in each.metrics.items()),
            _gate(each),
        )
    # A log takes a line of any length.
    (console if console.is_terminal else Console(width=WIDTH_OF_A_LOG)).print(table)


@command
def rollback(
    store: StoreArgument,
    to: Annotated[
        str | None,
        typer.Option(help="The version to go back to, or its beginning; by default the previous one."),
    ] = None,
    reason: Annotated[str, typer.Option(help="Why; kept in the store.")] = "",
) -> None:
    """Make the previous version of a store the current one, after a check of all its files."""
    from recsys.bundle import Store

    opened = Store.open(store)
    with opened.writing():
        pointer = opened.roll_back(to, reason=reason)
    say(
        console,
        f"{store} serves version {pointer.current}; the previous one is now {pointer.previous}.",
    )


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


def _place(version: str, pointer: Any) -> str:
    return {pointer.current: "current", pointer.previous: "previous"}.get(version, "")


def _gate(version: Any) -> str:
    if version.failed is None:
        return "not reached"
    return "\n".join(f"failed: {name}" for name in version.failed) or "passed"


def _listed(names: tuple[str, ...]) -> str:
    return f" ({', '.join(names)})" if names else ""
