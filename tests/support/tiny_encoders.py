"""Encoder directories of a few bytes whose vectors can be computed by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from features.encoders.encoder import GRAPH_FILE, TOKENIZER_FILE, write_spec
from features.media.decode import SAMPLE_RATE

WORDS = ("[PAD]", "[UNK]", "red", "green", "blue", "shirt", "shoe")
MAX_TOKENS = 6
SIDE = 8


def write_tiny_text(directory: Path, name: str = "tiny-text") -> Path:
    """Vector of a text: the sum of its token ids (place in WORDS), and the number of its tokens."""
    ids, mask = (
        _input("input_ids", TensorProto.INT64, ["b", "l"]),
        _input("attention_mask", TensorProto.INT64, ["b", "l"]),
    )
    nodes = [
        helper.make_node("Mul", ["input_ids", "attention_mask"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "axis"], ["sum"], keepdims=1),
        helper.make_node("ReduceSum", ["attention_mask", "axis"], ["count"], keepdims=1),
        helper.make_node("Concat", ["sum", "count"], ["both"], axis=1),
        helper.make_node("Cast", ["both"], ["vector"], to=TensorProto.FLOAT),
    ]
    _save(directory, nodes, [ids, mask], dim=2, axis=[1])
    tokenizer = Tokenizer(WordLevel({word: at for at, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(directory / TOKENIZER_FILE))
    return _spec(directory, name, "text", 2, {"max_tokens": MAX_TOKENS, "pad_token": "[PAD]"})


def write_tiny_image(directory: Path) -> Path:
    """Vector of a picture: its mean red, green and blue."""
    pixels = _input("pixels", TensorProto.UINT8, ["b", SIDE, SIDE, 3])
    nodes = [
        helper.make_node("Cast", ["pixels"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float", "axis"], ["vector"], keepdims=0),
    ]
    _save(directory, nodes, [pixels], dim=3, axis=[1, 2])
    return _spec(directory, "tiny-image", "image", 3, {"resize": SIDE, "crop": SIDE})


def write_tiny_audio(directory: Path) -> Path:
    """Vector of a clip: the mean of its samples."""
    waveform = _input("waveform", TensorProto.FLOAT, ["b", "s"])
    length = _input("length", TensorProto.INT64, ["b"])
    nodes = [
        helper.make_node("ReduceSum", ["waveform", "axis"], ["sum"], keepdims=1),
        helper.make_node("Cast", ["length"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["float", "axis"], ["column"]),
        helper.make_node("Div", ["sum", "column"], ["vector"]),
    ]
    _save(directory, nodes, [waveform, length], dim=1, axis=[1])
    return _spec(
        directory, "tiny-audio", "audio", 1, {"sample_rate": SAMPLE_RATE, "max_samples": 30 * SAMPLE_RATE}
    )


def _input(name: str, kind: int, shape: list[Any]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def _save(directory: Path, nodes: list[Any], inputs: list[Any], dim: int, axis: list[int]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    output = helper.make_tensor_value_info("vector", TensorProto.FLOAT, ["b", dim])
    axes = numpy_helper.from_array(np.array(axis, np.int64), "axis")
    graph = helper.make_graph(nodes, "tiny", inputs, [output], [axes])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    onnx.save(model, directory / GRAPH_FILE)


def _spec(directory: Path, name: str, kind: Any, dim: int, preprocessing: dict[str, Any]) -> Path:
    source = {"package": "none", "revision": "0"}
    write_spec(
        directory, name=name, kind=kind, dim=dim, source=source, preprocessing=preprocessing, parity={}
    )
    return directory
