"""A shop of six items with graphs small enough to reckon by hand."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import polars as pl
import pytest
from onnx import TensorProto, helper

from recsys.bundle.compose import compose_bundle
from recsys.bundle.load import Bundle
from recsys.bundle.write import write_bundle
from recsys.history import History, SequenceSchema
from recsys.ids import IdMap
from recsys.retrieval.settings import RecommenderSettings
from serving.engine import Engine
from serving.state.database import Database
from serving.state.opening import compose_state

ITEMS = ("ant", "bee", "cat", "dog", "eel", "fox")
TITLES = ["Ant", "Bee", "Cat", "Dog", None, "Fox"]
POPULARITY = [5, 4, 3, 2, 1, 0]
GROUPS = [["insect"], ["insect", "flies"], ["mammal"], ["mammal"], ["fish"], ["mammal"]]
MODALITIES = ["image", "id"]
SETTINGS = {"temperature": 0.5, "num_candidates": 5, "history_length": 3, "cold_ranks": ()}
KNOWN = RecommenderSettings.model_fields
SCHEMA = SequenceSchema(
    max_length=4,
    has_clock=True,
    num_event_kinds=4,
    number_scales={"value": (3.0, 1.0)},
    review_text_dim=0,
    review_audio_dim=0,
    profile_sizes={"job": 4},
)


def item_vectors():
    """Unit vectors, each a little further from ant than the one before; reserved rows are zeros."""
    angles = np.array([0.0, 0.2, 0.45, 0.75, 1.1, 1.5])
    vectors = np.zeros((8, 2), np.float32)
    vectors[2:] = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return vectors


def tensor(name, kind, *shape):
    return helper.make_tensor_value_info(name, kind, shape)


def save_graph(path, nodes, inputs, outputs, constants=()):
    graph = helper.make_graph(nodes, path.stem, inputs, outputs, list(constants))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def axis(name, value):
    return helper.make_tensor(name, TensorProto.INT64, [1], [value])


def save_user_tower(path):
    """The mean of the events' vectors at unit length, zeros without any; reads no other input."""
    nodes = [
        helper.make_node("ReduceSum", ["event_vector", "one"], ["sum"], keepdims=0),
        helper.make_node("ReduceL2", ["sum", "one"], ["norm"], keepdims=1),
        helper.make_node("Max", ["norm", "least"], ["length"]),
        helper.make_node("Div", ["sum", "length"], ["user_vector"]),
    ]
    inputs = [tensor("event_vector", TensorProto.FLOAT, "B", "L", 2)]
    least = helper.make_tensor("least", TensorProto.FLOAT, [1], [1e-6])
    outputs = [tensor("user_vector", TensorProto.FLOAT, "B", 2)]
    save_graph(path, nodes, inputs, outputs, [axis("one", 1), least])


def save_ranker(path):
    """Adds the cosine once more; attends to what is alike and to the tokens' first number."""
    nodes = [
        helper.make_node("Split", ["source_scores"], ["cosine", "others"], axis=2, num_outputs=2),
        helper.make_node("Squeeze", ["cosine", "two"], ["score"]),
        helper.make_node("Split", ["candidate_tokens"], ["first", "second"], axis=3, num_outputs=2),
        helper.make_node("Squeeze", ["first", "three"], ["token_attention"]),
        helper.make_node("Transpose", ["history_vector"], ["across"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["candidate_vector", "across"], ["history_attention"]),
    ]
    inputs = [
        tensor("source_scores", TensorProto.FLOAT, "B", "K", 2),
        tensor("candidate_tokens", TensorProto.FLOAT, "B", "K", 2, 2),
        tensor("candidate_vector", TensorProto.FLOAT, "B", "K", 2),
        tensor("history_vector", TensorProto.FLOAT, "B", "H", 2),
    ]
    outputs = [
        tensor("score", TensorProto.FLOAT, "B", "K"),
        tensor("token_attention", TensorProto.FLOAT, "B", "K", 2),
        tensor("history_attention", TensorProto.FLOAT, "B", "K", "H"),
    ]
    save_graph(path, nodes, inputs, outputs, [axis("two", 2), axis("three", 3)])


def item_tokens():
    """The picture tells most of every item but dog, whose id does."""
    tokens = np.zeros((8, 2, 2), np.float16)
    tokens[2:, 0, 0], tokens[2:, 1, 0] = 0.75, 0.25
    tokens[5, :, 0] = 0.25, 0.75
    return tokens


def fill_bundle(directory: Path, *, ranker: bool = True, **changes):
    save_user_tower(directory / "user_tower.onnx")
    if ranker:
        save_ranker(directory / "ranker.onnx")
    IdMap(ITEMS).save(directory / "item_ids.npy")
    np.save(directory / "item_vectors.npy", item_vectors())
    np.save(directory / "item_tokens.npy", item_tokens())
    np.save(directory / "token_mask.npy", np.arange(8)[:, None].repeat(2, 1) >= 2)
    pl.DataFrame(
        {
            "item_id": ITEMS,
            "title": TITLES,
            "cat:group": GROUPS,
            "popularity": POPULARITY,
            "trained": [count > 0 for count in POPULARITY],
        }
    ).write_parquet(directory / "catalogue.parquet")
    maps = {"events": ["view", "buy"], "profile": {"job": ["cook", "baker"]}}
    (directory / "maps.json").write_text(json.dumps(maps))
    return {
        "config": {},
        "dataset": {"name": "zoo", "fingerprint": "f00d"},
        "refit": True,
        "refit_description": "",
        "metrics": {},
        "sequence_schema": SCHEMA,
        "modalities": MODALITIES,
        "graphs": {},
        "recommender": SETTINGS | {name: changes.pop(name) for name in list(changes) if name in KNOWN},
        "parity": {},
    } | changes


@pytest.fixture(scope="session")
def written_bundle(tmp_path_factory):
    path = tmp_path_factory.mktemp("zoo") / "bundle"
    write_bundle(path, fill_bundle)
    return path


@pytest.fixture
def bundle_path(written_bundle, tmp_path):
    """A copy of the bundle, which a test may change."""
    return shutil.copytree(written_bundle, tmp_path / "run" / "bundle")


def history(*names, profile=None):
    """A user's events on the items of these names, a minute apart."""
    items = IdMap(ITEMS).encode(names)
    return History(
        item=items,
        timestamp=np.arange(len(items), dtype=np.int64) * 60_000_000,
        event=np.full(len(items), 2, np.int64),
        value=np.full(len(items), np.nan, np.float32),
        seen=np.unique(items),
        profile=profile or {},
    )


USERS = {"ann": history("ant"), "bob": history("fox", "dog"), "new": history()}


def open_engine(path, *, users=None):
    """An engine over the bundle in `path` that knows `users`."""
    bundle = Bundle.open(path)
    recommender, sessions = compose_bundle(bundle)
    state = compose_state(Database(":memory:"), bundle)
    known = USERS if users is None else users
    state.imported.import_histories(path / "manifest.json", lambda _: known.items())
    return Engine(bundle=bundle, recommender=recommender, state=state, sessions=sessions)


@pytest.fixture
def engine(bundle_path):
    engine = open_engine(bundle_path)
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def shop():
    """The helpers above, for tests that make bundles of their own."""
    return SimpleNamespace(
        SCHEMA=SCHEMA,
        fill_bundle=fill_bundle,
        history=history,
        item_vectors=item_vectors,
        open_engine=open_engine,
    )
