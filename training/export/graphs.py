"""The three ONNX graphs of a bundle.

torch.onnx needs positional tensor arguments. The wrapper modules of this file take them and call the models.
TorchRec's tables cannot be exported: rows of the id table become inputs, category tables become gathers.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from recsys.history import REVIEW_FIELDS, SequenceSchema
from recsys.models import Retriever, export_categories, replace_cold
from recsys.retrieval import BUILTIN_SOURCES, CONTEXT
from training.onnx_graph import Arrays, Graph
from training.ranker import INPUTS as RANKER_INPUTS
from training.ranker import OUTPUTS as RANKER_OUTPUTS
from training.ranker import ScaledRanker

BATCH, LENGTH, CANDIDATES, PAST = "batch", "length", "candidates", "past"


class _ItemGraph(nn.Module):
    def __init__(self, model: Retriever) -> None:
        super().__init__()
        self.tower, self.scale, self.spec = model.item_tower, model.scale, model.spec
        tables = export_categories(model.category) if model.category is not None else {}
        self.tables = nn.ModuleDict(tables)
        self.cold_start_head = model.cold_start_head

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        values = dict(zip(item_inputs(self.spec), inputs, strict=True))
        dense = {
            name: (scale(values[f"dense_{name}"]), values[f"has_{name}"])
            for name, scale in self.scale.items()
        }
        category = {
            name: (table(values[f"cat_{name}"]), (values[f"cat_{name}"] > 0).any(1))
            for name, table in self.tables.items()
        }
        identity = (values["id_embedding"], values["has_id"]) if self.spec.has_id else None
        output = self.tower(dense, category, identity)
        vector_ND = output.vector_ND
        if self.cold_start_head is not None and identity is not None:
            ids = {name: values[f"cat_{name}"] for name in self.tables}
            vector_ND = replace_cold(vector_ND, self.cold_start_head(dense, ids, vector_ND), identity[1])
        return vector_ND, output.token_NTD, output.mask_NT


def item_inputs(spec: Any) -> list[str]:
    """Input names of the item tower's graph."""
    names = [name for modality in spec.dense_dims for name in (f"dense_{modality}", f"has_{modality}")]
    names += [f"cat_{field}" for field in spec.category_sizes]
    return names + (["id_embedding", "has_id"] if spec.has_id else [])


def item_graph(model: Retriever) -> Graph:
    """The item tower; its input `id_embedding` has rows of the table that lies beside the graph."""
    rows = torch.arange(min(model.features.size, 5))
    return Graph(
        module=_ItemGraph(model),
        example={
            name: torch.from_numpy(array) for name, array in item_graph_inputs(model, rows.numpy()).items()
        },
        dynamic=dict.fromkeys(item_inputs(model.spec), (BATCH,)),
        outputs=("item_vector", "tokens", "token_mask"),
    )


def item_graph_inputs(model: Retriever, rows: npt.NDArray[np.int64]) -> Arrays:
    """The inputs of the item tower's graph for rows of the catalogue."""
    features, spec = model.features, model.spec
    inputs: Arrays = dict(features.graph_inputs(rows))
    if spec.has_id:
        assert model.item_id is not None
        table = model.item_id.weight.detach().cpu().numpy()
        inputs["id_embedding"] = table[features.id_rows()[rows]]
        inputs["has_id"] = features.trained[rows]
    return {name: inputs[name] for name in item_inputs(spec)}


class _UserGraph(nn.Module):
    def __init__(self, model: Retriever) -> None:
        super().__init__()
        self.tower, self.names = model.user_tower, user_inputs(model.schema)

    def forward(self, *inputs: Tensor) -> Tensor:
        values = dict(zip(self.names, inputs, strict=True))
        vector_BD: Tensor = self.tower(values["event_vector"], values, values["length"])
        return vector_BD


def user_inputs(schema: SequenceSchema) -> list[str]:
    """Input names of the user tower's graph."""
    names = ["event_vector", "event_kind", "event_time"]
    names += [name for number in schema.number_scales for name in (f"event_{number}", f"has_{number}")]
    for name in REVIEW_FIELDS:
        names += [name, f"has_{name}"] if getattr(schema, f"{name}_dim") else []
    return [*names, *(f"profile_{name}" for name in schema.profile_sizes), "length"]


def user_graph(model: Retriever) -> Graph:
    """The user tower, from events to user vectors."""
    example = user_example(
        model.schema, model.config.dim, num_users=3, length=min(4, model.schema.max_length)
    )
    dynamic = {name: (BATCH,) if example[name].ndim == 1 else (BATCH, LENGTH) for name in example}
    dynamic |= {name: (BATCH,) for name in example if name.startswith("profile_")}
    if model.schema.max_length == 1:
        dynamic = dict.fromkeys(example, (BATCH,))
    return Graph(
        module=_UserGraph(model),
        example={name: torch.from_numpy(array) for name, array in example.items()},
        dynamic=dynamic,
        outputs=("user_vector",),
    )


def user_example(schema: SequenceSchema, dim: int, *, num_users: int, length: int, seed: int = 0) -> Arrays:
    """Random inputs of the user tower, with histories of 0 to `length` events."""
    rng = np.random.default_rng(seed)
    shape = (num_users, length)
    vector = rng.standard_normal((*shape, dim)).astype(np.float32)
    values: Arrays = {
        "event_vector": vector / np.linalg.norm(vector, axis=-1, keepdims=True),
        "event_kind": rng.integers(1, schema.num_event_kinds, shape),
        "event_time": np.sort(rng.integers(0, 10**7, shape), axis=1) * int(schema.has_clock),
    }
    for name in schema.number_scales:
        values[f"event_{name}"] = rng.standard_normal(shape).astype(np.float32)
        values[f"has_{name}"] = rng.random(shape) < 0.5
    values["length"] = rng.integers(0, length + 1, num_users)
    for name in REVIEW_FIELDS:
        if width := getattr(schema, f"{name}_dim"):
            values[name] = rng.standard_normal((*shape, width)).astype(np.float32)
            values[f"has_{name}"] = rng.random(shape) < 0.5
    for name, size in schema.profile_sizes.items():
        values[f"profile_{name}"] = rng.integers(0, size, (num_users, schema.profile_width))
    return {name: values[name] for name in user_inputs(schema)}


def ranker_graph(ranker: ScaledRanker, *, dim: int, num_tokens: int) -> Graph:
    """The ranker; its output is multiplied by the blend weight."""
    past = ranker.ranker.history_length
    example = ranker_example(dim=dim, num_tokens=num_tokens, past=past, num_sources=ranker.ranker.num_sources)
    dynamic: dict[str, tuple[str, ...]] = dict.fromkeys(RANKER_INPUTS, (BATCH, CANDIDATES))
    # The length of the history is fixed, because the ranker's recency bias is indexed from its end.
    dynamic |= {"user_vector": (BATCH,), "history_vector": (BATCH,), "history_mask": (BATCH,)}
    return Graph(
        module=_RankerGraph(ranker),
        example={name: torch.from_numpy(array) for name, array in example.items()},
        dynamic=dynamic,
        outputs=RANKER_OUTPUTS,
    )


class _RankerGraph(nn.Module):
    def __init__(self, ranker: ScaledRanker) -> None:
        super().__init__()
        self.ranker = ranker

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        answer: tuple[Tensor, Tensor, Tensor] = self.ranker(*inputs)
        return answer


def ranker_example(
    *,
    dim: int,
    num_tokens: int,
    past: int,
    num_users: int = 3,
    num_candidates: int = 4,
    num_sources: int = len(BUILTIN_SOURCES),
    seed: int = 0,
) -> Arrays:
    """Random inputs of the ranker."""
    rng = np.random.default_rng(seed)
    lists = (num_users, num_candidates)
    shapes = {
        "user_vector": (num_users, dim),
        "history_vector": (num_users, past, dim),
        "candidate_vector": (*lists, dim),
        "candidate_tokens": (*lists, num_tokens, dim),
        "source_scores": (*lists, num_sources),
        "source_ranks": (*lists, num_sources),
        "candidate_context": (*lists, len(CONTEXT)),
    }
    values: Arrays = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    values["history_mask"] = rng.random((num_users, past)) < 0.7
    values["candidate_token_mask"] = rng.random((*lists, num_tokens)) < 0.7
    return {name: values[name] for name in RANKER_INPUTS}
