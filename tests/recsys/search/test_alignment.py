"""Heads in ONNX graphs: what is refused."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from recsys.errors import BundleError, RequestError
from recsys.search import INPUT, OUTPUT, OnnxHeads


def write_head(path: Path, weight: np.ndarray, *, output: str = OUTPUT) -> None:
    """A head without normalisation: vector @ weight."""
    nodes = [helper.make_node("MatMul", [INPUT, "weight"], [output])]
    given = helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["b", weight.shape[0]])
    made = helper.make_tensor_value_info(output, TensorProto.FLOAT, ["b", weight.shape[1]])
    table = [numpy_helper.from_array(weight.astype(np.float32), "weight")]
    graph = helper.make_graph(nodes, "head", [given], [made], table)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)


def test_projects_by_kind(tmp_path: Path) -> None:
    write_head(tmp_path / "text.onnx", np.eye(3, 2))
    write_head(tmp_path / "image.onnx", 2 * np.eye(4, 2))
    heads = OnnxHeads.open(tmp_path)
    assert (heads.kinds, heads.dim) == (("text", "image"), 2)
    np.testing.assert_array_equal(heads.project("text", np.float32([[1, 2, 3]])), [[1, 2]])
    np.testing.assert_array_equal(heads.project("image", np.float32([[1, 2, 3, 4]])), [[2, 4]])
    assert heads.project("image", np.empty((0, 4), np.float32)).shape == (0, 2)


def test_a_directory_without_heads(tmp_path: Path) -> None:
    heads = OnnxHeads.open(tmp_path / "none")
    assert (heads.kinds, heads.dim) == ((), 0)
    with pytest.raises(RequestError, match="kind = 'text': this catalogue has no shared space"):
        heads.project("text", np.ones((1, 3), np.float32))


def test_a_kind_without_a_head_is_named(tmp_path: Path) -> None:
    write_head(tmp_path / "text.onnx", np.eye(3, 2))
    with pytest.raises(RequestError, match="kind = 'audio': no alignment head; the shared space has text"):
        OnnxHeads.open(tmp_path).project("audio", np.ones((1, 3), np.float32))


def test_another_width_is_refused(tmp_path: Path) -> None:
    write_head(tmp_path / "text.onnx", np.eye(3, 2))
    with pytest.raises(RequestError, match=r"text\.onnx takes shape \['b', 3\], not \[1, 4\]"):
        OnnxHeads.open(tmp_path).project("text", np.ones((1, 4), np.float32))


def test_heads_of_two_spaces_are_refused(tmp_path: Path) -> None:
    write_head(tmp_path / "text.onnx", np.eye(3, 2))
    write_head(tmp_path / "image.onnx", np.eye(3, 3))
    with pytest.raises(BundleError, match=r"have one width, these have \{'text': 2, 'image': 3"):
        OnnxHeads.open(tmp_path)


def test_another_graph_is_refused(tmp_path: Path) -> None:
    write_head(tmp_path / "text.onnx", np.eye(3, 2), output="vector2")
    with pytest.raises(BundleError, match=r"text\.onnx: not an alignment head of text"):
        OnnxHeads.open(tmp_path)
