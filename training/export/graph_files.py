"""The graph files of a bundle, each compared with torch.

An export is one thread of Python code for several seconds, so where two threads are allowed all graphs but
the item tower are exported by a process of their own, while this one goes on with what the item tower gives.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import torch

from recsys.ids import NUM_RESERVED
from recsys.onnx import OnnxSession
from training.export.graphs import (
    item_graph,
    item_graph_inputs,
    ranker_example,
    ranker_graph,
    user_example,
    user_graph,
)
from training.fitting import Fitted
from training.onnx_graph import Graph, differences, write_graph

ITEM_TOWER: Final = "item_tower"
GraphInputs = tuple[Graph, Mapping[str, Any]]  # a graph, and inputs on which it is compared with torch
Checked = tuple[dict[str, float], dict[str, Any]]  # largest differences by output, and the signature

# `-P` and PYTHONPATH: the packages of this process, and no folder of the working directory in their place.
_PROGRAM = """
import sys
from pathlib import Path
from training.export.graph_files import write_kept
write_kept(Path(sys.argv[1]), Path(sys.argv[2]))
"""


def graphs_of(fitted: Fitted) -> dict[str, GraphInputs]:
    """The graphs of `fitted` by name, the item tower first."""
    model = fitted.retriever.model.cpu()  # graphs are written and verified on the CPU
    rows = np.arange(NUM_RESERVED, min(model.features.size, 500), dtype=np.int64)
    length = min(model.schema.max_length, 17)
    graphs: dict[str, GraphInputs] = {
        ITEM_TOWER: (item_graph(model), item_graph_inputs(model, rows)),
        "user_tower": (
            user_graph(model),
            user_example(model.schema, model.config.dim, num_users=9, length=length, seed=1),
        ),
    }
    if fitted.ranker is not None and fitted.ranker.is_used:
        module, num_tokens = fitted.ranker.module.cpu(), len(model.spec.token_names)
        past = module.ranker.history_length
        graphs["ranker"] = (
            ranker_graph(module, dim=model.config.dim, num_tokens=num_tokens),
            ranker_example(
                dim=model.config.dim,
                num_tokens=num_tokens,
                past=past,
                num_users=5,
                num_candidates=11,
                num_sources=module.ranker.num_sources,
                seed=1,
            ),
        )
    return graphs


def checked(name: str, graph: GraphInputs, directory: Path) -> Checked:
    """The largest difference of each output of the file of `graph` to torch, and its signature."""
    described, inputs = graph
    session = OnnxSession(_file(directory, name))
    found = session.run(inputs)
    parity = differences(found, described.reference(inputs))
    signature = {
        "inputs": {
            key: {"dtype": str(session.input_dtypes[key]), "shape": session.input_shapes[key]}
            for key in session.input_names
        },
        "outputs": {
            key: {"dtype": str(found[key].dtype), "shape": session.output_shapes[key]}
            for key in session.output_names
        },
    }
    return {f"{name}.{key}": value for key, value in parity.items()}, signature


def all_checked(graphs: Mapping[str, GraphInputs], directory: Path) -> Checked:
    """The differences of all files, and the signature of each graph by name."""
    parity: dict[str, float] = {}
    signatures: dict[str, Any] = {}
    for name, graph in graphs.items():
        found, signatures[name] = checked(name, graph, directory)
        parity |= found
    return parity, signatures


def write(name: str, graph: GraphInputs, directory: Path) -> None:
    """Export the graph to `<name>.onnx`."""
    write_graph(graph[0], _file(directory, name))


@contextmanager
def written_beside(
    graphs: Mapping[str, GraphInputs], directory: Path, *, in_background: bool
) -> Iterator[Callable[[], None]]:
    """Begin to export the graphs; the function waits until their files are in `directory`.

    Without `in_background` it exports them. So it does where the process failed, to raise the error here.
    """
    if not in_background or not graphs:
        yield lambda: _write_missing(graphs, directory)
        return
    with TemporaryDirectory(prefix="recsys-graphs-") as folder:
        kept, made = Path(folder) / "graphs.pt", Path(folder) / "made"
        made.mkdir()
        torch.save({name: graph for name, (graph, _) in graphs.items()}, kept)
        process = _start(str(kept), str(made))

        def wait() -> None:
            if process.wait() == 0:
                for path in made.iterdir():
                    shutil.move(path, directory / path.name)
            _write_missing(graphs, directory)

        try:
            yield wait
        finally:
            process.kill()
            process.wait()


def write_kept(kept: Path, directory: Path) -> None:
    """Export the graphs that `written_beside` has kept in the file `kept`."""
    graphs: dict[str, Graph] = torch.load(kept, weights_only=False)
    for name, graph in graphs.items():
        write_graph(graph, _file(directory, name))


def _write_missing(graphs: Mapping[str, GraphInputs], directory: Path) -> None:
    for name, graph in graphs.items():
        if not _file(directory, name).exists():
            write(name, graph, directory)


def _start(*arguments: str) -> "subprocess.Popen[bytes]":
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    return subprocess.Popen(
        [sys.executable, "-P", "-c", _PROGRAM, *arguments],
        env={**environment, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _file(directory: Path, name: str) -> Path:
    return directory / f"{name}.onnx"
