"""The recommender of a fit, made of torch modules; used by evaluation, and by export to verify a bundle."""

from collections.abc import Sequence

from recsys.config import Config
from recsys.item_features import ItemArrays
from recsys.models import Retriever
from recsys.retrieval import CandidateSource, ColdRanker, Recommender, RecommenderSettings, build_index
from training.fitting.without_events import POPULARITY, WithoutEvents
from training.ranker import FittedRanker


def make_recommender(
    model: Retriever,
    config: Config,
    ranker: FittedRanker | None = None,
    *,
    items: ItemArrays | None = None,
    sources: Sequence[CandidateSource] = (),
    cold_ranker: ColdRanker | None = None,
    without_events: WithoutEvents = POPULARITY,
) -> Recommender:
    """A recommender with the same results as a bundle of `model`, in torch.

    A ranker with blend weight 0 is left out. `sources` must be empty without a ranker to order their
    candidates. `items` replaces the catalogue as embedded by `model`.
    """
    items, ranker_config = model.item_arrays() if items is None else items, config.model.ranker
    settings = RecommenderSettings.of(
        config.model,
        temperature=float(model.temperature.detach()),
        num_candidates=ranker_config.num_candidates,
        source_candidates=ranker_config.source_candidates,
        history_length=ranker_config.history_length,
        without_events=without_events.answer,
        without_events_reason=without_events.reason,
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
