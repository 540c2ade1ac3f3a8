"""The command line: the one module that knows all four packages, each only when a command needs it."""

import sys
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from recsys.console import ConsoleProgress, pairs_table, print_dataset, print_reasons
from recsys.errors import ConfigError, RecsysError

app = typer.Typer(
    name="recsys",
    help="Multimodal recommender: from raw tables and media to ranked answers.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
WIDTH_OF_A_LOG = 120
console = Console()
stderr = Console(stderr=True)

DatasetArgument = Annotated[Path, typer.Argument(help="A folder with a dataset.toml.")]
OutOption = Annotated[Path, typer.Option("--out", help="The run directory.")]
ConfigOption = Annotated[Path | None, typer.Option("--config", help="A TOML file of settings.")]
PresetOption = Annotated[str, typer.Option("--preset", help="A named set of settings.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="One setting, as section.field=value; may be repeated.")
]
CacheOption = Annotated[
    Path | None, typer.Option("--cache", help="Where vectors are kept; by default in the user's cache.")
]


def main() -> None:
    """Entry point: errors of ours are one clear message and exit code 2, not a traceback."""
    try:
        app()
    except (RecsysError, FloatingPointError, OSError) as error:
        stderr.print(f"[bold red]error:[/] {type(error).__name__}", highlight=False)
        stderr.print(str(error), markup=False, highlight=False, soft_wrap=True)
        sys.exit(2)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] in {"recsys", "features", "training", "serving"}:
            raise
        stderr.print(f"{error.name} is not installed; `recsys doctor` says what to install", markup=False)
        sys.exit(2)


def _command(function: Callable[..., None]) -> Callable[..., None]:
    """Register `function` under its own name, an underscore at the end left out."""
    name = function.__name__.rstrip("_")

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> None:
        try:
            function(*args, **kwargs)
        except KeyboardInterrupt:  # here, since typer turns one that reaches it into a silent exit
            stderr.print("interrupted; the same command goes on from here")
            raise typer.Exit(130) from None

    return app.command(name)(call)


@_command
def sample(
    directory: Annotated[Path, typer.Argument(help="Where the shop is written.")],
    items: Annotated[int | None, typer.Option(help="Number of products.")] = None,
    users: Annotated[int | None, typer.Option(help="Number of shoppers.")] = None,
    seed: Annotated[int, typer.Option(help="Another seed, another shop.")] = 0,
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
    console.print(
        f"A shop of {options.num_items} products and {options.num_users} shoppers is in {directory}."
    )


@_command
def import_(
    layout: Annotated[str, typer.Argument(help="The public layout: movielens, amazon-2023 or hm.")],
    source: Annotated[Path, typer.Argument(help="The folder of the unpacked download.")],
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
) -> None:
    """Make a dataset folder from a public layout."""
    from features.importers.layouts import import_layout

    options = {"positive": positive, "category": category, "images": images, "core": core, "split": split}
    with ConsoleProgress(console) as progress:
        report = import_layout(layout, source, out, options, progress)
    console.print(pairs_table(f"{report.name}, imported into {report.out}", report.counts))
    if report.set_aside:
        print_reasons(console, report.set_aside)
        console.print(f"All that was set aside is in {report.out / 'set_aside.parquet'}", soft_wrap=True)
    for step in report.next_steps:
        console.print(f"Next:  {step}", markup=False, highlight=False, soft_wrap=True)


@_command
def check(
    dataset: DatasetArgument,
    set_aside: Annotated[Path | None, typer.Option(help="Write what was set aside to this file.")] = None,
    cache: CacheOption = None,
    config: ConfigOption = None,
    set_: SetOption = None,
) -> None:
    """Read a dataset, say what is in it and what had to be set aside."""
    from features.check import check_dataset
    from features.prepared.dataset import open_dataset
    from recsys.config import load_config

    data = load_config(config, overrides=set_ or []).data
    with ConsoleProgress(console) as progress:
        loaded = open_dataset(dataset, data, cache_dir=cache or default_cache(), progress=progress)
        report = check_dataset(loaded, set_aside=set_aside)
    print_dataset(console, report)


@_command
def prepare(
    dataset: DatasetArgument,
    out: Annotated[Path, typer.Option("--out", help="Where the prepared log is written.")],
) -> None:
    """Prepare the interactions of a dataset on disk, however large; goes on where it stopped."""
    from features.check import prepare_dataset

    with ConsoleProgress(console) as progress:
        report = prepare_dataset(dataset, out, progress=progress)
    print_dataset(console, report)


@_command
def features(
    dataset: DatasetArgument, cache: CacheOption = None, config: ConfigOption = None, set_: SetOption = None
) -> None:
    """Encode all media of a dataset into the cache; a second time encodes only what is new."""
    from features.extract import extract
    from features.prepared.dataset import open_dataset
    from features.set_aside import count_reasons
    from recsys.config import load_config

    settings = load_config(config, overrides=set_ or [])
    with ConsoleProgress(console) as progress:
        loaded = open_dataset(dataset, settings.data, cache_dir=cache or default_cache(), progress=progress)
        vectors = extract(loaded, settings.encoders, cache_dir=cache or default_cache(), progress=progress)
    table = Table("medium", "encoded", "from the cache", title="Vectors")
    for name in vectors.encoded:
        table.add_row(name, f"{vectors.encoded[name]:,}", f"{vectors.cached.get(name, 0):,}")
    console.print(table)
    print_reasons(console, count_reasons(vectors.set_aside))


@_command
def convert(
    name: Annotated[str | None, typer.Argument(help="An encoder, as in docs/encoders.md.")] = None,
    kind: Annotated[str | None, typer.Option(help="What it encodes: text, image or audio.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="A new folder for a copy of the encoder.")] = None,
    cache: CacheOption = None,
) -> None:
    """Convert an encoder and say how near it is to its original; without a name, list the embedded ones."""
    from features.conversion import EMBEDDED
    from features.conversion.report import convert_encoder

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


@_command
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
        run = _run(dataset, out, config, preset, set_, cache, progress)
        fitted = run.train()
    best = fitted.retriever.best_score
    console.print(
        f"Towers: epoch {fitted.retriever.best_epoch}, validation NDCG@10 {best:.4f}. Run in {out}."
    )
    if fitted.ranker is not None:
        scores = fitted.ranker.scores
        console.print(
            f"Ranker: {fitted.ranker.num_lists} lists, share {fitted.ranker.share}, NDCG@10 on the other "
            f"validation users {scores['retriever']:.4f} -> {scores['with_ranker']:.4f}."
        )


@_command
def evaluate(run: Annotated[Path, typer.Argument(help="A run directory.")]) -> None:
    """Compare a run's model with baselines on its test events; writes metrics.json."""
    from training.pipeline import Run

    with ConsoleProgress(console) as progress:
        evaluation = Run.open(run, progress=progress).evaluate()
    _print_evaluation(evaluation)


@_command
def export(run: Annotated[Path, typer.Argument(help="A run directory.")]) -> None:
    """Train once more on everything (train.refit), export to ONNX and write the bundle."""
    from training.pipeline import Run

    with ConsoleProgress(console) as progress:
        bundle = Run.open(run, progress=progress).export()
    _print_parity(bundle)


@_command
def report(run: Annotated[Path, typer.Argument(help="A run directory.")]) -> None:
    """Write report.html of an evaluated run: figures, charts and examples in one file; nothing is trained."""
    from training.pipeline import Run

    with ConsoleProgress(console) as progress:
        path = Run.open(run, progress=progress).report()
    _print_report(path)


@_command
def run(
    dataset: DatasetArgument,
    out: OutOption,
    config: ConfigOption = None,
    preset: PresetOption = "default",
    set_: SetOption = None,
    cache: CacheOption = None,
) -> None:
    """The whole walk for one dataset: features, training, evaluation, export, report."""
    _walk(dataset, out, config, preset, set_, cache)


@_command
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
    console.print(
        f"{report.num_rows:,} recommendations for {report.num_users:,} users in {out}; "
        f"{report.num_unknown:,} of them are unknown and got the most popular items."
    )


@_command
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
    from serving.app import serve as serve_bundle

    with suppress(KeyboardInterrupt):  # how a server is stopped
        serve_bundle(bundle, host=host, port=port, histories=histories, device=_device(device))


@_command
def show(
    bundle: Annotated[Path, typer.Argument(help="A bundle directory.")],
    user: Annotated[str | None, typer.Option(help="A user id; by default one with a long history.")] = None,
    k: Annotated[int, typer.Option("-k", "--k", help="Items to show.")] = 10,
) -> None:
    """Show one user's history and recommendations, with a reason each."""
    from serving.show import show_user

    with _engine(bundle, None, "cpu") as engine:
        show_user(engine, console, user=user, k=k)


@_command
def demo(
    out: Annotated[Path, typer.Option("--out", help="Where shop and run are written.")] = Path("demo"),
    set_: SetOption = None,
) -> None:
    """The whole walk on the sample shop, from generated media to one shopper's recommendations."""
    from features.sample import SampleOptions, write_sample_shop

    shop = out / "shop"
    if not (shop / "dataset.toml").exists():
        with ConsoleProgress(console) as progress:
            write_sample_shop(shop, SampleOptions(), progress=progress)
    _walk(shop, out / "run", None, "default", set_, None)
    show(out / "run" / "bundle", user=None, k=10)
    console.print(
        f"\nServe it:  recsys serve {out / 'run' / 'bundle'}   (then open http://127.0.0.1:8000/docs)"
    )


@_command
def doctor() -> None:
    """Print versions and try every engine; says what to install for each that fails."""
    from recsys.doctor import print_report, run_doctor

    sys.exit(print_report(run_doctor(), console))


def default_cache() -> Path:
    """RECSYS_CACHE, or a folder in the user's cache."""
    from features.conversion import default_cache_dir

    return default_cache_dir()


def _walk(
    dataset: Path, out: Path, config: Path | None, preset: str, set_: list[str] | None, cache: Path | None
) -> None:
    from features.check import all_reasons

    with ConsoleProgress(console) as progress:
        run = _run(dataset, out, config, preset, set_, cache, progress)
        with run.tracked():
            run.train()
            evaluation = run.evaluate()
            bundle = run.export()
            path = run.report()
    _print_evaluation(evaluation)
    print_reasons(console, all_reasons(run.dataset, run.vectors.set_aside))
    _print_parity(bundle)
    table = Table("step", "seconds", title="Time")
    for step, seconds in run.seconds.items():
        table.add_row(step, f"{seconds:,.1f}")
    console.print(table)
    _print_report(path)


def _run(
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

    settings = load_config(config, preset=preset, overrides=set_ or [])
    return Run.create(out, dataset, settings, cache_dir=cache or default_cache(), progress=progress)


def _engine(bundle: Path, histories: Path | None, device: str) -> Any:
    from serving.engine import Engine

    return Engine.open(bundle, histories=histories, device=_device(device))


def _device(name: str) -> Any:
    if name not in ("cpu", "cuda"):
        raise ConfigError(f"--device {name!r}: must be cpu or cuda")
    return name


def _print_evaluation(evaluation: Any) -> None:
    from training.table import metrics_table

    # A log takes a line of any length; a narrow terminal gets the figures without their intervals.
    wide = console if console.is_terminal else Console(width=WIDTH_OF_A_LOG)
    wide.print(metrics_table(evaluation, intervals=wide.width >= WIDTH_OF_A_LOG))


def _print_parity(bundle: Any) -> None:
    parity = bundle.manifest.parity
    console.print(
        f"Bundle {bundle.version} in {bundle.path}: top-10 lists of torch and ONNX Runtime agree in "
        f"{parity['top10_agreement']:.2%} of places, scores within {parity['score_difference']:.1e}."
    )


def _print_report(path: Path) -> None:
    console.print(f"Report: {path}", soft_wrap=True, highlight=False)


if __name__ == "__main__":
    main()
