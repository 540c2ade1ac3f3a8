"""Candidate sources on disk."""

from pathlib import Path

import pytest
from source_parts import random_source

from recsys.errors import BundleError
from recsys.retrieval.candidate_sources import load_sources, save_sources


def test_sources_keep_their_order(tmp_path: Path) -> None:
    names = ["popularity", "transitions", "als"]
    save_sources([random_source(name, 9) for name in names], tmp_path / "sources")
    assert [source.name for source in load_sources(tmp_path / "sources")] == names


@pytest.mark.parametrize("damage", ["gone", "no json", "unknown kind", "an array is gone", "unknown setting"])
def test_damaged_sources_are_named(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "sources"
    save_sources([random_source("item_item", 9)], folder)
    listed = folder / "sources.json"
    if damage == "gone":
        listed.unlink()
    elif damage == "no json":
        listed.write_text("[")
    elif damage == "unknown kind":
        listed.write_text(listed.read_text().replace('"item_neighbors"', '"oracle"'))
    elif damage == "unknown setting":
        listed.write_text(listed.read_text().replace('"decay"', '"ageing"'))
    else:
        (folder / "item_item" / "weight.npy").unlink()
    with pytest.raises(BundleError, match="candidate sources"):
        load_sources(folder)
