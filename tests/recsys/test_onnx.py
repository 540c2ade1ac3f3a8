"""OnnxSession: names and types are checked; the session runs on the requested device."""

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, save

from recsys.errors import ProviderError, RequestError
from recsys.onnx import OnnxSession, provider_options

HAS_GPU = Path("/dev/nvidiactl").exists()


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    """y = a @ b with b a [2, 3] input and a dynamic batch."""
    a = helper.make_tensor_value_info("a", TensorProto.FLOAT, ["batch", 2])
    b = helper.make_tensor_value_info("b", TensorProto.FLOAT, [2, 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])
    body = helper.make_graph([helper.make_node("MatMul", ["a", "b"], ["y"])], "g", [a, b], [y])
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    save(model, tmp_path / "g.onnx")
    return tmp_path / "g.onnx"


def inputs(batch: int = 4) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "a": rng.normal(size=(batch, 2)).astype(np.float32),
        "b": rng.normal(size=(2, 3)).astype(np.float32),
    }


@pytest.mark.parametrize("batch", [1, 4])
def test_outputs_by_name(graph: Path, batch: int) -> None:
    session = OnnxSession(graph, num_threads=1)
    given = inputs(batch)
    out = session.run(given)
    assert list(out) == ["y"]
    np.testing.assert_allclose(out["y"], given["a"] @ given["b"], rtol=1e-5)
    assert session.input_names == ("a", "b")
    assert session.output_names == ("y",)
    assert session.providers == ("CPUExecutionProvider",)


def test_unknown_input_names_the_nearest(graph: Path) -> None:
    with pytest.raises(RequestError, match=r"aa: g\.onnx has no such input; did you mean 'a'"):
        OnnxSession(graph).run({"aa": inputs()["a"], **inputs()})


def test_missing_input(graph: Path) -> None:
    with pytest.raises(RequestError, match=r"b: g\.onnx needs this input"):
        OnnxSession(graph).run({"a": inputs()["a"]})


def test_wrong_dtype(graph: Path) -> None:
    given = inputs() | {"a": np.zeros((4, 2))}
    with pytest.raises(RequestError, match=r"a: g\.onnx takes float32, not float64"):
        OnnxSession(graph).run(given)


@pytest.mark.parametrize("shape", [(4, 3), (4,)])
def test_wrong_shape(graph: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(RequestError, match=r"a: g\.onnx takes shape"):
        OnnxSession(graph).run(inputs() | {"a": np.zeros(shape, np.float32)})


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.onnx"):
        OnnxSession(tmp_path / "none.onnx")


@pytest.mark.skipif(HAS_GPU, reason="there is a GPU")
def test_cuda_is_refused_without_a_gpu(graph: Path) -> None:
    with pytest.raises(ProviderError, match="CUDAExecutionProvider was asked for, the session runs on"):
        OnnxSession(graph, device="cuda")


@pytest.mark.skipif(not HAS_GPU, reason="there is no GPU")
def test_cuda_runs_on_the_gpu(graph: Path) -> None:
    assert OnnxSession(graph, device="cuda").providers[0] == "CUDAExecutionProvider"


def test_products_on_cuda_are_whole_float32_unless_less_is_allowed() -> None:
    cpu = ("CPUExecutionProvider", {})
    assert provider_options("cuda", tf32=False) == [("CUDAExecutionProvider", {"use_tf32": "0"}), cpu]
    assert provider_options("cuda", tf32=True) == [("CUDAExecutionProvider", {"use_tf32": "1"}), cpu]
    assert provider_options("cpu", tf32=True) == [cpu]


def test_unknown_device(graph: Path) -> None:
    with pytest.raises(ProviderError, match="unknown device 'cud'; did you mean 'cuda'"):
        OnnxSession(graph, device="cud")  # type: ignore[arg-type]


def test_inputs_on_the_device_give_what_inputs_in_host_memory_give(graph: Path) -> None:
    session, given = OnnxSession(graph, num_threads=1), inputs()
    assert session.ran_on is None
    placed = {name: session.placed(array) for name, array in given.items()}
    for _ in range(2):  # placed once, read twice
        (found,) = session.run_bound(placed)
        assert session.ran_on == "cpu"  # as the outputs say
        np.testing.assert_array_equal(found, session.run(given)["y"])
