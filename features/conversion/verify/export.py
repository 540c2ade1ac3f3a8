"""Exports a torch module to `model.onnx`, without metadata of the exporter, and compares both."""

import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from features.encoders import GRAPH_FILE
from recsys.errors import EncoderError
from recsys.onnx import OnnxSession
from recsys.progress import without_tracing_note

OPSET = 18
MAX_INLINE_BYTES = 1_900_000_000  # a protobuf ends at 2 GB
Inputs = Mapping[str, torch.Tensor]


def export_graph(
    module: torch.nn.Module,
    directory: Path,
    *,
    example: Inputs,
    dynamic_shapes: Mapping[str, Mapping[int, Any]],
    checks: Sequence[Inputs],
    tolerance: float,
) -> float:
    """Write `module` as `model.onnx` with the one output `vector`; returns what `check_parity` returns.

    Raises `EncoderError` if for any of `checks` max |graph - module| > tolerance * max |module|.
    """
    module.eval()
    path = directory / GRAPH_FILE
    with torch.no_grad(), without_tracing_note(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside the exporter
        for name in ("torch.onnx", "onnxscript"):
            logging.getLogger(name).setLevel(logging.ERROR)
        program = torch.onnx.export(
            module,
            kwargs=dict(example),
            input_names=list(example),
            output_names=["vector"],
            dynamic_shapes=dict(dynamic_shapes),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    save_stripped(program.model_proto, path)
    return check_parity(module, path, checks, tolerance)


def save_stripped(model: onnx.ModelProto, path: Path) -> None:
    """Save without the exporter's metadata, which has paths and stack traces of this machine.

    Weights larger than `MAX_INLINE_BYTES` are written to a second file beside it.
    """
    graph = model.graph
    for holder in [model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info]:
        holder.ClearField("metadata_props")
        holder.ClearField("doc_string")
    for function in model.functions:
        function.ClearField("metadata_props")
        for node in function.node:
            node.ClearField("metadata_props")
            node.ClearField("doc_string")
    large = sum(len(tensor.raw_data) for tensor in graph.initializer) > MAX_INLINE_BYTES
    onnx.save(model, path, save_as_external_data=large, location=f"{path.name}.data" if large else None)


def check_parity(module: torch.nn.Module, path: Path, checks: Sequence[Inputs], tolerance: float) -> float:
    """The maximum over `checks` of max |graph - module| / max |module|."""
    session = OnnxSession(path)
    worst = 0.0
    for inputs in checks:
        with torch.no_grad():
            expected = module(**inputs).numpy()
        found = session.run({name: value.numpy() for name, value in inputs.items()})["vector"]
        difference = float(np.abs(found - expected).max() / np.abs(expected).max())
        if not difference <= tolerance:
            raise EncoderError(
                f"{path.name} differs from torch by {difference:.2e} of the largest value, "
                f"more than {tolerance:.0e}"
            )
        worst = max(worst, difference)
    return worst
