"""Make bad tables, bundles and settings, read them with recsys, and print the messages as tables.

python -m scripts.bad_tables    prints the tables of docs/bad-input-tables.md; a test compares them
"""

import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from features.dataset import IdMaps, count_reasons, load_dataset
from features.inputs import iter_histories, save_histories
from recsys.bundle import Bundle, write_bundle
from recsys.config import load_config
from recsys.errors import RecsysError
from recsys.history import History, SequenceSchema
from recsys.ids import IdMap
from scripts.bad_cases import TABLES, Case


def message_of_table(case: Case, root: Path) -> str:
    """The output of `recsys check` for the dataset."""
    case.write(root)
    try:
        dataset = load_dataset(root)
    except RecsysError as error:
        return str(error)
    lines = [
        f"rejected {entry['count']}: {entry['example']['path']}, row {entry['example']['row']}, column "
        f"{entry['example']['column']!r}, {entry['example']['value']!r}: {entry['reason']}"
        for entry in count_reasons(dataset.rejected)
    ]
    lines += [f"warning: {warning}" for warning in dataset.warnings]
    return (
        "\n".join(lines) or f"read: {dataset.items.height} items, {dataset.interactions.height} interactions"
    )


IDS = IdMap(["apple", "bread", "cheese"])
MAPS = IdMaps(kinds=IdMap(["view"]), profiles={})
SCHEMA = SequenceSchema(
    max_length=5, has_clock=True, num_event_kinds=3, number_scales={"value": (0.0, 1.0)}, review_text_dim=0,
    review_audio_dim=0, profile_sizes={},
)  # fmt: skip


def fill_bundle(directory: Path) -> dict[str, Any]:
    """Write the files of a bundle that can be opened, its graph a placeholder; returns its manifest."""
    (directory / "user_tower.onnx").write_bytes(b"a graph")
    (directory / "index").mkdir()
    (directory / "index" / "index.json").write_text('{"kind": "exact", "has_bias": false}\n', "utf-8")
    IDS.save(directory / "item_ids.npy")
    np.save(directory / "item_vectors.npy", np.eye(5, 4, dtype=np.float32))
    np.save(directory / "item_tokens.npy", np.ones((5, 1, 4), np.float16))
    np.save(directory / "token_mask.npy", np.ones((5, 1), np.bool_))
    catalogue = {
        "item_id": IDS.external,
        "title": IDS.external,
        "popularity": [3, 2, 0],
        "trained": [True] * 3,
    }
    pl.DataFrame(catalogue).write_parquet(directory / "catalogue.parquet")
    (directory / "maps.json").write_text(json.dumps({"events": ["view"], "profile": {}}), "utf-8")
    return {
        "config": {}, "dataset": {"name": "shop", "fingerprint": "f00d"}, "refit": True,
        "refit_description": "", "metrics": {}, "sequence_schema": SCHEMA, "modalities": ["title"],
        "graphs": {}, "recommender": {"temperature": 0.1, "num_candidates": 4, "history_length": 3},
        "parity": {},
    }  # fmt: skip


def flip(name: str) -> Callable[[Path], None]:
    """A change that flips the last bit of a file of the bundle."""

    def change(bundle: Path) -> None:
        content = bytearray((bundle / name).read_bytes())
        content[-1] ^= 1
        (bundle / name).write_bytes(content)

    return change


def cut(name: str) -> Callable[[Path], None]:
    """A change that removes the second half of a file."""

    def change(bundle: Path) -> None:
        content = (bundle / name).read_bytes()
        (bundle / name).write_bytes(content[: len(content) // 2])

    return change


def replace_text(name: str, text: str) -> Callable[[Path], None]:
    return lambda bundle: (bundle / name).write_text(text, "utf-8") and None


def newer(bundle: Path) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text("utf-8"))
    replace_text("manifest.json", json.dumps(manifest | {"format_version": 99}))(bundle)


def other_items(bundle: Path) -> None:
    _save_histories(bundle.parent / "histories.parquet", IdMap(["saw", "nail", "glue"]))


def _save_histories(path: Path, ids: IdMap) -> None:
    items = np.array([2, 3])
    history = History(
        item=items, timestamp=items, event=items * 0 + 2, value=np.zeros(2, np.float32), seen=items
    )
    save_histories({"ann": history}, path, ids, MAPS)


BUNDLES: tuple[tuple[str, Callable[[Path], object]], ...] = (
    ("one flipped bit in a graph", flip("user_tower.onnx")),
    ("an array, cut off", cut("item_vectors.npy")),
    (
        "the index of another bundle",
        replace_text("index/index.json", '{"kind": "exact", "has_bias": true}\n'),
    ),
    ("a missing file", lambda bundle: (bundle / "item_tokens.npy").unlink()),
    ("an extra file", replace_text("ranker.onnx", "another graph")),
    ("a newer format", newer),
    ("a manifest that is no JSON", replace_text("manifest.json", '{"format": ')),
    ("no manifest", lambda bundle: (bundle / "manifest.json").unlink()),
    ("`--histories` names no file", lambda bundle: (bundle.parent / "histories.parquet").unlink()),
    ("histories, cut off", cut("../histories.parquet")),
    ("histories of another dataset", other_items),
)


def message_of_bundle(change: Callable[[Path], object], root: Path) -> str:
    """The error of `recsys recommend`, `serve` and `show` for the bundle or for the histories beside it."""
    bundle, histories = root / "bundle", root / "histories.parquet"
    write_bundle(bundle, fill_bundle)
    _save_histories(histories, IDS)
    change(bundle)
    try:
        list(iter_histories(histories, Bundle.open(bundle).item_ids, MAPS.kinds, {}))
    except RecsysError as error:
        return str(error)
    return "opened"


SETTINGS = (
    ("an unknown key", "[train]\nepoch = 3\n"),
    ("a wrong type", '[train]\nepochs = "many"\n'),
    ("out of range", "[split]\ntest_fraction = 1.5\n"),
    ("an unknown choice", '[split]\nprotocol = "random"\n'),
    ("no TOML", "epochs: 3\n"),
)


def message_of_settings(text: str, root: Path) -> str:
    (root / "settings.toml").write_text(text, "utf-8")
    try:
        load_config(root / "settings.toml")
    except RecsysError as error:
        return str(error)
    return "read"


def rows() -> Iterator[tuple[str, str, str]]:
    """Heading, input and message of every case; paths of the temporary folder are left out."""
    kinds: tuple[tuple[str, Any, Any], ...] = (
        ("Tables", [(case.label, case) for case in TABLES], message_of_table),
        ("Bundles", BUNDLES, message_of_bundle),
        ("Settings", SETTINGS, message_of_settings),
    )
    for heading, cases, output in kinds:
        for label, case in cases:
            with tempfile.TemporaryDirectory() as folder:
                root = Path(folder).resolve()
                yield heading, label, output(case, root).replace(f"{root}/", "").replace(str(root), ".")


def cell(message: str) -> str:
    """A message as a table cell: one code span for each line, with characters of Markdown escaped."""
    lines = [line.strip().removeprefix("- ") for line in message.splitlines()]
    if len(lines) > 1 and lines[0].endswith("contract:"):
        lines = lines[1:]
    shown = (line.replace("|", "\\|").replace("`", "'") for line in lines)
    return "<br>".join(f"`{line}`" for line in shown)


def tables() -> str:
    """Every case as Markdown, one table for each heading."""
    lines: list[str] = []
    before = None
    for heading, label, message in rows():
        if heading != before:
            lines += ["", f"## {heading}", "", "| input | what the user sees |", "|---|---|"]
            before = heading
        lines.append(f"| {label} | {cell(message)} |")
    return "\n".join(lines[1:]) + "\n"


if __name__ == "__main__":
    sys.stdout.write(tables())
