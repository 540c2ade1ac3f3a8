"""`Served`: everything that answers from one bundle."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from features.queries import QueryLimits
from recsys.bundle import Device
from serving.engine import Engine
from serving.items import LiveItems
from serving.pictures import CataloguePictures
from serving.search import SearchEngine
from serving.state import UserState


@dataclass(frozen=True, kw_only=True)
class ServeSettings:
    """How bundles are opened: the same for the first one and for those that replace it."""

    histories: Path | None = None  # None: histories.parquet beside the bundle, if there is one
    state: Path | str | None = None  # None: state.sqlite beside the first bundle, or in its store
    device: Device = "cpu"
    rules: Path | None = None
    media: tuple[Path, ...] = ()
    limits: QueryLimits = field(default_factory=QueryLimits)


@dataclass(frozen=True, kw_only=True)
class Source:
    """A bundle that was served, and where it lay."""

    path: Path
    version: str


@dataclass(frozen=True, kw_only=True)
class Served:
    """The engine, search and pictures of one bundle. A request takes it once and answers from it alone."""

    engine: Engine
    search: SearchEngine | None  # None: the bundle has no search part
    pictures: CataloguePictures
    live: LiveItems

    @classmethod
    def of(
        cls, engine: Engine, *, limits: QueryLimits | None = None, media: tuple[Path, ...] = ()
    ) -> "Served":
        """Search and pictures beside `engine`; errors as `SearchEngine.of` and `CataloguePictures`."""
        has_search = engine.bundle.manifest.search is not None
        search = SearchEngine.of(engine, limits=limits) if has_search else None
        return cls(
            engine=engine,
            search=search,
            pictures=CataloguePictures(engine.bundle.catalogue, media),
            live=LiveItems.of(engine, search),
        )

    def present(self) -> "Served":
        """The same bundle with the items that came, changed and went by now."""
        view = self.live.view
        if view.engine is self.engine:
            return self
        return replace(self, engine=view.engine, search=view.search)

    @classmethod
    def open(cls, path: Path, settings: ServeSettings, state: UserState | None = None) -> "Served":
        """The bundle in `path`, with the users of `state` where one is open; errors as `Engine.open`.

        A bundle that replaces another one has its own histories beside it, where there are any.
        """
        engine = Engine.open(
            path,
            histories=settings.histories,
            state=settings.state if state is None else state,
            device=settings.device,
            rules=settings.rules,
        )
        try:
            return cls.of(engine, limits=settings.limits, media=settings.media)
        except BaseException:
            if state is None:
                engine.close()
            raise

    @property
    def source(self) -> Source:
        return Source(path=self.engine.bundle.path, version=self.engine.bundle.version)
