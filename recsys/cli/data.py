"""Commands on datasets: generate, import, check and prepare one, encode its media, convert encoders."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from recsys.cli.app import (
    CacheOption,
    ConfigOption,
    DatasetArgument,
    SetOption,
    command,
    console,
    default_cache,
)
from recsys.cli.console import (
    ConsoleProgress,
    pairs_table,
    print_dataset,
    print_reasons,
    print_times,
    say,
    warn,
)
from recsys.errors import ConfigError


@command
def sample(
    directory: Annotated[Path, typer.Argument(help="The new dataset folder.")],
    items: Annotated[int | None, typer.Option(help="Number of products.")] = None,
    users: Annotated[int | None, typer.Option(help="Number of shoppers.")] = None,
    seed: Annotated[int, typer.Option(help="Random seed of the shop.")] = 0,
    set_: SetOption = None,
) -> None:
    """Write a generated shop with pictures, texts, voices and shoppers."""
    from features.sample import SampleOptions, write_sample_shop
    from recsys.config import parse_setting

    sizes = {"num_items": items, "num_users": users, "seed": seed}
    values = {name: value for name, value in sizes.items() if value is not None}
    options = SampleOptions.from_values(values | dict(map(parse_setting, set_ or [])))
    with ConsoleProgress(console) as progress:
        write_sample_shop(directory, options, progress=progress)
    say(
        console,
        f"A shop of {options.num_items} products and {options.num_users} shoppers is in {directory}.",
    )


@command
def import_(
    layout: Annotated[str, typer.Argument(help="The layout: movielens, amazon-2023, hm, or photos.")],
    source: Annotated[Path, typer.Argument(help="The folder of the unpacked download, or of the pictures.")],
    out: Annotated[Path, typer.Argument(help="The dataset folder to write.")],
    positive: Annotated[
        str | None,
        typer.Option(
            help="Which ratings are positive, as SQL; 'true' for all. By default 'rating >= 3.5' of "
            "movielens, 'rating >= 4' of amazon-2023."
        ),
    ] = None,
    category: Annotated[
        str | None, typer.Option(help="amazon-2023: the category, where the folder holds several.")
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(help="amazon-2023: a folder of pictures, <parent_asin>.jpg or named as in their URLs."),
    ] = None,
    core: Annotated[
        int | None, typer.Option(min=1, help="amazon-2023: keep users and items with that many reviews.")
    ] = None,
    split: Annotated[
        Path | None, typer.Option(help="amazon-2023: a folder of the published <category>.train.csv ...")
    ] = None,
    owner: Annotated[str | None, typer.Option(help="photos: the person whose pictures they are.")] = None,
    owner_from_folder: Annotated[
        bool, typer.Option("--owner-from-folder", help="photos: the first folder of a path names its owner.")
    ] = False,
    views: Annotated[
        Path | None,
        typer.Option(help="photos: a table of user, path and time, who looked at which picture when."),
    ] = None,
) -> None:
    """Make a dataset folder from a public layout, or from a folder of pictures and videos."""
    from features.importers import import_layout

    options = {
        "positive": positive,
        "category": category,
        "images": images,
        "core": core,
        "split": split,
        "owner": owner,
        "owner_from_folder": owner_from_folder or None,
        "views": views,
    }
    with ConsoleProgress(console) as progress:
        report = import_layout(layout, source, out, options, progress)
    console.print(pairs_table(f"{report.name}, imported into {report.out}", report.counts))
    if report.rejected:
        print_reasons(console, report.rejected)
        say(console, f"All that was rejected is in {report.out / report.rejected_file}")
    for step in report.next_steps:
        say(console, f"Next:  {step}")


@command
def check(
    dataset: DatasetArgument,
    rejected: Annotated[
        Path | None, typer.Option(help="Write the rejected rows to this file (.csv or .parquet).")
    ] = None,
    cache: CacheOption = None,
    config: ConfigOption = None,
    set_: SetOption = None,
) -> None:
    """Read a dataset; print its content and the rejected rows, counted by reason."""
    from features.event_log import check_dataset, open_dataset
    from recsys.config import load_config

    data = load_config(config, overrides=set_ or []).data
    with ConsoleProgress(console) as progress:
        loaded = open_dataset(dataset, data, cache_dir=cache or default_cache(), progress=progress)
        report = check_dataset(loaded, rejected=rejected)
    print_dataset(console, report)


@command
def ingest(
    state: Annotated[
        str,
        typer.Argument(
            help="The state of recsys serve: state.sqlite, the folder that holds it, or redis://HOST:6379/0."
        ),
    ],
    dataset: Annotated[Path, typer.Option("--into", help="The dataset folder that gets the events.")],
) -> None:
    """Make events and impressions of a running or stopped server the next rows of a dataset, once each."""
    from serving.ingest import ingest as ingest_rows
    from serving.state import open_live_rows

    rows = open_live_rows(state)
    try:
        report = ingest_rows(rows, dataset)
    finally:
        rows.close()
    for warning in report.warnings:
        warn(console, warning)
    removed = f"; {report.num_erased:,} of erased users were removed" if report.num_erased else ""
    say(
        console,
        f"{report.num_new:,} new events, {report.num_events:,} in all{removed}; "
        f"{report.num_reviews:,} reviews; {report.num_impressions:,} listed items are in {dataset / 'live'}.",
    )
    say(console, f"Next:  recsys check {dataset}")


@command
def prepare(
    dataset: DatasetArgument,
    out: Annotated[Path, typer.Option("--out", help="Where the event log is written; its folders are made.")],
) -> None:
    """Prepare the interactions of a dataset of any size on disk; a repeated call continues."""
    from features.event_log import prepare_dataset

    with ConsoleProgress(console) as progress:
        report = prepare_dataset(dataset, out, progress=progress)
    print_dataset(console, report)


@command
def features(
    dataset: DatasetArgument, cache: CacheOption = None, config: ConfigOption = None, set_: SetOption = None
) -> None:
    """Encode all media of a dataset into the cache; a second call encodes new media only."""
    from features.event_log import all_reasons, open_dataset
    from features.extraction import extract
    from recsys.config import load_config

    settings = load_config(config, overrides=set_ or [])
    with ConsoleProgress(console) as progress:
        loaded = open_dataset(dataset, settings.data, cache_dir=cache or default_cache(), progress=progress)
        vectors = extract(loaded, settings.encoders, cache_dir=cache or default_cache(), progress=progress)
    table = Table("medium", "encoded", "from the cache", title="Vectors")
    for name in vectors.encoded:
        table.add_row(name, f"{vectors.encoded[name]:,}", f"{vectors.cached.get(name, 0):,}")
    console.print(table)
    if vectors.times:
        print_times(console, vectors.times)
    print_reasons(console, all_reasons(loaded, vectors.rejected))


@command
def convert(
    name: Annotated[str | None, typer.Argument(help="An encoder, as in docs/encoders.md.")] = None,
    kind: Annotated[str | None, typer.Option(help="What it encodes: text, image or audio.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="A new folder for a copy of the encoder.")] = None,
    cache: CacheOption = None,
) -> None:
    """Convert an encoder and print its difference to the original; without a name, list the embedded ones."""
    from features.conversion import EMBEDDED
    from features.conversion.verify.report import convert_encoder

    if name is None:
        table = Table("name", "kind", "weights of", "package", title="Embedded encoders")
        for embedded, encoder in EMBEDDED.items():
            table.add_row(embedded, encoder.kind, encoder.weights.origin, encoder.weights.package)
        console.print(table)
        return
    if kind not in (None, "text", "image", "audio"):
        raise ConfigError(f"--kind {kind!r}: must be text, image or audio")
    report = convert_encoder(name, kind, cache or default_cache(), out)  # type: ignore[arg-type]
    console.print(pairs_table(f"Encoder in {report.path}", report.shown()))
