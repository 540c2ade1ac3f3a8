"""Weights that are learned from reviews answer typed queries no worse."""

import numpy as np

from recsys.search import Background, ClauseScores, LegScores, QueryScores, SearchSettings, fuse
from training.search import RankedQuery, choose_fusion, ndcg_of

SETTINGS = SearchSettings(num_candidates=120, max_list_length=120)


def of_two_legs(answer, decoy, group, rng, num=60):
    """A query whose answer has the z-scores `answer` in two legs; `decoy` are those of a wrong item."""
    z = rng.normal(size=(2, num)).astype(np.float32)
    z[:, 7], z[:, 20] = answer, decoy
    legs = {
        name: LegScores(
            score_K=score_K, has_K=np.ones(num, np.bool_), space="own", kind=name,
            background=Background(center=0.0, deviation=1.0),
        )
        for name, score_K in zip(("text", "image"), z, strict=True)
    }  # fmt: skip
    clause = ClauseScores(kind="text", weight=1.0, legs=legs, coverage_K=None)
    scores = QueryScores(items=np.arange(2, 2 + num), clauses=(clause,))
    return RankedQuery(scores=scores, answers=np.array([7]), num_relevant=1, group=group)


def test_weights_of_reviews_must_not_answer_typed_queries_worse():
    rng = np.random.default_rng(0)
    reviews = [of_two_legs((4.0, 0.0), (0.0, 6.0), f"r{at}", rng) for at in range(60)]
    typed = [of_two_legs((0.0, 6.0), (4.0, 0.0), f"t{at}", rng) for at in range(60)]

    def ndcg(weights, queries):
        settings = SETTINGS if weights is None else SETTINGS.model_copy(update={"fusion": {"text": weights}})
        return np.mean([ndcg_of(fuse(each.scores, settings)[0], each) for each in queries])

    alone = choose_fusion(reviews, SETTINGS)
    assert ndcg(alone.weights, reviews) > ndcg(None, reviews) + 0.2
    assert ndcg(alone.weights, typed) < ndcg(None, typed) - 0.2
    both = choose_fusion(reviews, SETTINGS, typed=typed)
    assert ndcg(both.weights, typed) >= ndcg(None, typed) - 0.02
    assert "60 validation queries and 60 as people type them" in both.reason
