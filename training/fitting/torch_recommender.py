"""The recommender of a fit, made of torch modules; used by evaluation, and by export to verify a bundle."""

from collections.abc import Sequence
from typing import Final

from recsys.config import Config
from recsys.item_features import ItemArrays
from recsys.models import Retriever
from recsys.retrieval import CandidateSource, ColdRanker, Recommender, RecommenderSettings, build_index
from training.fitting.without_events import POPULARITY, WithoutEvents
from training.ranker import FittedRanker

UNMEASURED_COLD_RANKS: Final = (10, 17, 19)


def make_recommender(
    model: Retriever,
    config: Config,
    ranker: FittedRanker | None = None,
    *,
    items: ItemArrays | None = None,
    sources: Sequence[CandidateSource] = (),
    cold_ranker: ColdRanker | None = None,
    cold_ranks: tuple[int, ...] | None = None,
    without_events: WithoutEvents = POPULARITY,
) -> Recommender:
    """A recommender with the same results as a bundle of `model`, in torch.

    A ranker with blend weight 0 is left out. `sources` must be empty without a ranker to order their
    candidates. `cold_ranks` are those that validation has chosen for "auto"; where it had nothing to choose
    on, they are `UNMEASURED_COLD_RANKS`. `items` replaces the catalogue as embedded by `model`.
    """
    if cold_ranks is None:
        cold_ranks = config.model.fixed_cold_ranks
    items, ranker_config = model.item_arrays() if items is None else items, config.model.ranker
    settings = RecommenderSettings.of(
        config.model,
        cold_ranks=UNMEASURED_COLD_RANKS if cold_ranks is None else cold_ranks,
        temperature=float(model.temperature.detach()),
        num_candidates=ranker_config.num_candidates,
        source_candidates=ranker_config.source_candidates,
        history_length=ranker_config.history_length,
        without_events=without_events.answer,
        without_events_reason=without_events.reason,
        cold_without_events=without_events.has_cold_ranks,
    )
    return Recommender(
        items=items,
        schema=model.schema,
        settings=settings,
        embed_users=model.embed_users,
        rank=ranker.module.rank if ranker is not None and ranker.is_used else None,
        index=build_index("exact", items.vectors),
        sources=sources,
        cold_ranker=cold_ranker,
    )
