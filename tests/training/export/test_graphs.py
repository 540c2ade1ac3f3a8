import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from fit_parts import fit_split
from fitting_parts import config, log, media
from model_parts import tiny_features, tiny_schema
from torch.fx._symbolic_trace import is_fx_tracing, is_fx_tracing_warning

from features.splits.make import make_split
from recsys.config import ModelConfig, RankerConfig, UserTowerConfig
from recsys.ids import IdMap
from recsys.models.ranker import Ranker
from recsys.models.retriever import Retriever
from recsys.onnx import OnnxSession
from recsys.retrieval.candidate_features import BUILTIN_SOURCES, CONTEXT
from training.cold_start.content_regression import fit_content_regression
from training.export import graph_files
from training.export.bundle import check_parity
from training.export.graph_files import checked, graphs_of, write
from training.export.graphs import (
    item_graph,
    item_graph_inputs,
    ranker_example,
    ranker_graph,
    user_example,
    user_graph,
)
from training.onnx_graph import Graph, write_graph
from training.ranker.fit import ScaledRanker


def _assert_parity(graph, inputs, path):
    write_graph(graph, path)
    answer, expected = OnnxSession(path).run(inputs), graph.reference(inputs)
    assert set(answer) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(answer[name], value, atol=1e-5)


class _Traced(torch.nn.Module):
    """Asks torch.fx whether it is traced, as some of torch's own classes do."""

    def forward(self, *inputs):
        is_fx_tracing()
        return inputs[0] * 2


def test_a_graph_is_written_without_the_note_of_torch_fx(tmp_path, caplog):
    graph = Graph(
        module=_Traced(), example={"x": torch.ones(2, 3)}, dynamic={"x": ("batch",)}, outputs=("y",)
    )
    is_fx_tracing_warning.cache_clear()  # torch says it once in a process
    _assert_parity(graph, {"x": np.ones((3, 3), np.float32)}, tmp_path / "graph.onnx")
    assert is_fx_tracing_warning.cache_info().currsize == 1
    assert "is_fx_tracing" not in caplog.text
    is_fx_tracing_warning.cache_clear()
    is_fx_tracing()
    assert "is_fx_tracing will return true" in caplog.text, "outside of the exporter it is said"


# The walk exports a fitted system with attention every day.
@pytest.mark.parametrize(
    "fusion",
    [
        pytest.param("attention", marks=pytest.mark.long),
        "gated",
        pytest.param("mean", marks=pytest.mark.long),
    ],
)
def test_every_fusion_trains_and_is_exported(fusion, tmp_path):
    data, settings = log(), config(model={"item": {"fusion": fusion}}, train={"epochs": 4})
    fitted = fit_split(data, media(data), make_split(data, settings.split), settings)
    losses = [entry["loss"] for entry in fitted.retriever.curve]
    assert losses[-1] < losses[0]
    if fusion != "attention":  # user tower and ranker do not depend on the fusion
        model = fitted.retriever.model.eval()
        inputs = item_graph_inputs(model, np.arange(2, model.features.size))
        _assert_parity(item_graph(model), inputs, tmp_path / "item.onnx")
        vectors = OnnxSession(tmp_path / "item.onnx").run(inputs)["item_vector"]
        np.testing.assert_allclose(vectors, model.item_arrays().vectors[2:], atol=1e-5)
        return
    graphs = graphs_of(fitted)
    assert list(graphs)[:2] == ["item_tower", "user_tower"]
    for name, graph in graphs.items():
        write(name, graph, tmp_path)
        parity, _ = checked(name, graph, tmp_path)
        assert {each.partition(".")[0] for each in parity} == {name}
        check_parity(parity)


def test_item_tower_with_a_head_for_new_items(tmp_path, monkeypatch):
    """A narrow and a wide category field, landmarks, and a popularity pull; the last 30 items are cold."""
    monkeypatch.setattr("recsys.models.cold_start_head.MAX_VALUES", 5)
    torch.manual_seed(0)
    features = tiny_features(num_items=120, num_cold=30)
    features.categories["kind"] = np.clip(features.categories["genres"], 0, 3)
    features.category_ids["kind"] = IdMap(["a", "b"])
    model = Retriever(features, tiny_schema(), ModelConfig(dim=16)).eval()
    head = fit_content_regression(model, None, ridge_alpha=3.0, popularity_pull=2.0).head
    assert (head.narrow, head.wide, len(head.landmark_MW)) == (("kind",), ("genres",), 90 // 8)
    before = model.item_arrays().vectors
    model.cold_start_head = head.eval()
    inputs = item_graph_inputs(model, np.arange(2, 122))
    _assert_parity(item_graph(model), inputs, tmp_path / "item.onnx")
    vectors = OnnxSession(tmp_path / "item.onnx").run(inputs)["item_vector"]
    np.testing.assert_allclose(vectors, model.item_arrays().vectors[2:], atol=1e-5)
    np.testing.assert_allclose(vectors[:90], before[2:92], atol=1e-5)
    assert np.abs(vectors[90:] - before[92:]).max() > 0.1


@pytest.mark.parametrize(
    ("attention", "feed_forward", "num_blocks"),
    [pytest.param("softmax", True, 2, marks=pytest.mark.long), ("pointwise", False, 1)],
)
def test_user_tower_with_other_sizes_than_the_example(attention, feed_forward, num_blocks, tmp_path):
    torch.manual_seed(0)
    user = UserTowerConfig(attention=attention, feed_forward=feed_forward, num_blocks=num_blocks)
    model = Retriever(tiny_features(), tiny_schema(), ModelConfig(dim=16, user=user)).eval()
    for parameter in model.user_tower.blocks[0].bias.parameters():
        torch.nn.init.normal_(parameter)
    path = tmp_path / "user.onnx"
    _assert_parity(user_graph(model), user_example(model.schema, 16, num_users=7, length=5, seed=2), path)
    for num_users, length in ((1, 1), (2, 8)):
        inputs = user_example(model.schema, 16, num_users=num_users, length=length, seed=3)
        answer = OnnxSession(path).run(inputs)["user_vector"]
        np.testing.assert_allclose(answer, user_graph(model).reference(inputs)["user_vector"], atol=1e-5)


@pytest.mark.long
def test_user_tower_with_every_part_of_an_event_switched_off(tmp_path):
    off = dict.fromkeys(("use_kind", "use_value", "use_time", "use_position"), False)
    config = ModelConfig(dim=16, user=UserTowerConfig(num_blocks=1, **off))
    model = Retriever(tiny_features(), tiny_schema(), config).eval()
    inputs = user_example(model.schema, 16, num_users=3, length=5, seed=2)
    _assert_parity(user_graph(model), inputs, tmp_path / "user.onnx")


@pytest.mark.long
def test_ranker(tmp_path):
    torch.manual_seed(0)
    ranker = Ranker(
        dim=16,
        config=RankerConfig(history_length=6),
        num_sources=len(BUILTIN_SOURCES),
        num_context=len(CONTEXT),
    )
    torch.nn.init.normal_(ranker.head[-1].weight)
    graph = ranker_graph(ScaledRanker(ranker, 0.5).eval(), dim=16, num_tokens=4)
    inputs = ranker_example(dim=16, num_tokens=4, past=6, num_users=5, num_candidates=9, seed=3)
    _assert_parity(graph, inputs, tmp_path / "ranker.onnx")
    assert np.abs(graph.reference(inputs)["score"]).max() > 0.01


class _Scaled(torch.nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = torch.nn.Parameter(torch.tensor(factor))

    def forward(self, *inputs):
        return inputs[0] * self.factor


def _scaled(factor):
    graph = Graph(
        module=_Scaled(factor), example={"x": torch.ones(2, 3)}, dynamic={"x": ("batch",)}, outputs=("y",)
    )
    return graph, {"x": np.ones((3, 3), np.float32)}


@pytest.mark.parametrize(("process", "num_here"), [(None, 2), ("true", 0), ("false", 2)])
def test_graphs_are_written_beside_and_else_here(process, num_here, tmp_path, monkeypatch):
    """Without a process, with one, and with one that fails after a file; a call replaces its program."""
    here = []

    def write_a_file(graph, path):
        path.write_bytes(repr(graph.module.factor.item()).encode())
        here.append(path.parent == tmp_path)

    def start(kept, made):
        graph_files.write_kept(Path(kept), Path(made))
        return subprocess.Popen([process])

    monkeypatch.setattr(graph_files, "_start", start)
    monkeypatch.setattr(graph_files, "write_graph", write_a_file)
    graphs = {"one": _scaled(2.0), "two": _scaled(3.0)}
    with graph_files.written_beside(graphs, tmp_path, in_background=process is not None) as wait:
        wait()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "one.onnx": "2.0",
        "two.onnx": "3.0",
    }
    assert sum(here) == num_here


def test_an_error_here_ends_the_process(tmp_path, monkeypatch):
    started = []

    def start(*_):
        started.append(subprocess.Popen(["sleep", "60"]))
        return started[0]

    monkeypatch.setattr(graph_files, "_start", start)
    with (
        pytest.raises(KeyError),
        graph_files.written_beside({"one": _scaled(2.0)}, tmp_path, in_background=True),
    ):
        raise KeyError
    assert started[0].poll() is not None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
def test_the_process_writes_what_this_one_would(tmp_path, monkeypatch):
    graph, inputs = (
        user_graph(Retriever(tiny_features(), tiny_schema(), ModelConfig(dim=16)).eval()),
        user_example(tiny_schema(), 16, num_users=3, length=5),
    )
    monkeypatch.setattr(graph_files, "_write_missing", lambda *_: None)
    with graph_files.written_beside({"user_tower": (graph, inputs)}, tmp_path, in_background=True) as wait:
        wait()
    assert [path.name for path in tmp_path.iterdir()] == ["user_tower.onnx"]
    parity, _ = graph_files.checked("user_tower", (graph, inputs), tmp_path)
    check_parity(parity)
