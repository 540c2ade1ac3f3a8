"""Short builders of dataset folders, for the tests of reading them."""

from pathlib import Path

import pytest
import tomli_w

from features.dataset.load import load_dataset
from features.dataset.tables import Dataset
from recsys.errors import DataError

ITEMS = "id,title\n1,One\n2,Two\n3,Three\n"
EVENTS = "user,item,time\na,1,10\na,2,20\nb,3,30\n"
ODD = "a [1] [b] *? é 店"  # a name that a pattern, a terminal or an address may take for something else
Spec = dict[str, dict[str, object]]


Change = dict[str, object] | None


def write(root: Path, files: dict[str, str | bytes], **changes: Change) -> Path:
    """A dataset of the given files; `changes` add to the sections of dataset.toml.

    None in place of a section or of a value leaves it out.
    """
    sections: Spec = {
        "items": {"path": "items.csv", "id": "id", "title": "title"},
        "interactions": {
            "path": "events.csv", "user": "user", "item": "item", "timestamp": "time", "time": "unix_s",
        },
    }  # fmt: skip
    for name, values in changes.items():
        merged = {**sections.pop(name, {}), **(values or {})}
        if values is not None:
            sections[name] = {key: value for key, value in merged.items() if value is not None}
    for name, content in {"items.csv": ITEMS, "events.csv": EVENTS, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    (root / "dataset.toml").write_text(tomli_w.dumps({"name": "test", **sections}), "utf-8")
    return root


def load(root: Path, files: dict[str, str | bytes], **changes: Change) -> Dataset:
    return load_dataset(write(root, files, **changes))


def problems(root: Path, files: dict[str, str | bytes], **changes: Change) -> tuple[str, ...]:
    with pytest.raises(DataError) as caught:
        load(root, files, **changes)
    assert caught.value.problems
    return caught.value.problems


def reasons(dataset: Dataset) -> list[tuple[str, int, str, str, str]]:
    return [(entry.table, entry.row, entry.column, entry.value, entry.reason) for entry in dataset.rejected]
