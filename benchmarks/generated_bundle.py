"""A bundle of any size without a training: graphs of the default sizes with random weights, random arrays.

Item vectors are drawn around random centres, so that an index finds neighbours; the default candidate sources
have random factors and neighbours. The time of an answer depends on the sizes of these, not on their values.
"""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from recsys.arrays import Floats, unit
from recsys.bundle import Bundle, write_bundle
from recsys.config import Config
from recsys.history import SequenceSchema
from recsys.ids import NUM_RESERVED, IdMap
from recsys.item_features import ItemFeatures
from recsys.models import Ranker, Retriever
from recsys.retrieval import (
    BUILTIN_SOURCES,
    CONTEXT,
    CandidateSource,
    ExactIndex,
    FactorSource,
    ItemNeighborSource,
    PopularitySource,
    save_sources,
)
from training.export.graphs import ranker_graph, user_graph
from training.onnx_graph import write_graph
from training.ranker import ScaledRanker

MODALITIES = ("title", "text", "image", "categories", "id")
NUM_CENTRES, SPREAD = 1000, 0.6
SHARE_COLD = 0.02
SCHEMA = SequenceSchema(
    max_length=100,
    has_clock=True,
    num_event_kinds=4,
    number_scales={"value": (3.0, 1.0)},
    review_text_dim=0,
    review_audio_dim=0,
    profile_sizes={},
)


def item_names(num_items: int) -> list[str]:
    return [f"item-{at}" for at in range(num_items)]


def generate_bundle(path: Path, *, num_items: int, num_candidates: int = 200, seed: int = 0) -> Bundle:
    """A bundle whose ranker orders `num_candidates` candidates of each list, sources included."""
    config = Config().model

    def fill(directory: Path) -> dict[str, Any]:
        rng = np.random.default_rng(seed)
        write_graphs(directory, seed)
        names = item_names(num_items)
        IdMap(names).save(directory / "item_ids.npy")
        size = num_items + NUM_RESERVED
        real_N = np.arange(size) >= NUM_RESERVED
        trained_N = real_N & (rng.random(size) >= SHARE_COLD)
        np.save(directory / "item_vectors.npy", clustered(size, config.dim, rng) * real_N[:, None])
        tokens = np.empty((size, len(MODALITIES), config.dim), np.float16)
        for at in range(len(MODALITIES)):
            tokens[:, at] = rng.standard_normal((size, config.dim), np.float32)
        np.save(directory / "item_tokens.npy", tokens)
        np.save(directory / "token_mask.npy", np.repeat(real_N[:, None], len(MODALITIES), 1))
        popularity = np.maximum(1, 10_000 / (1 + rng.permutation(size))).astype(np.int64) * trained_N
        pl.DataFrame(
            {
                "item_id": names,
                "title": [f"Title of {name}" for name in names],
                "cat:genre": [[f"genre{at % 20}"] for at in range(num_items)],
                "popularity": popularity[NUM_RESERVED:],
                "trained": trained_N[NUM_RESERVED:],
            }
        ).write_parquet(directory / "catalogue.parquet")
        (directory / "maps.json").write_text('{"events": ["view", "buy"], "profile": {}}', "utf-8")
        save_sources(make_sources(popularity, trained_N, rng), directory / "sources")
        num_others = len(config.ranker.sources) * config.ranker.source_candidates
        return {
            "config": {},
            "dataset": {"name": "generated", "fingerprint": str(seed)},
            "refit": False,
            "refit_description": "",
            "metrics": {},
            "sequence_schema": SCHEMA,
            "modalities": list(MODALITIES),
            "graphs": {},
            "recommender": {
                "temperature": config.temperature,
                "num_candidates": num_candidates - num_others,
                "source_candidates": config.ranker.source_candidates,
                "history_length": config.ranker.history_length,
            },
            "parity": {},
        }

    return write_bundle(path, fill)


def write_graphs(directory: Path, seed: int) -> None:
    """User tower and ranker of the default configuration; they do not depend on the number of items."""
    config = Config().model
    torch.manual_seed(seed)
    model = Retriever(_few_items(), SCHEMA, config).eval()
    write_graph(user_graph(model), directory / "user_tower.onnx")
    ranker = Ranker(
        dim=config.dim,
        config=config.ranker,
        num_sources=len(BUILTIN_SOURCES) + len(config.ranker.sources),
        num_context=len(CONTEXT),
    )
    torch.nn.init.normal_(ranker.head[-1].weight)
    graph = ranker_graph(ScaledRanker(ranker, 0.5).eval(), dim=config.dim, num_tokens=len(MODALITIES))
    write_graph(graph, directory / "ranker.onnx")


def clustered(num: int, dim: int, rng: np.random.Generator) -> Floats:
    """Unit vectors around random centres [num, dim]."""
    centres = unit(rng.standard_normal((NUM_CENTRES, dim), np.float32))
    noise = rng.standard_normal((num, dim), np.float32) * (SPREAD / np.sqrt(dim))
    vectors: Floats = unit(centres[rng.integers(0, NUM_CENTRES, num)] + noise.astype(np.float32))
    return vectors


def make_sources(
    popularity: np.ndarray, trained_N: np.ndarray, rng: np.random.Generator
) -> list[CandidateSource]:
    """The default sources beside the retriever, in the order of the configuration."""
    sources, size = Config().sources, len(trained_N)
    factors = rng.standard_normal((size, sources.als.factors), np.float32) * trained_N[:, None]
    made: list[CandidateSource] = []
    for name in Config().model.ranker.sources:
        if name == "als":
            made.append(
                FactorSource(
                    name=name,
                    index=ExactIndex.build(factors),
                    regularization=sources.als.regularization,
                    alpha=sources.als.alpha,
                )
            )
        elif name == "popularity":
            score = (popularity / popularity.max()).astype(np.float32)
            made.append(PopularitySource(name=name, score=score))
        else:
            num = getattr(sources, name).neighbors
            warm = np.flatnonzero(trained_N)
            neighbor = warm[rng.integers(0, len(warm), (size, num))].astype(np.int32)
            weight = np.sort(rng.random((size, num), np.float32))[:, ::-1]
            decay = sources.transitions.event_decay if name == "transitions" else 1.0
            made.append(ItemNeighborSource(name=name, neighbor=neighbor, weight=weight, decay=decay))
    return made


def _few_items() -> ItemFeatures:
    """Items for the retriever's module, whose user tower alone is exported."""
    num, rng = 30, np.random.default_rng(0)
    ids = IdMap(item_names(num))
    real = np.arange(ids.size) >= NUM_RESERVED
    return ItemFeatures(
        item_ids=ids,
        dense={"text": rng.standard_normal((ids.size, 8)).astype(np.float32) * real[:, None]},
        present={"text": real},
        categories={},
        category_ids={},
        trained=real,
        popularity=real.astype(np.float32),
    )
