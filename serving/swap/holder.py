"""`Holder`: what answers now. A new bundle is opened and checked beside the old one, then takes its place."""

import gc
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from recsys.bundle import bundle_directory
from recsys.errors import BundleError, RecsysError
from serving.state import UserState
from serving.swap.golden import check_answers
from serving.swap.served import Served, ServeSettings, Source

log = logging.getLogger(__name__)


class SwapUnderWayError(BundleError):
    """Another bundle is being opened at this moment."""


@dataclass(frozen=True, kw_only=True)
class Swapped:
    """A bundle that took the place of another one."""

    now: Source
    before: Source
    num_answers: int  # of golden requests
    milliseconds: MappingProxyType[str, float]  # by stage


class Holder:
    """The bundle that is served; safe to use from many threads.

    `current` reads two attributes, so that a request never waits for a swap. The memory of the old
    bundle is free when the last request that took it has ended, since nothing else refers to it.
    """

    def __init__(self, served: Served, settings: ServeSettings | None = None) -> None:
        self._served, self._settings = served, settings or ServeSettings()
        self._previous: Source | None = None
        self._swapping = threading.Lock()

    @classmethod
    def open(cls, path: Path, settings: ServeSettings) -> "Holder":
        """Serve the bundle in `path`; errors as `Engine.open`, `SearchEngine.of` and `CataloguePictures`."""
        served = Served.open(path, settings)
        try:
            served.engine.warm()
        except BaseException:
            served.engine.close()
            raise
        return cls(served, settings)

    def current(self) -> Served:
        """What answers a request that begins now."""
        return self._served.present()

    def refresh_items(self) -> None:
        """Take over changes of items that were stored through a bundle that was just replaced."""
        self._served.live.refresh()

    @property
    def previous(self) -> Source | None:
        """The bundle that a roll-back leads to."""
        return self._previous

    def swap(self, path: Path) -> Swapped:
        """Serve the bundle in `path`, a bundle, run or store, from the next request on.

        It is opened beside the old one, which goes on to answer; it is warmed and answers golden requests.
        Raises `BundleError` or `DataError` where it is refused, and the old one stays; `SwapUnderWayError`
        during another swap.
        """
        with self._alone():
            return self._replace(bundle_directory(path))

    def roll_back(self) -> Swapped:
        """Serve the bundle again that was served before this one; errors as `swap`.

        Raises `BundleError` where there was none, or where another bundle lies in its place now.
        """
        with self._alone():
            if self._previous is None:
                raise BundleError("no bundle was served before this one; name one")
            return self._replace(self._previous.path, version=self._previous.version)

    def _replace(self, path: Path, *, version: str | None = None) -> Swapped:
        before, started = self._served, time.perf_counter()
        state = before.engine.state
        assert isinstance(state, UserState), "engines of a server share one state"
        new = Served.open(path, self._settings, state)
        if version is not None and new.source.version != version:
            raise BundleError(
                f"{path}: has version {new.source.version} now; version {version} is gone. Name a bundle"
            )
        opened = time.perf_counter()
        try:
            new.engine.warm()
        except RecsysError:
            raise
        except Exception as error:  # whatever a damaged graph or index raises
            raise BundleError(f"{path}: cannot answer: {error!r}") from error
        warmed = time.perf_counter()
        num_answers = check_answers(new.present())
        checked = time.perf_counter()
        self._served, self._previous = new, before.source
        new.live.refresh()  # items that came while the bundle was opened
        stages = zip(
            ("opening", "warming", "checking"),
            (opened - started, warmed - opened, checked - warmed),
            strict=True,
        )
        log.info("bundle %s is served in place of %s", new.source.version, before.source.version)
        swapped = Swapped(
            now=new.source,
            before=before.source,
            num_answers=num_answers,
            milliseconds=MappingProxyType({stage: 1000 * seconds for stage, seconds in stages}),
        )
        del before, new
        gc.collect()  # what opening left behind
        return swapped

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if not self._swapping.acquire(blocking=False):
            raise SwapUnderWayError("another bundle is being opened; ask again when it is served or refused")
        try:
            yield
        finally:
            self._swapping.release()

    def close(self) -> None:
        """Close the state."""
        self._served.engine.close()

    def __enter__(self) -> "Holder":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
