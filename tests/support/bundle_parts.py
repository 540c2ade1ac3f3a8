"""Bundles of a dozen items whose user tower is the mean of the events' vectors, made without torch."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import polars as pl
from onnx import TensorProto, helper

from features.dataset import IdMaps
from features.inputs import save_histories
from recsys.arrays import Floats
from recsys.bundle import Bundle, write_bundle
from recsys.history import History, SequenceSchema
from recsys.ids import IdMap

ITEMS = tuple(f"i{at:02}" for at in range(12))
KINDS = ("view", "buy")
DIM = 4
SCHEMA = SequenceSchema(
    max_length=8,
    has_clock=True,
    num_event_kinds=4,
    number_scales={"value": (3.0, 1.0)},
    review_text_dim=0,
    review_audio_dim=0,
    profile_sizes={},
)
PARITY = {"user_tower.user_vector": 1e-6, "top10_agreement": 1.0, "score_difference": 1e-5}
# A program that refuses the libraries that the extra `serve` does not install, and the package `training`.
REFUSE_TRAINING_PACKAGES = """
import sys
REFUSED = "torch torchrec torchvision transformers fbgemm_gpu onnx onnxscript implicit training".split()
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in REFUSED:
            raise ModuleNotFoundError(f"{name} is refused", name=name)
sys.meta_path.insert(0, Refuse())
"""


def write_tiny_bundle(
    path: Path,
    *,
    items: Sequence[str] = ITEMS,
    seed: int = 0,
    slow: int = 0,
    vectors: Floats | None = None,
    add: Callable[[Path], Mapping[str, Any]] | None = None,
    **changes: Any,
) -> Bundle:
    """`seed` draws the item vectors; the user tower computes `slow` large products beside its answer.

    `add` writes more files into the directory and returns more values of the manifest.
    """

    def fill(directory: Path) -> dict[str, Any]:
        size = len(items) + 2
        save_user_tower(directory / "user_tower.onnx", slow)
        IdMap(items).save(directory / "item_ids.npy")
        np.save(
            directory / "item_vectors.npy", item_vectors(len(items), seed) if vectors is None else vectors
        )
        np.save(directory / "item_tokens.npy", np.zeros((size, 1, DIM), np.float16))
        np.save(directory / "token_mask.npy", np.arange(size)[:, None] >= 2)
        pl.DataFrame(
            {
                "item_id": items,
                "title": [f"Item {name}" for name in items],
                "cat:kind": [["even" if at % 2 == 0 else "odd"] for at in range(len(items))],
                "popularity": list(range(len(items), 0, -1)),
                "trained": [True] * len(items),
            }
        ).write_parquet(directory / "catalogue.parquet")
        (directory / "maps.json").write_text(json.dumps({"events": KINDS, "profile": {}}), "utf-8")
        return {
            "config": {},
            "dataset": {"name": "zoo", "fingerprint": "f00d"},
            "refit": False,
            "refit_description": "",
            "metrics": {},
            "sequence_schema": SCHEMA,
            "modalities": ["id"],
            "graphs": {},
            "recommender": {
                "temperature": 0.5,
                "num_candidates": 10,
                "history_length": 4,
                "cold_ranks": [],
            },
            "parity": PARITY,
            **changes,
            **(add(directory) if add is not None else {}),
        }

    return write_bundle(path, fill)


def write_histories(path: Path, items: Mapping[str, Sequence[str]], *, known: Sequence[str] = ITEMS) -> Path:
    """The users' views of these items, a minute apart."""
    ids = IdMap(known)
    histories = {}
    for user, names in items.items():
        item = ids.encode(names)
        events = {
            "item": item,
            "timestamp": np.arange(1, len(item) + 1, dtype=np.int64) * 60_000_000,
            "event": np.full(len(item), 2, np.int64),
            "value": np.full(len(item), np.nan, np.float32),
        }
        histories[user] = History.of(events, seen=np.unique(item))
    save_histories(histories, path, ids, IdMaps(kinds=IdMap(KINDS), profiles={}))
    return path


def item_vectors(num_items: int, seed: int) -> Floats:
    """Random unit vectors; zeros for the reserved rows."""
    drawn = np.random.default_rng(seed).normal(size=(num_items + 2, DIM)).astype(np.float32)
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    drawn[:2] = 0.0
    return drawn


def save_user_tower(path: Path, slow: int) -> None:
    def tensor(name: str, *shape: Any) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    one = helper.make_tensor("one", TensorProto.INT64, [1], [1])
    least = helper.make_tensor("least", TensorProto.FLOAT, [1], [1e-6])  # without an event
    constants, nodes, last = [one, least], [], "mean"
    nodes.append(helper.make_node("ReduceMean", ["event_vector", "one"], ["mean"], keepdims=0))
    if slow:
        wide = np.full((512, 512), 1 / 512, np.float32)
        constants.append(helper.make_tensor("wide", TensorProto.FLOAT, wide.shape, wide.ravel()))
        spread = np.zeros((DIM, 512), np.float32)
        constants.append(helper.make_tensor("spread", TensorProto.FLOAT, spread.shape, spread.ravel()))
        constants.append(helper.make_tensor("many", TensorProto.INT64, [2], [512, 1]))
        nodes += [
            helper.make_node("MatMul", ["mean", "spread"], ["zeros"]),
            helper.make_node("Tile", ["zeros", "many"], ["work0"]),
            *(helper.make_node("MatMul", [f"work{at}", "wide"], [f"work{at + 1}"]) for at in range(slow)),
            helper.make_node("ReduceSum", [f"work{slow}"], ["nothing"], keepdims=0),
            helper.make_node("Add", ["mean", "nothing"], ["sum"]),
        ]
        last = "sum"
    nodes += [
        helper.make_node("ReduceL2", [last, "one"], ["norm"], keepdims=1),
        helper.make_node("Max", ["norm", "least"], ["length_of_vector"]),
        helper.make_node("Div", [last, "length_of_vector"], ["user_vector"]),
    ]
    graph = helper.make_graph(
        nodes,
        "user_tower",
        [tensor("event_vector", "B", "L", DIM)],
        [tensor("user_vector", "B", DIM)],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    onnx.save(model, path)
