"""Bundles of the same dozen items in a folder, and a holder of the first."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from bundle_parts import ITEMS, write_histories, write_tiny_bundle

from serving.swap import Holder, ServeSettings

USERS = {"ann": ["i00", "i03"], "bob": ["i11"]}


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folders "first" and "second", which differ in item vectors, and "third" without the item i11."""
    root = tmp_path_factory.mktemp("bundles")
    for seed, name in enumerate(("first", "second")):
        write_tiny_bundle(root / name / "bundle", seed=seed)
        write_histories(root / name / "histories.parquet", USERS)
    write_tiny_bundle(root / "third" / "bundle", items=ITEMS[:11], seed=2)
    return root


@pytest.fixture
def holder(bundles: Path) -> Iterator[Holder]:
    with Holder.open(bundles / "first" / "bundle", ServeSettings(state=":memory:")) as holder:
        yield holder
