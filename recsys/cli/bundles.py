"""Commands on bundles: batch, HTTP and terminal; and the doctor."""

import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from recsys.cli.app import command, console
from recsys.cli.console import ConsoleProgress, say, warn
from recsys.errors import ConfigError

TABLES = "CSV, TSV, Parquet, JSON Lines, or .txt with one id a line; texts may be compressed with gzip"

BundleArgument = Annotated[
    Path,
    typer.Argument(
        help="A bundle directory, the run directory that holds it, or a store: then its current version.",
        metavar="BUNDLE",
    ),
]
HistoriesOption = Annotated[
    Path | None,
    typer.Option(help="Users' histories; by default histories.parquet beside the bundle, if there is one."),
]
StateOption = Annotated[
    str | None,
    typer.Option(
        help="The file that keeps the users' state; by default state.sqlite beside the bundle. ':memory:' "
        "keeps it in memory, as happens where the default cannot be written: then users who are erased come "
        "back with the next start, and events that are added are lost. redis://HOST:6379/0 keeps what comes "
        "in over HTTP in a Redis, for several servers."
    ),
]
FilterOption = Annotated[
    list[str] | None,
    typer.Option(
        "--filter",
        help="Only items that pass: genres=Comedy, genres!=Horror, 'year>=1990', or JSON as over HTTP. Again "
        "for more; of one field with = repeated, any of the values, otherwise all must hold.",
    ),
]
RulesOption = Annotated[
    Path | None,
    typer.Option(help="A rules file (TOML): exclusions, boosts, caps, pins, exploration, diversity."),
]
ServedMediaOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--media",
        help="The folder of the dataset, whose pictures the page shows; again for each of its media "
        "roots, in their order.",
    ),
]
KeysOption = Annotated[
    Path | None, typer.Option(help="A file of API keys (recsys key); every request then needs one.")
]
RateOption = Annotated[
    float, typer.Option(min=0, help="Requests a second of one key, or of one address without keys; 0: any.")
]
BundlesOption = Annotated[
    Path | None,
    typer.Option(
        help="The folder of bundles, or the store, that POST /v1/admin/bundle may serve from; by default the "
        "store that is served, else none."
    ),
]
BudgetOption = Annotated[
    float,
    typer.Option(
        min=0,
        help="Milliseconds after which a list is answered in the retriever's order, without the ranker; a "
        "request may ask for less. 0: no limit.",
    ),
]
MaxBatchOption = Annotated[
    int,
    typer.Option(min=1, help="Requests in flight that are computed together, at most; 1: each alone."),
]
ImpressionsOption = Annotated[
    bool, typer.Option(help="Keep in the state which items each answer listed, for later trainings.")
]
DeviceOption = Annotated[str, typer.Option(help="cpu or cuda.")]


@command
def recommend(
    bundle: BundleArgument,
    out: Annotated[
        Path, typer.Option("--out", help="The Parquet file to write (.parquet); its folders are made.")
    ],
    users: Annotated[
        str,
        typer.Option(
            help=f"A file of user ids ({TABLES}), or 'all': every user with events or with a row in the "
            "table of users."
        ),
    ] = "all",
    users_column: Annotated[
        str | None, typer.Option(help="The column of --users with the ids; by default user_id.")
    ] = None,
    k: Annotated[int, typer.Option("-k", "--k", help="Items a user.")] = 20,
    candidates: Annotated[
        Path | None, typer.Option(help="A file with the ids of the items that may be recommended, likewise.")
    ] = None,
    candidates_column: Annotated[
        str | None, typer.Option(help="The column of --candidates with the ids; by default item_id.")
    ] = None,
    filter_: FilterOption = None,
    rules: RulesOption = None,
    exclude_seen: Annotated[bool, typer.Option(help="Leave out the items that a user has seen.")] = True,
    report: Annotated[
        Path | None,
        typer.Option(
            help="One more Parquet file: the users with fewer than k items or without a history, how many "
            "items each got, and whether the history is known, empty or unknown."
        ),
    ] = None,
    histories: HistoriesOption = None,
    state: StateOption = None,
    device: DeviceOption = "cpu",
) -> None:
    """Write recommendations for many users to a Parquet file."""
    from serving.batch import BatchRequest, recommend_to_parquet
    from serving.filters import parsed_filters

    request = BatchRequest(
        users="all" if users == "all" else Path(users),
        users_column=users_column,
        k=k,
        exclude_seen=exclude_seen,
        candidates=candidates,
        candidates_column=candidates_column,
        filters=parsed_filters(filter_ or []),
    )
    with (
        open_engine(bundle, histories, state, device, rules) as engine,
        ConsoleProgress(console) as progress,
    ):
        counts = recommend_to_parquet(engine, request, out, report=report, progress=progress)
    say(console, _summary(counts, k, out))
    for warning in counts.warnings:
        warn(console, warning)


@command
def serve(
    bundle: BundleArgument,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port to listen on.")] = 8000,
    histories: HistoriesOption = None,
    state: StateOption = None,
    device: DeviceOption = "cpu",
    media: ServedMediaOption = None,
    max_megapixels: Annotated[
        float, typer.Option(min=0.1, max=80, help="A larger picture in a query is refused, not decoded.")
    ] = 50,
    max_audio_seconds: Annotated[
        int, typer.Option(min=1, max=3600, help="Of a longer sound in a query the beginning is used.")
    ] = 60,
    rules: RulesOption = None,
    keys: KeysOption = None,
    allow_anonymous: Annotated[
        bool, typer.Option(help="Answer other machines without keys, on a host that is no loopback.")
    ] = False,
    rate: RateOption = 0,
    max_body_mb: Annotated[float, typer.Option(min=0.001, help="A larger request is refused.")] = 64,
    bundles: BundlesOption = None,
    impressions: ImpressionsOption = True,
    budget_ms: BudgetOption = 0,
    max_batch: MaxBatchOption = 32,
) -> None:
    """Answer over HTTP: a page for search at /, and the API's documentation at /docs."""
    from features.queries import QueryLimits
    from serving.http import AnswerSettings, Limits
    from serving.http import serve as serve_bundle
    from serving.swap import ServeSettings

    settings = ServeSettings(
        histories=histories,
        state=state,
        device=_device(device),
        rules=rules,
        media=tuple(media or ()),
        limits=QueryLimits(max_pixels=round(1e6 * max_megapixels), max_audio_seconds=max_audio_seconds),
    )
    with suppress(KeyboardInterrupt):  # how a server is stopped
        serve_bundle(
            bundle,
            settings,
            host=host,
            port=port,
            answers=AnswerSettings(
                log_impressions=impressions, budget_ms=budget_ms or None, max_batch=max_batch
            ),
            keys=keys,
            allow_anonymous=allow_anonymous,
            guard_limits=Limits(body_bytes=round(1e6 * max_body_mb), per_second=rate),
            bundles=bundles,
        )


@command
def key(
    file: Annotated[Path, typer.Argument(help="The file of keys; made where it is missing.")],
    name: Annotated[str | None, typer.Argument(help="Of the key; without, all keys are listed.")] = None,
    scope: Annotated[
        list[str] | None,
        typer.Option(help="recommend (the default), write or admin; again for more."),
    ] = None,
    remove: Annotated[
        bool, typer.Option(help="Remove the key; a running server refuses it at once.")
    ] = False,
) -> None:
    """Add an API key for `recsys serve --keys`, and print it once; or list or remove keys."""
    from serving.http import add_key, read_keys, remove_key

    if name is None:
        for each in read_keys(file):
            say(console, f"{each.name}: {', '.join(each.scopes)}, since {each.created_at}")
    elif remove:
        remove_key(file, name)
        say(console, f"Removed {name} from {file}.")
    else:
        typer.echo(add_key(file, name, scope or ["recommend"]))


@command
def show(
    bundle: BundleArgument,
    user: Annotated[str | None, typer.Option(help="A user id; by default one with a long history.")] = None,
    k: Annotated[int, typer.Option("-k", "--k", help="Items to show.")] = 10,
    histories: HistoriesOption = None,
    state: StateOption = None,
) -> None:
    """Show one user's history and recommendations, with a reason each."""
    from serving.show import show_user

    with open_engine(bundle, histories, state, "cpu") as engine:
        show_user(engine, console, user=user, k=k)


@command
def doctor() -> None:
    """Print versions and try every engine; print what to install for each engine that fails."""
    from recsys.cli.doctor import print_report, run_doctor

    sys.exit(print_report(run_doctor(), console))


def _summary(counts: Any, k: int, out: Path) -> str:
    """A `serving.batch.BatchReport` as one line."""
    parts = [f"{counts.num_rows:,} recommendations for {counts.num_users:,} users in {out}"]
    for count, words in (
        (counts.num_unknown, "unknown users"),
        (counts.num_without_events, "users with an empty history"),
        (counts.num_short, f"users with fewer than {k} items"),
        (counts.num_repeated, "repeated lines left out"),
        (counts.num_empty, "rows without an id left out"),
    ):
        if count:
            parts.append(f"{words}: {count:,}")
    return "; ".join(parts) + "."


def open_engine(
    bundle: Path, histories: Path | None, state: str | None, device: str, rules: Path | None = None
) -> Any:
    from recsys.bundle import bundle_directory
    from serving.engine import Engine

    return Engine.open(
        bundle_directory(bundle), histories=histories, state=state, device=_device(device), rules=rules
    )


def _device(name: str) -> Any:
    if name not in ("cpu", "cuda"):
        raise ConfigError(f"--device {name!r}: must be cpu or cuda")
    return name
