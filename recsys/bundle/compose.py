"""The `Recommender` from the files of a bundle, for serving and for the comparison with torch at export."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from recsys.bundle.load import Bundle
from recsys.bundle.manifest import REMEDY
from recsys.errors import BundleError, RecsysError, RequestError
from recsys.history import SequenceSchema
from recsys.item_features import ItemArrays
from recsys.onnx import OnnxSession
from recsys.retrieval import (
    Arrays,
    CandidateSource,
    ColdRanker,
    ExactIndex,
    Index,
    Recommender,
    RecommenderSettings,
    load_cold_ranker,
    load_index,
    load_sources,
)

Device = Literal["cpu", "cuda"]
Sessions = dict[str, OnnxSession]  # by the name of the graph


@dataclass(frozen=True, kw_only=True)
class Graphs:
    """Paths of the graphs. Without a ranker, lists are in the retriever's order."""

    user_tower: Path
    ranker: Path | None


def compose(
    graphs: Graphs,
    items: ItemArrays,
    index: Index,
    *,
    schema: SequenceSchema,
    settings: RecommenderSettings,
    sources: Sequence[CandidateSource] = (),
    cold_ranker: ColdRanker | None = None,
    device: Device = "cpu",
) -> tuple[Recommender, Sessions]:
    """A `Recommender` on the graphs, and the session of each graph.

    Raises `ProviderError` if `device` is not available.
    """
    user_tower = _session(graphs.user_tower, device)
    ranker = _session(graphs.ranker, device) if graphs.ranker is not None else None
    embed = _runner(user_tower)
    recommender = Recommender(
        items=items,
        schema=schema,
        settings=settings,
        embed_users=lambda inputs: embed(inputs)["user_vector"],
        rank=None if ranker is None else _runner(ranker),
        index=index,
        sources=sources,
        cold_ranker=cold_ranker,
    )
    return recommender, {"user_tower": user_tower} | ({} if ranker is None else {"ranker": ranker})


def compose_bundle(bundle: Bundle, *, device: Device = "cpu") -> tuple[Recommender, Sessions]:
    """`compose` with everything from `bundle`; raises `BundleError` for a bundle of items alone."""
    schema, settings = bundle.sequence_schema, bundle.recommender
    user_tower = bundle.graph("user_tower")
    assert user_tower is not None, "a checked bundle has user_tower.onnx"
    items = item_arrays(bundle)
    graphs = Graphs(user_tower=user_tower, ranker=bundle.graph("ranker"))
    directory, of_cold = bundle.index_directory, bundle.cold_ranker_directory
    return compose(
        graphs,
        items,
        ExactIndex.build(items.vectors) if directory is None else load_index(directory),
        schema=schema,
        settings=settings,
        sources=load_sources(bundle.sources_directory) if bundle.sources_directory else (),
        cold_ranker=load_cold_ranker(of_cold) if of_cold is not None else None,
        device=device,
    )


def item_arrays(bundle: Bundle) -> ItemArrays:
    """The arrays of the bundle's items, of those that `Bundle.with_items` gave it."""
    return ItemArrays(
        vectors=np.asarray(bundle.item_vectors),
        tokens=np.asarray(bundle.item_tokens),
        token_mask=np.asarray(bundle.token_mask),
        trained=bundle.trained,
        popularity=bundle.popularity,
        recent_popularity=bundle.recent_popularity,
    )


def _session(path: Path, device: Device) -> OnnxSession:
    try:
        return OnnxSession(path, device=device)
    except (RecsysError, OSError):
        raise
    except Exception as error:  # ONNX Runtime has a kind of error for every status code
        first_line = str(error).partition("\n")[0]
        raise BundleError(f"{path} cannot be loaded: {first_line}; {REMEDY}") from None


def _runner(session: OnnxSession) -> Callable[[Arrays], Arrays]:
    """A function that runs the graph, without the inputs that the exporter dropped as unused."""

    def run(inputs: Arrays) -> Arrays:
        try:
            return session.run({name: inputs[name] for name in session.input_names if name in inputs})
        except RequestError as error:  # not a mistake of the caller: the bundle's parts do not fit together
            raise BundleError(f"{session.path}: {error}") from error

    return run
