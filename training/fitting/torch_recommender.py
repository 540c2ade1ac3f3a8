"""The recommender of a fit, from torch modules: evaluation asks it, and export holds a bundle against it."""

from collections.abc import Sequence

from recsys.config import Config
from recsys.models.retriever import Retriever
from recsys.retrieval.candidate_features import ItemArrays
from recsys.retrieval.candidate_sources import CandidateSource
from recsys.retrieval.index.index import build_index
from recsys.retrieval.recommender import Recommender, index_bias
from training.cold_start.fit import AS_THE_TOWERS, NewItems
from training.ranker.fit import FittedRanker


def make_recommender(
    model: Retriever,
    config: Config,
    ranker: FittedRanker | None = None,
    *,
    items: ItemArrays | None = None,
    sources: Sequence[CandidateSource] = (),
    new: NewItems = AS_THE_TOWERS,
) -> Recommender:
    """The torch twin of what a bundle serves.

    A ranker without a say is left out. `sources` join where one judges what they add; `items`: the catalogue
    embedded otherwise; `new`: what was chosen for new ones.
    """
    items, knobs = model.item_arrays() if items is None else items, config.model
    temperature = float(model.temperature.detach())
    bias = index_bias(items, cold_bias=new.cold_bias, temperature=temperature)
    return Recommender(
        items=items,
        schema=model.schema,
        embed_users=model.embed_users,
        rank=ranker.module.rank if ranker is not None and ranker.has_say else None,
        index=build_index("exact", items.vectors, bias=bias),
        temperature=temperature,
        cold_bias=new.cold_bias,
        cold_from=new.cold_from,
        num_candidates=knobs.ranker.num_candidates,
        history_length=knobs.ranker.history_length,
        sources=sources,
        source_candidates=knobs.ranker.source_candidates,
    )
