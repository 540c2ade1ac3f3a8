"""Commands on bundles, in batch, over HTTP or in the terminal; and the doctor."""

import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from recsys.cli.app import command, console
from recsys.cli.console import ConsoleProgress, say
from recsys.errors import ConfigError


@command
def recommend(
    bundle: Annotated[Path, typer.Argument(help="A bundle directory.")],
    out: Annotated[Path, typer.Option("--out", help="The Parquet file to write.")],
    users: Annotated[str, typer.Option(help="A file with one user id a line, or 'all'.")] = "all",
    k: Annotated[int, typer.Option("-k", "--k", help="Items a user.")] = 20,
    candidates: Annotated[
        Path | None, typer.Option(help="A file with the items that may be recommended.")
    ] = None,
    exclude_seen: Annotated[bool, typer.Option(help="Leave out what a user has seen.")] = True,
    histories: Annotated[
        Path | None, typer.Option(help="Users' histories; by default beside the bundle.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """Write recommendations for many users to a Parquet file."""
    from serving.batch import recommend_to_parquet

    with _engine(bundle, histories, device) as engine, ConsoleProgress(console) as progress:
        report = recommend_to_parquet(
            engine,
            "all" if users == "all" else Path(users),
            out,
            k,
            exclude_seen=exclude_seen,
            candidates=candidates,
            progress=progress,
        )
    say(
        console,
        f"{report.num_rows:,} recommendations for {report.num_users:,} users in {out}; "
        f"{report.num_unknown:,} of them are unknown and got the most popular items.",
    )


@command
def serve(
    bundle: Annotated[Path, typer.Argument(help="A bundle directory.")],
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port to listen on.")] = 8000,
    histories: Annotated[
        Path | None, typer.Option(help="Users' histories; by default beside the bundle.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """Answer over HTTP; the API's documentation is at /docs."""
    from serving.http.app import serve as serve_bundle

    with suppress(KeyboardInterrupt):  # how a server is stopped
        serve_bundle(bundle, host=host, port=port, histories=histories, device=_device(device))


@command
def show(
    bundle: Annotated[Path, typer.Argument(help="A bundle directory.")],
    user: Annotated[str | None, typer.Option(help="A user id; by default one with a long history.")] = None,
    k: Annotated[int, typer.Option("-k", "--k", help="Items to show.")] = 10,
) -> None:
    """Show one user's history and recommendations, with a reason each."""
    from serving.show import show_user

    with _engine(bundle, None, "cpu") as engine:
        show_user(engine, console, user=user, k=k)


@command
def doctor() -> None:
    """Print versions and try every engine; says what to install for each that fails."""
    from recsys.cli.doctor import print_report, run_doctor

    sys.exit(print_report(run_doctor(), console))


def _engine(bundle: Path, histories: Path | None, device: str) -> Any:
    from serving.engine import Engine

    return Engine.open(bundle, histories=histories, device=_device(device))


def _device(name: str) -> Any:
    if name not in ("cpu", "cuda"):
        raise ConfigError(f"--device {name!r}: must be cpu or cuda")
    return name
