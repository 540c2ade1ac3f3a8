"""Export of one torch module as an ONNX graph with dynamic leading axes.

torch.onnx needs positional tensor arguments.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from recsys.progress import without_tracing_note

Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class Graph:
    """A module with positional inputs, ready to be exported."""

    module: nn.Module
    example: Mapping[str, Tensor]  # input name -> value, in the order of the module's arguments
    dynamic: Mapping[str, tuple[str, ...]]  # input name -> names of its leading dynamic axes
    outputs: Sequence[str]

    def reference(self, inputs: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        """Outputs of the torch module by name."""
        with torch.no_grad():
            answer = self.module(*(torch.from_numpy(inputs[name]) for name in self.example))
        outputs = answer if isinstance(answer, tuple) else (answer,)
        return {name: value.numpy() for name, value in zip(self.outputs, outputs, strict=True)}


def write_graph(graph: Graph, path: Path) -> None:
    """Export `graph` to the one file `path`, with dynamic leading axes."""
    sizes = {name: torch.export.Dim(name) for axes in graph.dynamic.values() for name in axes}
    shapes = tuple(
        {axis: sizes[name] for axis, name in enumerate(graph.dynamic[key])} for key in graph.example
    )
    with without_tracing_note(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own deprecations
        program = torch.onnx.export(
            graph.module.eval(),
            tuple(graph.example.values()),
            dynamo=True,
            dynamic_shapes={"inputs": shapes},
            input_names=list(graph.example),
            output_names=list(graph.outputs),
            verbose=False,
        )
    assert program is not None
    program.save(str(path), external_data=False)


def differences(
    found: Mapping[str, npt.NDArray[Any]], expected: Mapping[str, npt.NDArray[Any]]
) -> dict[str, float]:
    """Output name -> largest absolute difference, of the outputs of ONNX Runtime and of torch."""
    return {
        name: float(np.abs(found[name].astype(np.float64) - value.astype(np.float64)).max(initial=0.0))
        for name, value in expected.items()
    }
