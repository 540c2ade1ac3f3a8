"""A store has each file once, its pointer moves at once, and a kill at any moment leaves it valid."""

import errno
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import pytest
from bundle_parts import write_tiny_bundle

from recsys.bundle import REPAIR, Bundle, Store, Version, bundle_directory, now, state_directory
from recsys.bundle import blobs as blobs_module
from recsys.checksums import sha256_of
from recsys.errors import BundleError, DataError, LockedError


def record(bundle: Bundle) -> Version:
    return Version(
        version=bundle.version,
        published_at=now(),
        run="run",
        dataset=bundle.manifest.dataset.name,
        dataset_fingerprint=bundle.manifest.dataset.fingerprint,
        created_at=bundle.manifest.created_at,
        size_bytes=1,
    )


def publish(root: Path, bundle: Path, beside: dict[str, Path] | None = None) -> str:
    store = Store.create(root)
    with store.writing():
        version = store.add(bundle, record, beside or {})
        store.point_to(version.version, action="publish")
    return version.version


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three bundles that differ in their item vectors alone."""
    root = tmp_path_factory.mktemp("bundles")
    return [write_tiny_bundle(root / f"bundle{seed}", seed=seed).path for seed in range(3)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store [1]"


def sums(*bundles: Path) -> set[str]:
    """The sums of all files of these bundles."""
    return {sha256 for bundle in bundles for sha256 in Bundle.open(bundle).manifest.files.values()}


def blob_names(root: Path) -> set[str]:
    return {path.name for path in (root / "blobs").glob("*/*")}


def test_a_version_is_a_bundle_directory_with_the_same_version(root: Path, bundles: list[Path]) -> None:
    version = publish(root, bundles[0])
    opened = Bundle.open(root / "versions" / version / "bundle")
    assert opened.version == version == Bundle.open(bundles[0]).version
    assert bundle_directory(root) == opened.path


def test_equal_files_of_two_versions_are_stored_once(root: Path, bundles: list[Path]) -> None:
    versions = [publish(root, bundle) for bundle in bundles[:2]]
    manifests = [Bundle.open(bundle).manifest.files for bundle in bundles[:2]]
    assert blob_names(root) == sums(*bundles[:2])
    shared = [name for name in manifests[0] if manifests[0][name] == manifests[1][name]]
    assert "user_tower.onnx" in shared
    for name in shared:
        first, second = (root / "versions" / version / "bundle" / name for version in versions)
        assert first.samefile(second)
    vectors = [root / "versions" / version / "bundle/item_vectors.npy" for version in versions]
    assert not vectors[0].samefile(vectors[1])


@pytest.mark.parametrize("without", [("link",), ("link", "symlink")])
def test_file_systems_without_links(
    root: Path, bundles: list[Path], without: tuple[str, ...], tmp_path: Path
) -> None:
    """Without hard links a version has symbolic links, without these copies; a moved store works as well."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    with patch.multiple(blobs_module.os, **dict.fromkeys(without, refuse)):
        publish(root, bundles[0])
        version = publish(root, bundles[1])
    moved = tmp_path / "elsewhere"
    root.rename(moved)
    bundle = Bundle.open(bundle_directory(moved))
    assert bundle.version == version
    assert (bundle.path / "user_tower.onnx").is_symlink() == (without == ("link",))


def test_another_error_than_missing_links_is_not_hidden(root: Path, bundles: list[Path]) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    with patch.object(blobs_module.os, "link", side_effect=full), pytest.raises(OSError, match="No space"):
        publish(root, bundles[0])


def test_the_pointer_knows_the_version_before(root: Path, bundles: list[Path]) -> None:
    first, second = (publish(root, bundle) for bundle in bundles[:2])
    store = Store.open(root)
    assert (store.pointer.current, store.pointer.previous) == (second, first)
    assert publish(root, bundles[1]) == second  # published again
    assert (store.pointer.current, store.pointer.previous) == (second, first)
    with store.writing():
        pointer = store.roll_back(reason="clicks fell")
    assert (pointer.current, pointer.previous) == (first, second)
    assert [(each.action, each.version, each.reason) for each in store.pointer.moves] == [
        ("publish", first, ""),
        ("publish", second, ""),
        ("rollback", first, "clicks fell"),
    ]
    assert bundle_directory(root).parent.name == first


def test_a_roll_back_to_a_named_version(root: Path, bundles: list[Path]) -> None:
    first, second, third = (publish(root, bundle) for bundle in bundles)
    store = Store.open(root)
    with store.writing():
        assert store.roll_back(first[:8]).current == first
    assert store.pointer.previous == third
    with pytest.raises(BundleError, match=rf"has no version 'zzz'; known: .*{second}"):
        store.roll_back("zzz")
    with pytest.raises(BundleError, match=r"is the current version .* already"):
        store.roll_back(first)


@pytest.mark.parametrize("content", ["", "{", '{"current": 3}', "[]"])
def test_a_damaged_pointer_is_replaced_by_a_roll_back_to_a_named_version(
    root: Path, bundles: list[Path], content: str
) -> None:
    first, second = (publish(root, bundle) for bundle in bundles[:2])
    (root / "pointer.json").write_text(content)
    store = Store.open(root)
    remedy = re.escape(f"; write a new one with: recsys rollback '{root}' --to VERSION")
    for read in (lambda: store.pointer, lambda: bundle_directory(root), store.roll_back):
        with pytest.raises(BundleError, match=remedy) as raised:
            read()
        assert ": :" not in str(raised.value)
        assert "(:" not in str(raised.value)
    with store.writing(), pytest.raises(BundleError, match="has no version 'x'"):
        store.roll_back("x")
    assert (root / "pointer.json").read_text() == content
    with store.writing():
        pointer = store.roll_back(second[:6], reason="disk")
    assert (pointer.current, pointer.previous) == (second, None)
    assert [(move.action, move.version, move.reason) for move in pointer.moves] == [(REPAIR, second, "disk")]
    assert store.pointer == pointer
    with store.writing():
        assert store.roll_back(first).previous == second


def test_a_damaged_description_of_a_version_names_the_remedy(root: Path, bundles: list[Path]) -> None:
    version = publish(root, bundles[0])
    (root / "versions" / version / "version.json").write_text("")
    with pytest.raises(BundleError, match="out of the store and publish its run again"):
        Store.open(root).versions()
    (root / "versions" / version).rename(root.parent / "aside")
    assert publish(root, bundles[0]) == version
    assert [each.version for each in Store.open(root).versions()] == [version]


def test_there_is_nothing_to_go_back_to(root: Path, bundles: list[Path]) -> None:
    publish(root, bundles[0])
    with pytest.raises(BundleError, match="has no previous version"):
        Store.open(root).roll_back()


def test_a_damaged_bundle_is_refused_and_leaves_nothing(
    root: Path, bundles: list[Path], tmp_path: Path
) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(bundles[0], damaged)
    flip(damaged / "item_vectors.npy")
    with pytest.raises(BundleError, match=r"item_vectors.npy was altered: expected sha256"):
        publish(root, damaged)
    assert Store.open(root).versions() == []
    assert blob_names(root) == set()


def test_the_pointer_never_moves_to_a_damaged_version(root: Path, bundles: list[Path]) -> None:
    first, second = (publish(root, bundle) for bundle in bundles[:2])
    flip(root / "versions" / first / "bundle/item_vectors.npy")
    store = Store.open(root)
    with store.writing(), pytest.raises(BundleError, match=r"item_vectors.npy was altered"):
        store.roll_back()
    assert store.pointer.current == second


def test_a_damaged_blob_is_not_shared(root: Path, bundles: list[Path]) -> None:
    publish(root, bundles[0])
    sha256 = Bundle.open(bundles[1]).manifest.files["user_tower.onnx"]
    blob = root / "blobs" / sha256[:2] / sha256
    flip(blob)
    publish(root, bundles[1])
    assert sha256_of(blob) == sha256
    Bundle.open(bundle_directory(root))


def test_prune_keeps_the_current_and_the_previous_version(
    root: Path, bundles: list[Path], tmp_path: Path
) -> None:
    histories = tmp_path / "histories.parquet"
    histories.write_bytes(b"12345678")
    oldest, older, newest = (publish(root, bundle, {"histories.parquet": histories}) for bundle in bundles)
    store = Store.open(root)
    with store.writing():
        store.roll_back(oldest)
        pruned = store.prune(keep=0)
    assert pruned.versions == (older,)
    assert {each.version for each in store.versions()} == {oldest, newest}
    assert blob_names(root) == sums(store.bundle_path(oldest), store.bundle_path(newest))
    assert pruned.freed_bytes > 8 + (bundles[1] / "item_vectors.npy").stat().st_size
    with store.writing():
        assert store.prune(keep=0).versions == ()


def test_prune_keeps_the_newest(root: Path, bundles: list[Path]) -> None:
    first, second, third = (publish(root, bundle) for bundle in bundles)
    store = Store.open(root)
    assert [each.version for each in store.versions()] == [third, second, first]
    with store.writing():
        assert store.prune(keep=3).versions == ()
        assert store.prune(keep=2).versions == (first,)
    with pytest.raises(DataError, match="--keep -1: at least 0"):
        store.prune(keep=-1)


def test_prune_removes_nothing_where_a_manifest_cannot_be_read(root: Path, bundles: list[Path]) -> None:
    first, *_ = (publish(root, bundle) for bundle in bundles)
    (root / "versions" / first / "bundle/manifest.json").write_text("{")
    store, before = Store.open(root), blob_names(root)
    with store.writing(), pytest.raises(BundleError, match="is not JSON"):
        store.prune(keep=0)
    assert len(store.versions()) == 3
    assert blob_names(root) == before


class Killed(BaseException):
    """Ends a write at once; what it would have cleaned up stays, as with kill -9."""


@contextmanager
def killed_at(call: int) -> Iterator[None]:
    """The `call`-th step that changes the disk is the last one, and does not happen."""
    left = [call]

    def counted(real):
        def step(*args, **kwargs):
            left[0] -= 1
            if left[0] == 0:
                raise Killed
            if left[0] < 0:
                return None  # a dead process does nothing more
            return real(*args, **kwargs)

        return step

    targets = [
        (os, "replace"), (os, "link"), (os, "fsync"), (shutil, "copyfile"), (shutil, "rmtree"),
        (Path, "mkdir"), (Path, "chmod"),
    ]  # fmt: skip
    patches = [patch.object(owner, name, counted(getattr(owner, name))) for owner, name in targets]
    for each in patches:
        each.start()
    try:
        yield
    finally:
        for each in patches:
            each.stop()


def test_a_kill_at_any_step_of_a_publication(root: Path, bundles: list[Path], tmp_path: Path) -> None:
    """The store stays valid, with the old or the new version; the same command then ends as ever."""
    old, new = (Bundle.open(bundle).version for bundle in bundles[:2])
    steps = 0
    for call in range(1, 200):
        shutil.rmtree(root, ignore_errors=True)
        publish(root, bundles[0])
        try:
            with killed_at(call):
                publish(root, bundles[1])
        except Killed:
            steps += 1
        else:
            break
        store = Store.open(root)
        assert store.pointer.current in (old, new)
        for version in store.versions():
            Bundle.open(store.bundle_path(version.version))
        assert Bundle.open(bundle_directory(root)).version == store.pointer.current
        publish(root, bundles[1])
        assert (store.pointer.current, store.pointer.previous) == (new, old)
        assert not (root / "drafts").exists()
        with store.writing():
            store.prune(keep=2)
        assert blob_names(root) == sums(*bundles[:2])
    assert 20 < steps < 199


def test_a_kill_at_any_step_of_a_prune(root: Path, bundles: list[Path]) -> None:
    steps = 0
    for call in range(1, 50):
        shutil.rmtree(root, ignore_errors=True)
        _, *kept = (publish(root, bundle) for bundle in bundles)
        store = Store.open(root)
        try:
            with killed_at(call), store.writing():
                store.prune(keep=0)
        except Killed:
            steps += 1
        else:
            break
        for version in store.versions():
            Bundle.open(store.bundle_path(version.version))
        with store.writing():
            store.prune(keep=0)
        assert {each.version for each in store.versions()} == set(kept)
    assert 3 < steps < 49


def test_one_process_at_a_time_writes(root: Path, bundles: list[Path]) -> None:
    publish(root, bundles[0])
    with (
        Store.open(root).writing(),
        pytest.raises(LockedError, match=r"the store .* is in use by process .*; wait"),
    ):
        publish(root, bundles[1])


def test_a_folder_with_other_files_is_no_store(tmp_path: Path, bundles: list[Path]) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(BundleError, match="is not empty and no store"):
        Store.create(tmp_path)
    with pytest.raises(BundleError, match=r"is no store: store.json is missing"):
        Store.open(tmp_path)


def test_a_store_of_another_format_or_with_damaged_files_is_refused(root: Path, bundles: list[Path]) -> None:
    version = publish(root, bundles[0])
    (root / "pointer.json").write_text('{"current": 3}')
    with pytest.raises(BundleError, match=r"pointer.json is damaged \(current"):
        bundle_directory(root)
    (root / "versions" / version / "version.json").write_text("{}")
    with pytest.raises(BundleError, match=r"version.json is damaged \(version: Field required"):
        Store.open(root).versions()
    (root / "store.json").write_text(json.dumps({"format": 2}))
    with pytest.raises(BundleError, match="format 2; this recsys reads 1"):
        Store.open(root)


def test_a_store_without_a_current_version_serves_nothing(root: Path, bundles: list[Path]) -> None:
    store = Store.create(root)
    with store.writing():
        store.add(bundles[0], record)
    with pytest.raises(BundleError, match="has no current version"):
        bundle_directory(root)


def test_the_state_of_a_stored_bundle_is_shared_by_all_versions(root: Path, bundles: list[Path]) -> None:
    publish(root, bundles[0])
    assert state_directory(bundle_directory(root)) == root.resolve()
    assert state_directory(bundles[0]) == bundles[0].resolve().parent


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
