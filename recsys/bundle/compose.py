"""The served recommender from a bundle's files: what export checks against torch is what serving runs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from recsys.bundle.load import REMEDY, Bundle
from recsys.errors import BundleError, RecsysError, RequestError
from recsys.history import SequenceSchema
from recsys.onnx import OnnxSession
from recsys.retrieval.candidate_features import ItemArrays
from recsys.retrieval.candidate_sources import CandidateSource, load_sources
from recsys.retrieval.index.index import ExactIndex, load_index
from recsys.retrieval.recommender import (
    Arrays,
    Recommender,
    Searchable,
    index_bias,
)

Device = Literal["cpu", "cuda"]
Providers = dict[str, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class Graphs:
    """Where the graphs lie; without a ranker the retriever's order stands."""

    user_tower: Path
    ranker: Path | None


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the manifest fixes beside the graphs and arrays."""

    schema: SequenceSchema
    temperature: float
    cold_bias: float
    cold_from: int
    num_candidates: int
    history_length: int
    source_candidates: int


def compose(
    graphs: Graphs,
    items: ItemArrays,
    index: Searchable,
    settings: Settings,
    *,
    sources: Sequence[CandidateSource] = (),
    device: Device = "cpu",
) -> tuple[Recommender, Providers]:
    """A `Recommender` on the graphs, and the execution providers that each graph runs on.

    Raises `ProviderError` where `device` is not to be had.
    """
    user_tower = _session(graphs.user_tower, device)
    ranker = _session(graphs.ranker, device) if graphs.ranker is not None else None
    embed = _runner(user_tower)
    recommender = Recommender(
        items=items,
        schema=settings.schema,
        embed_users=lambda inputs: embed(inputs)["user_vector"],
        rank=None if ranker is None else _runner(ranker),
        index=index,
        temperature=settings.temperature,
        cold_bias=settings.cold_bias,
        cold_from=settings.cold_from,
        num_candidates=settings.num_candidates,
        history_length=settings.history_length,
        sources=sources,
        source_candidates=settings.source_candidates,
    )
    sessions = {"user_tower": user_tower} | ({} if ranker is None else {"ranker": ranker})
    return recommender, {name: session.providers for name, session in sessions.items()}


def compose_bundle(bundle: Bundle, *, device: Device = "cpu") -> tuple[Recommender, Providers]:
    """`compose` with everything from `bundle`."""
    manifest = bundle.manifest
    user_tower = bundle.graph("user_tower")
    assert user_tower is not None, "a checked bundle has user_tower.onnx"
    items = ItemArrays(
        vectors=np.asarray(bundle.item_vectors),
        tokens=np.asarray(bundle.item_tokens),
        token_mask=np.asarray(bundle.token_mask),
        trained=bundle.trained,
        popularity=bundle.popularity,
    )
    settings = Settings(
        schema=manifest.sequence_schema,
        temperature=manifest.temperature,
        cold_bias=manifest.cold_bias,
        cold_from=manifest.cold_from,
        num_candidates=manifest.num_candidates,
        history_length=manifest.history_length,
        source_candidates=manifest.source_candidates,
    )
    graphs = Graphs(user_tower=user_tower, ranker=bundle.graph("ranker"))
    sources = load_sources(bundle.sources_directory) if bundle.sources_directory else ()
    return compose(graphs, items, _index(bundle, items), settings, sources=sources, device=device)


def _index(bundle: Bundle, items: ItemArrays) -> Searchable:
    if bundle.index_directory is not None:
        return load_index(bundle.index_directory)
    manifest = bundle.manifest
    bias_N = index_bias(items, cold_bias=manifest.cold_bias, temperature=manifest.temperature)
    return ExactIndex.build(items.vectors, bias=bias_N)


def _session(path: Path, device: Device) -> OnnxSession:
    try:
        return OnnxSession(path, device=device)
    except (RecsysError, OSError):
        raise
    except Exception as error:  # ONNX Runtime has a kind of error for every status code
        first_line = str(error).partition("\n")[0]
        raise BundleError(f"{path} cannot be loaded: {first_line}; {REMEDY}") from None


def _runner(session: OnnxSession) -> Callable[[Arrays], Arrays]:
    """Runs the graph on those of the inputs that it reads: the exporter leaves out unused ones."""

    def run(inputs: Arrays) -> Arrays:
        try:
            return session.run({name: inputs[name] for name in session.input_names if name in inputs})
        except RequestError as error:  # no caller's mistake: the bundle's parts do not fit together
            raise BundleError(f"{session.path}: {error}") from error

    return run
