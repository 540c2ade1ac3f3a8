"""`publish`: a run's bundle into a store and a registry, and to the place of the champion if it passes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from recsys.bundle import Bundle, Store, Version, now
from recsys.config import PublishConfig
from recsys.errors import BundleError, ConfigError
from training.evaluation import MODEL
from training.pipeline import Run
from training.publishing.bars import Bar, failed
from training.publishing.budgets import size_of
from training.publishing.champion import Champion, evaluation_of, kept_files, newest_event
from training.publishing.gate import check
from training.run_directory import RunDirectory

CHAMPION, CHALLENGER = "champion", "challenger"  # aliases in a registry


class Registry(Protocol):
    """Where models are registered beside the store."""

    def register(self, name: str, version: Version, bundle: Bundle) -> str:
        """Keep the bundle as a model; what was registered, as "name/3"."""
        ...

    def set_alias(self, registered: str, alias: str) -> None:
        """Let `alias` name what `register` returned."""
        ...


@dataclass(frozen=True, kw_only=True)
class Published:
    """What a publication came to."""

    version: Version
    bars: tuple[Bar, ...]
    promoted: bool  # the version is current now
    before: str | None  # the version that was current

    @property
    def failed(self) -> list[Bar]:
        return failed(self.bars)


def publish(
    run: RunDirectory,
    store_path: Path,
    config: PublishConfig,
    *,
    registry: Registry | None = None,
    force: str | None = None,
    histories: bool = True,
    open_run: Callable[[], Run] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Published:
    """Put the bundle of `run` into the store at `store_path` and make it current if it passes the gate.

    `force` is a reason to make it current although bars fail; the store keeps it. With `histories` the users'
    histories go along, beside the bundle. `open_run` opens the run with its dataset, by default where the
    dataset was; it is called where the champion is of other data. `say` receives each step.

    Raises `BundleError` for a damaged bundle, which nothing can force, or a damaged pointer, and
    `ConfigError` for a run that was not exported or evaluated. A note of an error that comes after the
    version was stored says which version is served.
    """
    if not run.bundle.is_dir():
        raise ConfigError(f"{run.path} has no bundle; make one with: recsys export {run.path}")
    bundle = Bundle.open(run.bundle)
    store = Store.create(store_path)
    with store.writing():
        before = store.pointer.current
        version = _stored(run, store, bundle, config, histories=histories)
        say(f"version {version.version} is stored in {store_path}")
        with _noting_the_served(store, version.version):
            if registry is not None:
                version = _registered(store, version, bundle, config, registry)
                say(f"registered as {version.registered}, alias {CHALLENGER}")
            bars = _bars(run, store, bundle, config, open_run or (lambda: Run.open(run.path)))
            missed = [bar.name for bar in failed(bars)]
            version = version.model_copy(update={"failed": tuple(missed)})
            store.update(version)
            promoted = not missed or force is not None
            if promoted:
                action = "force" if missed else "publish"
                store.point_to(version.version, action=action, reason=force or "" if missed else "")
                if registry is not None and version.registered is not None:
                    registry.set_alias(version.registered, CHAMPION)
    return Published(version=version, bars=tuple(bars), promoted=promoted, before=before)


@contextmanager
def _noting_the_served(store: Store, version: str) -> Iterator[None]:
    """Adds to an error that `version` is stored, and which version is served."""
    try:
        yield
    except Exception as error:
        current = store.pointer.current
        if current == version:
            error.add_note(f"version {version} is stored and served by {store.path}")
        else:
            served = f"still serves {current}" if current else "serves nothing yet"
            error.add_note(f"version {version} is stored, not published; {store.path} {served}")
        raise


def _bars(
    run: RunDirectory,
    store: Store,
    bundle: Bundle,
    config: PublishConfig,
    open_run: Callable[[], Run],
) -> list[Bar]:
    try:
        champion = Champion.of(store)
    except BundleError as error:
        damaged = Bar(
            name="champion",
            passed=False,
            found=str(error),
            required="a whole bundle to compare with; go back with: recsys rollback",
        )
        return [damaged, *check(run, bundle, None, config, open_run)]
    if champion is not None and champion.version.version == bundle.version:
        champion = None  # published again: there is nothing else to compare with
    return check(run, bundle, champion, config, open_run)


def _stored(
    run: RunDirectory, store: Store, bundle: Bundle, config: PublishConfig, *, histories: bool
) -> Version:
    def record(opened: Bundle) -> Version:
        manifest = opened.manifest
        return Version(
            version=opened.version,
            published_at=now(),
            run=run.path.resolve().name,
            dataset=manifest.dataset.name,
            dataset_fingerprint=manifest.dataset.fingerprint,
            created_at=manifest.created_at,
            size_bytes=size_of(opened),
            metrics=_metrics(run, config),
            newest_event=newest_event(run.histories, opened),
        )

    with TemporaryDirectory() as folder:
        kept = kept_files(run, bundle, Path(folder), histories=histories)
        return store.add(run.bundle, record, kept)


def _metrics(run: RunDirectory, config: PublishConfig) -> dict[str, float]:
    """The configured metrics in the views that have users."""
    if not run.metrics.is_file():
        return {}
    views = evaluation_of(run).views
    return {
        f"{view} {metric}": result.models[MODEL][metric].value
        for view, result in views.items()
        for metric in config.metrics
        if view in config.slices and metric in result.models.get(MODEL, {})
    }


def _registered(
    store: Store, version: Version, bundle: Bundle, config: PublishConfig, registry: Registry
) -> Version:
    """The version with its name in the registry; one that was registered before is not registered again."""
    if version.registered is None:
        name = config.registered_model or f"recsys-{version.dataset}"
        version = version.model_copy(update={"registered": registry.register(name, version, bundle)})
        store.update(version)
    assert version.registered is not None
    registry.set_alias(version.registered, CHALLENGER)
    return version
