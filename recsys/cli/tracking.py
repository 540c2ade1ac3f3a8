"""The command that sends to MLflow what a run has journaled."""

from typing import Annotated

import typer

from recsys.cli.app import command, console
from recsys.cli.console import say
from recsys.cli.runs import RunArgument


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
