"""Export of a fitted system as a bundle; results of ONNX Runtime are compared with those of torch."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from features.dataset import Dataset
from recsys.bundle import Bundle, Graphs, compose, write_bundle
from recsys.config import Config
from recsys.errors import BundleError
from recsys.history import History
from recsys.ids import NUM_RESERVED
from recsys.item_features import ItemArrays
from recsys.onnx import OnnxSession
from recsys.progress import Progress, silent
from recsys.retrieval import (
    RecentSource,
    Recommendations,
    Recommender,
    build_index,
    load_cold_ranker,
    load_index,
    load_sources,
    save_cold_ranker,
    save_sources,
)
from recsys.search import SearchSettings
from training.export.catalogue import write_catalogue, write_encoders
from training.export.graph_files import ITEM_TOWER, all_checked, graphs_of, write, written_beside
from training.export.graphs import item_graph_inputs
from training.export.search_part import write_search_part
from training.fitting import Fitted
from training.search import Searchable

TOLERANCE = 1e-4  # largest allowed difference between an output of one graph and torch
# Largest allowed difference of a final score. The ranker reads soft ranks. Their slope is 1 / NEAR = 1,000
# (`candidate_features.NEAR`), so a rounding error of 1e-7 in a cosine becomes 1e-4 of a rank for each
# candidate within that distance.
SCORE_TOLERANCE = 1e-3
MIN_AGREEMENT = 0.999  # share of ranks in top-10 lists that have the same item
AGREEMENT_K = 10
NUM_CHECKED_USERS = 1000
EMBED_ROWS = 1024


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """The origin of the model, for the manifest."""

    dataset_fingerprint: str
    refit: bool
    refit_description: str
    metrics: Mapping[str, Any]  # of the model before the refit


def export_bundle(
    target: Path,
    fitted: Fitted,
    dataset: Dataset,
    config: Config,
    provenance: Provenance,
    check_on: Sequence[History],
    *,
    reviewers: Sequence[str | None] | None = None,
    searchable: Searchable | None = None,
    search_settings: SearchSettings | None = None,
    progress: Progress = silent,
) -> Bundle:
    """Write the bundle of `fitted`; raises `BundleError` where results of the graphs and of torch differ.

    Top-10 lists and scores are compared on the histories `check_on`. `reviewers` has the label of
    `annotate_reviewers` for each item. Without `searchable` the bundle has no search part;
    without `search_settings` these are chosen on the items' descriptions.
    """

    def fill(directory: Path) -> dict[str, Any]:
        graphs = graphs_of(fitted)
        others = {name: graph for name, graph in graphs.items() if name != ITEM_TOWER}
        with written_beside(others, directory, in_background=torch.get_num_threads() > 1) as wait:
            write(ITEM_TOWER, graphs[ITEM_TOWER], directory)
            items = _write_arrays(directory, fitted, config)
            _write_sources(directory, fitted.recommender)
            write_catalogue(directory, dataset, fitted.features, reviewers, items.recent_popularity)
            _write_maps(directory, fitted)
            encoders = write_encoders(directory, fitted.retriever.model.spec.dense_dims, config)
            search: SearchSettings | None = None
            of_heads: dict[str, float] = {}
            if searchable is not None and config.search.enabled:
                search, of_heads = write_search_part(
                    directory, searchable, config, encoders, search_settings, progress=progress
                )
            wait()
        parity, signatures = all_checked(graphs, directory)
        served = _onnx_recommender(directory, items, fitted.recommender)
        parity |= compare(fitted.recommender, served, check_on[:NUM_CHECKED_USERS]) | of_heads
        check_parity(parity)
        return {
            # Without the tracking settings: the address may contain a password.
            "config": config.model_dump(mode="json", exclude={"track"}),
            "dataset": {"name": dataset.name, "fingerprint": provenance.dataset_fingerprint},
            "refit": provenance.refit,
            "refit_description": provenance.refit_description,
            "metrics": provenance.metrics,
            "sequence_schema": fitted.schema,
            "modalities": fitted.retriever.model.spec.token_names,
            "encoders": encoders,
            "graphs": signatures,
            "recommender": fitted.recommender.settings,
            "search": search,
            "parity": parity,
        }

    return write_bundle(target, fill)


def compare(original: Recommender, served: Recommender, histories: Sequence[History]) -> dict[str, float]:
    """Share of equal ranks in top-10 lists, and the largest difference of scores of the same item."""
    equal = ranks = 0
    difference = 0.0
    for start in range(0, len(histories), 256):
        batch = histories[start : start + 256]
        first, second = (each.recommend(batch, AGREEMENT_K) for each in (original, served))
        same = first.items == second.items
        equal, ranks = equal + int(same.sum()), ranks + same.size
        difference = max(difference, _score_difference(first, second))
    return {"top10_agreement": equal / max(ranks, 1), "score_difference": difference}


def check_parity(parity: Mapping[str, float]) -> None:
    """Raise `BundleError` where a result of `compare` or of a graph exceeds its tolerance."""
    for name, value in parity.items():
        if name == "top10_agreement":
            if value < MIN_AGREEMENT:
                raise BundleError(
                    f"top-10 lists of torch and of the graphs agree in {value:.2%} of the ranks, "
                    f"less than {MIN_AGREEMENT:.1%}"
                )
            continue
        tolerance = SCORE_TOLERANCE if name == "score_difference" else TOLERANCE
        if not value <= tolerance:
            raise BundleError(f"{name} differs from torch by {value:.2e}, more than {tolerance:.0e}")


def _score_difference(first: Recommendations, second: Recommendations) -> float:
    same = (first.items == second.items) & (first.items >= NUM_RESERVED)
    return float(np.abs(first.scores[same] - second.scores[same]).max(initial=0.0))


def _write_arrays(directory: Path, fitted: Fitted, config: Config) -> ItemArrays:
    """Write item vectors and tokens computed by the exported item tower, and the index of these vectors."""
    model = fitted.retriever.model
    session = OnnxSession(directory / "item_tower.onnx")
    rows = np.arange(model.features.size, dtype=np.int64)
    parts = [
        session.run(item_graph_inputs(model, rows[start : start + EMBED_ROWS]))
        for start in range(0, len(rows), EMBED_ROWS)
    ]
    vectors = np.concatenate([part["item_vector"] for part in parts]).astype(np.float32)
    tokens = np.concatenate([part["tokens"] for part in parts]).astype(np.float16)
    mask = np.concatenate([part["token_mask"] for part in parts])
    vectors[:NUM_RESERVED], tokens[:NUM_RESERVED], mask[:NUM_RESERVED] = 0.0, 0.0, False
    np.save(directory / "item_vectors.npy", vectors)
    np.save(directory / "item_tokens.npy", tokens)
    np.save(directory / "token_mask.npy", mask)
    if model.item_id is not None:
        np.save(directory / "id_table.npy", model.item_id.weight.detach().cpu().numpy())
    items = ItemArrays(
        vectors=vectors,
        tokens=tokens,
        token_mask=mask,
        trained=model.features.trained,
        popularity=model.features.popularity,
        recent_popularity=model.recent_popularity,
    )
    build_index(config.index.kind, vectors).save(directory / "index")
    return items


def _write_sources(directory: Path, recommender: Recommender) -> None:
    """Write the candidate sources and the cold ranker, where there are any."""
    if recommender.sources:
        # Who asks a bundle asks after all events.
        now = [each.now if isinstance(each, RecentSource) else each for each in recommender.sources]
        save_sources(now, directory / "sources")
    if recommender.cold_ranker is not None:
        save_cold_ranker(recommender.cold_ranker, directory / "cold_ranker")


def _write_maps(directory: Path, fitted: Fitted) -> None:
    maps = {
        "events": list(fitted.maps.kinds.external),
        "profile": {name: list(ids.external) for name, ids in fitted.maps.profiles.items()},
        "categories": {name: list(ids.external) for name, ids in fitted.features.category_ids.items()},
    }
    (directory / "maps.json").write_text(json.dumps(maps, ensure_ascii=False), "utf-8")


def _onnx_recommender(directory: Path, items: ItemArrays, fitted: Recommender) -> Recommender:
    """The recommender that serving composes from the files in `directory`."""
    ranker = directory / "ranker.onnx"
    graphs = Graphs(user_tower=directory / "user_tower.onnx", ranker=ranker if ranker.exists() else None)
    return compose(
        graphs,
        items,
        load_index(directory / "index"),
        schema=fitted.schema,
        settings=fitted.settings,
        sources=load_sources(directory / "sources") if fitted.sources else (),
        cold_ranker=load_cold_ranker(directory / "cold_ranker") if fitted.cold_ranker is not None else None,
    )[0]
