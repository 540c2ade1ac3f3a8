"""Commands of search: for one query or a file of them, and the index of a dataset without a recommender."""

from pathlib import Path
from shlex import quote
from typing import Annotated, Any

import typer
from rich.console import Console

from recsys.cli.app import (
    WIDTH_OF_A_LOG,
    CacheOption,
    ConfigOption,
    DatasetArgument,
    SetOption,
    command,
    console,
    default_cache,
)
from recsys.cli.bundles import (
    BundleArgument,
    DeviceOption,
    FilterOption,
    HistoriesOption,
    StateOption,
    open_engine,
)
from recsys.cli.console import ConsoleProgress, print_reasons, say, warn
from recsys.errors import ConfigError

QUERY_TABLES = "CSV, TSV, Parquet or JSON Lines"


@command
def search(
    bundle: BundleArgument,
    words: Annotated[
        str | None, typer.Argument(help='Words; "a phrase", and -word leaves items out.')
    ] = None,
    image: Annotated[
        list[Path] | None, typer.Option(help="A picture; this and the next three may be repeated.")
    ] = None,
    audio: Annotated[list[Path] | None, typer.Option(help="A sound: its words and how it sounds.")] = None,
    video: Annotated[list[Path] | None, typer.Option(help="A video: its frames and its sound.")] = None,
    like: Annotated[list[str] | None, typer.Option(help="An item id: items like it.")] = None,
    user: Annotated[str | None, typer.Option(help="Whose taste orders the hits, and who owns items.")] = None,
    filter_: FilterOption = None,
    k: Annotated[int, typer.Option("-k", "--k", help="Items a query, at most.")] = 10,
    min_relevance: Annotated[
        float | None,
        typer.Option(help="From 0 to 1: where the list ends; by default what validation chose."),
    ] = None,
    personal: Annotated[
        float | None,
        typer.Option(help="From 0, the query alone, to 1, the user's taste; by default the validated one."),
    ] = None,
    queries: Annotated[
        Path | None,
        typer.Option(
            help=f"A file of queries ({QUERY_TABLES}) with the columns query_id and any of query, image, "
            "audio, video (paths relative to the file), item_id and user_id."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="With --queries: the Parquet file to write (.parquet).")
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            help="With --queries: one more Parquet file, with the queries that have no hit, an impersonal "
            "order although they name a user, or a part that was left out, and why."
        ),
    ] = None,
    histories: HistoriesOption = None,
    state: StateOption = None,
    device: DeviceOption = "cpu",
) -> None:
    """Search a bundle by words, pictures, sounds, videos and items; or answer a file of queries."""
    from serving.filters import parsed_filters

    asked = {"words": words, "--image": image, "--audio": audio, "--video": video, "--like": like}
    _check_one_way(asked | {"--user": user}, queries, out, report)
    shared = {
        "k": k,
        "filters": parsed_filters(filter_ or []),
        "min_relevance": min_relevance,
        "personal": personal,
    }
    with open_engine(bundle, histories, state, device) as engine:
        if queries is not None and out is not None:
            _search_file(engine, queries, (out, report), shared, device)
        else:
            _search_once(engine, asked, user, shared, device)


def _check_one_way(
    asked: dict[str, Any], queries: Path | None, out: Path | None, report: Path | None
) -> None:
    """Raises `ConfigError` unless there is either a query or a file of queries with its output."""
    given = [name for name, value in asked.items() if value]
    if (queries is None) != (out is None):
        raise ConfigError("--queries and --out belong together: name the file to read and the file to write")
    if report is not None and queries is None:
        raise ConfigError("--report is of a file of queries; name it by --queries")
    if queries is not None and given:
        raise ConfigError(f"--queries reads queries and users from a file; leave {given[0]} out")
    if queries is None and not set(given) - {"--user"}:
        raise ConfigError("nothing to search for; write words, or give --image, --audio, --video or --like")


@command
def index(
    dataset: DatasetArgument,
    out: Annotated[Path, typer.Option("--out", help="The bundle directory to write; its folders are made.")],
    config: ConfigOption = None,
    set_: SetOption = None,
    cache: CacheOption = None,
) -> None:
    """Make a bundle that is searched, of a dataset's items alone: nothing is trained on events."""
    from features.event_log import all_reasons, open_dataset
    from features.extraction import extract
    from recsys.config import load_config
    from training.export import index_items

    settings, cache_dir = load_config(config, overrides=set_ or []), cache or default_cache()
    with ConsoleProgress(console) as progress:
        loaded = open_dataset(dataset, settings.data, cache_dir=cache_dir, progress=progress)
        for warning in loaded.warnings:
            warn(console, warning)
        vectors = extract(loaded, settings.encoders, cache_dir=cache_dir, progress=progress)
        bundle = index_items(out, loaded, vectors, settings, progress=progress)
    print_reasons(console, all_reasons(loaded, vectors.rejected))
    say(console, f"Bundle {bundle.version} of {len(bundle.item_ids):,} items in {out}.")
    say(
        console,
        f"Search it:  recsys search {quote(str(out))} WORDS   or serve it:  recsys serve {quote(str(out))}",
    )


def _search_file(
    engine: Any, queries: Path, outputs: tuple[Path, Path | None], shared: dict[str, Any], device: str
) -> None:
    from serving.search import SearchBatch, SearchEngine, search_to_parquet

    out, report = outputs

    with ConsoleProgress(console) as progress:
        search = SearchEngine.of(engine, device=device)  # type: ignore[arg-type]
        batch = SearchBatch(queries=queries, **shared)
        counts = search_to_parquet(search, batch, out, report=report, progress=progress)
    parts = [f"{counts.num_rows:,} hits for {counts.num_queries:,} queries in {out}"]
    if counts.num_without_hits:
        parts.append(f"queries without a hit: {counts.num_without_hits:,}")
    for reason, count in sorted(counts.num_impersonal.items()):
        why = reason.partition(":")[0].replace("_", " ")
        parts.append(f"queries in the impersonal order ({why}): {count:,}")
    if counts.num_noted:
        parts.append(f"queries of which a part was left out: {counts.num_noted:,}")
    say(console, "; ".join(parts) + ".")


def _search_once(
    engine: Any, asked: dict[str, Any], user: str | None, shared: dict[str, Any], device: str
) -> None:
    from features.queries import AudioClause, Clause, ImageClause, TextClause, VideoClause
    from serving.search import SearchEngine, SearchRequest, show_hits

    search = SearchEngine.of(engine, device=device)  # type: ignore[arg-type]
    clauses: list[Clause] = []
    if asked["words"]:
        clauses.append(TextClause(name="words", text=asked["words"]))
    for name, of in (("--image", ImageClause), ("--audio", AudioClause), ("--video", VideoClause)):
        clauses += [of(name=f"{name} {path}", medium=path) for path in asked[name] or ()]
    clauses += [search.item_clause(item, "--like", user=user) for item in asked["--like"] or ()]
    history = None if user is None else engine.histories([user])[0]
    is_unknown = user is not None and history is None
    if is_unknown:
        say(console, f"Unknown user {user!r}: the order is impersonal.")
    answer = search.search(
        SearchRequest(
            clauses=tuple(clauses), user=user, history=history, is_unknown_user=is_unknown, **shared
        )
    )
    show_hits(search, console, answer)


def evaluate_run_search(run: Any, queries: Path, qrels: Path) -> None:
    """Evaluate search of the run's model, before its refit, and print the tables."""
    from training.search import read_query_files

    found, notes = run.evaluate_search(read_query_files(queries, qrels), queries.name)
    print_search(found, notes)


def evaluate_bundle_search(bundle: Path, queries: Path, qrels: Path) -> None:
    """Evaluate the search of a bundle, with the histories beside it, and print the tables."""
    from serving.search import SearchEngine
    from training.search import evaluate_search, graded_queries, read_query_files

    files = read_query_files(queries, qrels)
    with open_engine(bundle, None, None, "cpu") as engine, ConsoleProgress(console) as progress:
        search = SearchEngine.of(engine)
        judged, notes = graded_queries(
            files,
            engine.bundle.item_ids,
            lambda clauses: search.encoder.encode(clauses).query,
            lambda user: engine.state.histories([user])[0],
            engine.owners,
        )
        found = evaluate_search(search.searcher, judged, description=queries.name, progress=progress)
    print_search(found, notes)


def print_search(evaluation: Any, notes: tuple[str, ...] = ()) -> None:
    """The tables of a `SearchEvaluation`, and what was left out."""
    from training.search import search_tables

    wide = console if console.is_terminal else Console(width=WIDTH_OF_A_LOG)
    for table in search_tables(evaluation, intervals=wide.width >= WIDTH_OF_A_LOG):
        wide.print(table)
    for note in notes:
        say(console, note)
