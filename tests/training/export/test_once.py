"""An export is made once for a key, and again where its bundle is damaged or another one."""

import shutil
from pathlib import Path

import pytest
from bundle_parts import write_tiny_bundle

from recsys.bundle import Bundle
from recsys.errors import BundleError
from training.export import export_once


class Exports:
    """Counts the exports of a tiny bundle to `target`, whose vectors are drawn anew each time."""

    def __init__(self, target: Path) -> None:
        self.target, self.count = target, 0

    def __call__(self) -> Bundle:
        self.count += 1
        return write_tiny_bundle(self.target, seed=self.count)


@pytest.fixture
def export(tmp_path: Path) -> Exports:
    return Exports(tmp_path / "bundle")


def test_the_same_key_is_not_exported_again(export: Exports, tmp_path: Path) -> None:
    first = export_once(export.target, tmp_path / "exported.json", "one", export)
    second = export_once(export.target, tmp_path / "exported.json", "one", export)
    assert export.count == 1
    assert second.version == first.version == Bundle.open(export.target).version


def test_another_key_is(export: Exports, tmp_path: Path) -> None:
    export_once(export.target, tmp_path / "exported.json", "one", export)
    assert export_once(export.target, tmp_path / "exported.json", "other", export).version
    assert export.count == 2
    export_once(export.target, tmp_path / "exported.json", "other", export)
    assert export.count == 2


def test_a_damaged_and_a_foreign_bundle_are_made_again(export: Exports, tmp_path: Path) -> None:
    record = tmp_path / "exported.json"
    export_once(export.target, record, "one", export)
    (export.target / "item_ids.npy").write_bytes(b"damaged")
    export_once(export.target, record, "one", export)
    assert export.count == 2
    shutil.rmtree(export.target)
    write_tiny_bundle(export.target, seed=9)
    export_once(export.target, record, "one", export)
    assert export.count == 3


def test_an_export_that_fails_leaves_no_record(export: Exports, tmp_path: Path) -> None:
    record = tmp_path / "exported.json"
    export_once(export.target, record, "one", export)

    def fails() -> Bundle:
        raise BundleError("differs from torch")

    with pytest.raises(BundleError, match="differs"):
        export_once(export.target, record, "other", fails)
    assert not record.exists()
