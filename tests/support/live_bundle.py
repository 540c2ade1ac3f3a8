"""A bundle of coloured shirts and shoes whose item tower, ranker and sources take items of any number.

The same weights serve any catalogue, so that a bundle can be "exported again" with more or fewer items.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import polars as pl
from bundle_parts import DIM, KINDS, PARITY, SCHEMA, save_user_tower
from onnx import TensorProto, helper, numpy_helper
from tiny_encoders import write_tiny_image, write_tiny_text

from features.encoders import Encoder
from features.extraction import as_stored
from features.inputs import NumericScale
from recsys.bundle import Bundle, write_bundle
from recsys.ids import NUM_RESERVED, IdMap
from recsys.onnx import OnnxSession
from recsys.retrieval import FactorSource, ItemNeighborSource, PopularitySource, build_index, save_sources
from recsys.search import Document, LexicalIndex, LexicalSettings, SearchSettings, build_leg, save_search

NUM_TRAINED = 16
COLORS = ("red", "green", "blue")
GROUPS = ("a", "b", "c")
SETTINGS = {
    "temperature": 0.2,
    "num_candidates": 6,
    "source_candidates": 3,
    "history_length": 4,
    "cold_ranks": [2, 5],
}
GROUP_WIDTH = 2


@dataclass(frozen=True, kw_only=True)
class ShopItem:
    """One item as a dataset has it."""

    name: str
    title: str
    text: str | None = None
    groups: tuple[str, ...] = ()
    price: float | None = None
    color: tuple[int, int, int] | None = None  # of its picture
    trained: int | None = None  # row of the trained items, None for a cold item

    @property
    def fields(self) -> dict[str, Any]:
        """The item as `PUT /v1/items/{id}` takes it."""
        given = {"title": self.title, "text": self.text, "group": list(self.groups), "price": self.price}
        return {name: value for name, value in given.items() if value not in (None, [])}


def trained_items() -> list[ShopItem]:
    """The items of the first export: trained ones and two cold ones."""
    rng = np.random.default_rng(1)
    items = []
    for at in range(NUM_TRAINED + 2):
        color, kind = COLORS[at % 3], ("shirt", "shoe")[at // 3 % 2]
        items.append(
            ShopItem(
                name=f"i{at:02}",
                title=f"{color} {kind}",
                text=f"{kind} {kind} {color}" if at % 2 else None,
                groups=tuple(GROUPS[: 1 + at % 2]),
                price=float(rng.integers(5, 50)) if at % 4 else None,
                color=tuple(int(each) for each in rng.integers(0, 255, 3)) if at % 3 else None,  # type: ignore[arg-type]
                trained=at if at < NUM_TRAINED else None,
            )
        )
    return items


def write_live_bundle(
    path: Path, items: Sequence[ShopItem], *, ranker: bool = True, als: bool = True
) -> Bundle:
    """The bundle of `items` by the one set of weights; trained items need not all be there."""

    def fill(directory: Path) -> dict[str, Any]:
        text = Encoder.load(write_tiny_text(directory / "encoders" / "text"))
        write_tiny_image(directory / "encoders" / "image")
        save_user_tower(directory / "user_tower.onnx", 0)
        _save_item_tower(directory / "item_tower.onnx")
        if ranker:
            _save_ranker(directory / "ranker.onnx")
        ids, size = IdMap([each.name for each in items]), len(items) + NUM_RESERVED
        ids.save(directory / "item_ids.npy")
        catalogue = _catalogue(items)
        catalogue.write_parquet(directory / "catalogue.parquet")
        inputs = _inputs(items, catalogue, text)
        np.save(directory / "id_table.npy", _id_table(items))
        outputs = OnnxSession(directory / "item_tower.onnx").run(inputs)
        vectors = _with_reserved(outputs["item_vector"])
        np.save(directory / "item_vectors.npy", vectors)
        np.save(directory / "item_tokens.npy", _with_reserved(outputs["tokens"]).astype(np.float16))
        np.save(directory / "token_mask.npy", _with_reserved(outputs["token_mask"]))
        build_index("exact", vectors).save(directory / "index")
        save_sources(_sources(items, size, als), directory / "sources")
        documents = [_document(row, each) for row, each in enumerate(items, NUM_RESERVED)]
        LexicalIndex.build(documents, LexicalSettings(), directory / "search" / "lexical")
        legs = [
            build_leg(
                name,
                "text" if name != "image" else "image",
                _with_reserved(inputs[f"dense_{name}"]),
                _with_reserved(inputs[f"has_{name}"]),
            )
            for name in ("title", "text", "image")
        ]
        has_words = np.arange(size) >= NUM_RESERVED
        save_search(directory / "search", legs, has_words=has_words)
        maps = {"events": KINDS, "profile": {}, "categories": {"group": list(GROUPS)}}
        (directory / "maps.json").write_text(json.dumps(maps), "utf-8")
        return {
            "config": {},
            "dataset": {"name": "shop", "fingerprint": "f00d"},
            "refit": False,
            "refit_description": "",
            "metrics": {},
            "sequence_schema": SCHEMA,
            "modalities": ["title", "text", "image", "numeric", "group", "id"],
            "graphs": {},
            "recommender": SETTINGS,
            "search": SearchSettings(),
            "encoders": {kind: f"encoders/{kind}" for kind in ("text", "image")},
            "parity": PARITY,
        }

    return write_bundle(path, fill)


def _catalogue(items: Sequence[ShopItem]) -> pl.DataFrame:
    popular = [NUM_TRAINED - each.trained if each.trained is not None else 0 for each in items]
    return pl.DataFrame(
        {
            "item_id": [each.name for each in items],
            "title": [each.title for each in items],
            "image": pl.Series([None] * len(items), dtype=pl.String),
            "cat:group": [list(each.groups) for each in items],
            "num:price": pl.Series([each.price for each in items], dtype=pl.Float64),
            "popularity": popular,
            "trained": [each.trained is not None for each in items],
        }
    )


def _inputs(items: Sequence[ShopItem], catalogue: pl.DataFrame, text: Encoder) -> dict[str, np.ndarray]:
    """The inputs of the item tower for these items, without the reserved rows."""
    first = _catalogue(trained_items())  # the scale was fitted with the weights
    scale = NumericScale.of(first, first["trained"].to_numpy())
    assert scale is not None
    numeric, has_numeric = scale.vectors(catalogue)
    groups = np.zeros((len(items), GROUP_WIDTH), np.int64)
    for at, each in enumerate(items):
        ids = IdMap(GROUPS).encode(each.groups[:GROUP_WIDTH])
        groups[at, : len(ids)] = ids
    trained = np.array([each.trained is not None for each in items])
    inputs = {
        "dense_numeric": numeric,
        "has_numeric": has_numeric,
        "cat_group": groups,
        "id_embedding": _id_table(items)[np.where(trained, np.arange(len(items)) + NUM_RESERVED, 1)],
        "has_id": trained,
    }
    media: Mapping[str, list[Any]] = {
        "title": [each.title for each in items],
        "text": [each.text for each in items],
    }
    for name, values in media.items():
        has = np.array([value is not None for value in values])
        vectors = np.zeros((len(items), 2), np.float32)
        if has.any():
            vectors[has] = as_stored(text.encode_texts([value for value in values if value is not None]))
        inputs |= {f"dense_{name}": vectors, f"has_{name}": has}
    colors = np.array([each.color or (0, 0, 0) for each in items], np.float32)
    return inputs | {
        "dense_image": colors,
        "has_image": np.array([each.color is not None for each in items]),
    }


def _id_table(items: Sequence[ShopItem]) -> np.ndarray:
    learned = np.random.default_rng(5).normal(size=(NUM_TRAINED, DIM)).astype(np.float32)
    table = np.full((len(items) + NUM_RESERVED, DIM), 0.25, np.float32)
    for row, each in enumerate(items, NUM_RESERVED):
        if each.trained is not None:
            table[row] = learned[each.trained]
    return table


def _with_reserved(rows: np.ndarray) -> np.ndarray:
    return np.concatenate([np.zeros((NUM_RESERVED, *rows.shape[1:]), rows.dtype), rows])


def _document(row: int, item: ShopItem) -> Document:
    return Document(item=row, title=item.title, text=item.text or "", categories=item.groups)


def _sources(items: Sequence[ShopItem], size: int, als: bool) -> list[Any]:
    """Factors, neighbours and popularity of the trained items, moved to their rows."""
    rng = np.random.default_rng(7)
    learned, neighbors = rng.normal(size=(NUM_TRAINED, 3)), rng.random((NUM_TRAINED, NUM_TRAINED))
    row_of = {each.trained: row for row, each in enumerate(items, NUM_RESERVED) if each.trained is not None}
    factor_N, score_N = np.zeros((size, 3), np.float32), np.zeros(size, np.float32)
    neighbor_N = np.zeros((size, NUM_TRAINED), np.int32)
    weight_N = np.zeros((size, NUM_TRAINED), np.float32)
    for trained, row in row_of.items():
        factor_N[row], score_N[row] = learned[trained], (trained + 1) / NUM_TRAINED
        near = [other for other in row_of if other != trained]
        neighbor_N[row, : len(near)] = [row_of[other] for other in near]
        weight_N[row, : len(near)] = neighbors[trained, near]
    factors = FactorSource(name="als", index=build_index("exact", factor_N), regularization=0.1, alpha=2.0)
    return [
        factors if als else PopularitySource(name="als", score=np.zeros(size, np.float32)),
        ItemNeighborSource(name="item_item", neighbor=neighbor_N, weight=weight_N, decay=0.9),
        PopularitySource(name="popular", score=score_N),
    ]


def _save_item_tower(path: Path) -> None:
    """The sum of linear maps of all inputs at unit length; of a cold item half as long."""
    rng = np.random.default_rng(11)
    dense = {"title": 2, "text": 2, "image": 3, "numeric": 2}
    scales = {"title": 0.1, "text": 0.1, "image": 0.01, "numeric": 1.0}
    nodes, constants, inputs, parts, masks = [], [], [], [], []

    def constant(name: str, value: Any) -> str:
        constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    constant("last", np.array([1], np.int64))
    for name, width in dense.items():
        weight = (rng.normal(size=(width, DIM)) * scales[name]).astype(np.float32)
        inputs += [
            helper.make_tensor_value_info(f"dense_{name}", TensorProto.FLOAT, ["N", width]),
            helper.make_tensor_value_info(f"has_{name}", TensorProto.BOOL, ["N"]),
        ]
        nodes.append(helper.make_node("MatMul", [f"dense_{name}", constant(f"w_{name}", weight)], [name]))
        parts.append(name)
        masks.append(f"has_{name}")
    table = np.concatenate([np.zeros((2, DIM)), rng.normal(size=(len(GROUPS), DIM))]).astype(np.float32)
    inputs += [
        helper.make_tensor_value_info("cat_group", TensorProto.INT64, ["N", GROUP_WIDTH]),
        helper.make_tensor_value_info("id_embedding", TensorProto.FLOAT, ["N", DIM]),
        helper.make_tensor_value_info("has_id", TensorProto.BOOL, ["N"]),
    ]
    nodes += [
        helper.make_node("Gather", [constant("table", table), "cat_group"], ["groups"], axis=0),
        helper.make_node("ReduceSum", ["groups", "last"], ["group"], keepdims=0),
        helper.make_node("ReduceMax", ["cat_group", "last"], ["largest"], keepdims=0),
        helper.make_node("Greater", ["largest", constant("zero", np.int64(0))], ["has_group"]),
        helper.make_node("Cast", ["has_id"], ["id_flag"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["id_flag", "last"], ["id_column"]),
        helper.make_node("Mul", ["id_embedding", "id_column"], ["id"]),
    ]
    parts, masks = [*parts, "group", "id"], [*masks, "has_group", "has_id"]
    nodes += [
        helper.make_node("Sum", parts, ["sum"]),
        helper.make_node("ReduceL2", ["sum", "last"], ["norm"], keepdims=1),
        helper.make_node("Max", ["norm", constant("least", np.array([1e-6], np.float32))], ["length"]),
        helper.make_node("Div", ["sum", "length"], ["unit"]),
        helper.make_node("Mul", ["id_column", constant("half", np.array([0.5], np.float32))], ["longer"]),
        helper.make_node("Add", ["longer", "half"], ["shrink"]),
        helper.make_node("Mul", ["unit", "shrink"], ["item_vector"]),
    ]
    for at, name in enumerate(parts):
        nodes += [
            helper.make_node("Unsqueeze", [name, "last"], [f"token{at}"]),
            helper.make_node("Unsqueeze", [masks[at], "last"], [f"mask{at}"]),
        ]
    numbers = range(len(parts))
    nodes += [
        helper.make_node("Concat", [f"token{at}" for at in numbers], ["tokens"], axis=1),
        helper.make_node("Concat", [f"mask{at}" for at in numbers], ["token_mask"], axis=1),
    ]
    _save(path, nodes, inputs, _tower_outputs(len(parts)), constants)


def _tower_outputs(num_tokens: int) -> list[Any]:
    return [
        helper.make_tensor_value_info("item_vector", TensorProto.FLOAT, ["N", DIM]),
        helper.make_tensor_value_info("tokens", TensorProto.FLOAT, ["N", num_tokens, DIM]),
        helper.make_tensor_value_info("token_mask", TensorProto.BOOL, ["N", num_tokens]),
    ]


def _save_ranker(path: Path) -> None:
    """Scores and ranks of all sources summed, and the tokens' first numbers as attention."""
    rng = np.random.default_rng(13)
    num_sources, num_tokens = 5, 6
    weights = rng.normal(size=(num_sources, 1)).astype(np.float32)
    nodes = [
        helper.make_node("Add", ["source_scores", "source_ranks"], ["both"]),
        helper.make_node("MatMul", ["both", "weights"], ["column"]),
        helper.make_node("Squeeze", ["column", "two"], ["score"]),
        helper.make_node("ReduceSum", ["candidate_tokens", "three"], ["token_attention"], keepdims=0),
        helper.make_node("Transpose", ["history_vector"], ["across"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["candidate_vector", "across"], ["history_attention"]),
    ]
    shapes = {
        "source_scores": ["B", "K", num_sources],
        "source_ranks": ["B", "K", num_sources],
        "candidate_tokens": ["B", "K", num_tokens, DIM],
        "candidate_vector": ["B", "K", DIM],
        "history_vector": ["B", "H", DIM],
    }
    inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n, shape in shapes.items()]
    outputs = [
        helper.make_tensor_value_info("score", TensorProto.FLOAT, ["B", "K"]),
        helper.make_tensor_value_info("token_attention", TensorProto.FLOAT, ["B", "K", num_tokens]),
        helper.make_tensor_value_info("history_attention", TensorProto.FLOAT, ["B", "K", "H"]),
    ]
    constants = [
        numpy_helper.from_array(weights, "weights"),
        numpy_helper.from_array(np.array([2], np.int64), "two"),
        numpy_helper.from_array(np.array([3], np.int64), "three"),
    ]
    _save(path, nodes, inputs, outputs, constants)


def _save(path: Path, nodes: Any, inputs: Any, outputs: Any, constants: Any) -> None:
    graph = helper.make_graph(nodes, path.stem, inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    onnx.save(model, path)
