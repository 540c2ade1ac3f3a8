"""The pointer of a store is followed."""

import logging
import shutil
from pathlib import Path

import pytest

from recsys.bundle import Bundle, Store, Version, bundle_directory, now
from serving.swap import Holder, ServeSettings, StoreFollower


def record(bundle: Bundle) -> Version:
    return Version(
        version=bundle.version,
        published_at=now(),
        run="run",
        dataset="zoo",
        dataset_fingerprint="f00d",
        created_at=bundle.manifest.created_at,
        size_bytes=1,
    )


def published(store: Store, run: Path) -> str:
    with store.writing():
        histories = run / "histories.parquet"
        beside = {"histories.parquet": histories} if histories.is_file() else {}
        version = store.add(run / "bundle", record, beside).version
        store.point_to(version, action="publish")
    return version


def test_the_pointer_is_followed(tmp_path: Path, bundles: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = Store.create(tmp_path / "store")
    first = published(store, bundles / "first")
    with Holder.open(bundle_directory(store.path), ServeSettings(state=":memory:")) as holder:
        follower = StoreFollower(holder, store.path)

        def served() -> str:
            follower.look()
            return holder.current().source.version

        assert served() == first
        second = published(store, bundles / "second")
        assert served() == second
        with store.writing():
            store.roll_back()
        assert served() == first
        holder.swap(store.bundle_path(second))  # by hand: it stays until the pointer moves
        assert served() == second
        third = published(store, bundles / "third")
        assert served() == third
        with store.writing():
            store.roll_back(second)
        shutil.rmtree(store.bundle_path(second) / "item_ids.npy", ignore_errors=True)
        (store.bundle_path(second) / "item_ids.npy").unlink()
        with caplog.at_level(logging.ERROR):
            assert served() == third
            assert served() == third
        refused = [each.message for each in caplog.records]
        assert len(refused) == 1, "a refused version is tried once"
        assert f"version {second} of the store is refused" in refused[0]
        (store.path / "pointer.json").write_text("{")
        assert served() == third


def test_it_looks_by_itself_and_stops(tmp_path: Path, bundles: Path) -> None:
    store = Store.create(tmp_path / "store")
    published(store, bundles / "first")
    with Holder.open(bundle_directory(store.path), ServeSettings(state=":memory:")) as holder:
        with StoreFollower(holder, store.path, seconds=0.01) as follower:
            second = published(store, bundles / "second")
            for _ in range(1000):
                if holder.current().source.version == second:
                    break
                follower._stop.wait(0.02)
        assert holder.current().source.version == second
        assert not follower._thread.is_alive()
