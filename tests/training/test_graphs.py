import numpy as np
import pytest
import torch
from model_parts import tiny_features, tiny_schema

from recsys.candidates import ALWAYS, CONTEXT
from recsys.config import ItemTowerConfig, ModelConfig, RankerConfig, UserTowerConfig
from recsys.models.ranker import Ranker
from recsys.models.retriever import Retriever
from recsys.onnx import OnnxSession
from training.graphs import (
    item_graph,
    item_graph_inputs,
    ranker_example,
    ranker_graph,
    user_example,
    user_graph,
    write_graph,
)
from training.ranker import ScaledRanker


def _assert_parity(graph, inputs, path):
    write_graph(graph, path)
    answer, expected = OnnxSession(path).run(inputs), graph.reference(inputs)
    assert set(answer) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(answer[name], value, atol=1e-5)


@pytest.mark.parametrize("fusion", ["attention", "gated", "mean"])
def test_item_tower(fusion, tmp_path):
    torch.manual_seed(0)
    config = ModelConfig(dim=16, item=ItemTowerConfig(fusion=fusion))
    model = Retriever(tiny_features(), tiny_schema(), config).eval()
    inputs = item_graph_inputs(model, np.arange(2, 32))
    _assert_parity(item_graph(model), inputs, tmp_path / "item.onnx")
    vectors = OnnxSession(tmp_path / "item.onnx").run(inputs)["item_vector"]
    np.testing.assert_allclose(vectors, model.item_arrays().vectors[2:], atol=1e-5)


def test_user_tower_with_other_sizes_than_the_example(tmp_path):
    torch.manual_seed(0)
    model = Retriever(tiny_features(), tiny_schema(), ModelConfig(dim=16)).eval()
    for parameter in model.user_tower.blocks[0].bias.parameters():
        torch.nn.init.normal_(parameter)
    path = tmp_path / "user.onnx"
    _assert_parity(user_graph(model), user_example(model.schema, 16, num_users=7, length=5, seed=2), path)
    for num_users, length in ((1, 1), (2, 8)):
        inputs = user_example(model.schema, 16, num_users=num_users, length=length, seed=3)
        answer = OnnxSession(path).run(inputs)["user_vector"]
        np.testing.assert_allclose(answer, user_graph(model).reference(inputs)["user_vector"], atol=1e-5)


def test_user_tower_with_every_part_of_an_event_switched_off(tmp_path):
    off = dict.fromkeys(("use_kind", "use_value", "use_time", "use_position"), False)
    config = ModelConfig(dim=16, user=UserTowerConfig(num_blocks=1, **off))
    model = Retriever(tiny_features(), tiny_schema(), config).eval()
    inputs = user_example(model.schema, 16, num_users=3, length=5, seed=2)
    _assert_parity(user_graph(model), inputs, tmp_path / "user.onnx")


def test_ranker(tmp_path):
    torch.manual_seed(0)
    ranker = Ranker(
        dim=16, config=RankerConfig(history_length=6), num_sources=len(ALWAYS), num_context=len(CONTEXT)
    )
    torch.nn.init.normal_(ranker.head[-1].weight)
    graph = ranker_graph(ScaledRanker(ranker, 0.5).eval(), dim=16, num_tokens=4)
    inputs = ranker_example(dim=16, num_tokens=4, past=6, num_users=5, num_candidates=9, seed=3)
    _assert_parity(graph, inputs, tmp_path / "ranker.onnx")
    assert np.abs(graph.reference(inputs)["score"]).max() > 0.01
