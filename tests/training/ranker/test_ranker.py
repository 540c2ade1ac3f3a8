"""The ranker is trained on retrieved lists, and is used only where it improves validation."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import torch
from model_parts import tiny_schema

from recsys.arrays import Ints
from recsys.config import RankerConfig
from recsys.history import History
from recsys.ids import NUM_RESERVED
from recsys.item_features import ItemArrays
from recsys.metrics.ranking import IdLists
from recsys.retrieval.index.build import build_index
from recsys.retrieval.recommender import Recommender
from recsys.retrieval.settings import RecommenderSettings
from training.ranker.fit import FittedRanker, fit_ranker
from training.ranker.ranked_lists import RankedLists, RankingTask, selection_ndcg

NUM_ITEMS, DIM, NUM_TOKENS, NUM_USERS, NUM_CANDIDATES = 40, 8, 2, 60, 10
SCHEMA = tiny_schema(review_text_dim=0, review_audio_dim=0, profile_sizes={}, has_clock=False)
CONFIG = RankerConfig(
    num_candidates=NUM_CANDIDATES, history_length=4, num_epochs=8, dropout=0.0, learning_rate=1e-2
)


def make_recommender(is_new: npt.NDArray[np.bool_] | None = None) -> Recommender:
    """Towers whose user vector is the mean of the user's items; items of `is_new` have no training events."""
    rng = np.random.default_rng(0)
    size = NUM_ITEMS + NUM_RESERVED
    vectors = rng.standard_normal((size, DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[:NUM_RESERVED] = 0
    real = np.arange(size) >= NUM_RESERVED
    items = ItemArrays(
        vectors=vectors,
        tokens=rng.standard_normal((size, NUM_TOKENS, DIM)).astype(np.float16) * real[:, None, None],
        token_mask=real[:, None].repeat(NUM_TOKENS, 1),
        trained=real if is_new is None else real & ~is_new,
        popularity=(rng.permutation(size) * real).astype(np.float32),
    )

    def embed(inputs: dict[str, np.ndarray]) -> np.ndarray:
        mean = inputs["event_vector"].sum(1)
        return (mean / np.linalg.norm(mean, axis=1, keepdims=True)).astype(np.float32)

    return Recommender(
        items=items,
        schema=SCHEMA,
        embed_users=embed,
        rank=None,
        index=build_index("exact", vectors),
        settings=RecommenderSettings(temperature=0.5, num_candidates=NUM_CANDIDATES, history_length=4),
    )


RECOMMENDER = make_recommender()


def histories(seed: int, num: int = NUM_USERS) -> list[History]:
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(num):
        item = rng.choice(np.arange(NUM_RESERVED, NUM_ITEMS + NUM_RESERVED), 3, replace=False).astype(
            np.int64
        )
        made.append(
            History(
                item=item,
                timestamp=np.arange(3),
                event=np.full(3, 2),
                value=np.full(3, np.nan, np.float32),
                seen=item,
            )
        )
    return made


def retrieved(users: list[History], num: int) -> Ints:
    return RECOMMENDER.retrieve(RECOMMENDER.embed(users), users, num)[0]


def popular(seed: int) -> RankingTask:
    """Users who choose the most popular retrieved item, which the ranker can learn and the towers cannot."""
    users = histories(seed)
    found = retrieved(users, NUM_CANDIDATES)
    best = RECOMMENDER.items.popularity[found].argmax(1)
    return RankingTask(histories=users, ground_truth=[row[[at]] for row, at in zip(found, best, strict=True)])


def nearest(seed: int) -> RankingTask:
    """Users who choose the first item of the towers."""
    users = histories(seed)
    return RankingTask(histories=users, ground_truth=list(retrieved(users, 1)))


def missed(seed: int) -> RankingTask:
    """Users who choose an item that is not retrieved."""
    users = histories(seed)
    return RankingTask(histories=users, ground_truth=list(retrieved(users, NUM_CANDIDATES + 1)[:, -1:]))


def mixed(first: RankingTask, second: RankingTask) -> RankingTask:
    return RankingTask(
        histories=[*first.histories, *second.histories],
        ground_truth=[*first.ground_truth, *second.ground_truth],
    )


def fitted(train: RankingTask, validation: RankingTask | None, **arguments: object) -> FittedRanker:
    ranker = fit_ranker(
        RECOMMENDER,
        train=train,
        validation=validation,
        config=CONFIG,
        seed=0,
        **arguments,  # type: ignore[arg-type]
    )
    assert ranker is not None
    return ranker


def parameters(ranker: FittedRanker) -> dict[str, torch.Tensor]:
    return ranker.module.ranker.state_dict()


def test_learns_a_rule_that_the_towers_do_not_see() -> None:
    ranker = fitted(popular(0), popular(1))
    assert ranker.num_lists == 2 * NUM_USERS
    assert ranker.blend_weight > 0
    assert ranker.scores["with_ranker"] > ranker.scores["retriever"] + 0.1


def test_a_gain_within_its_standard_error_is_no_reason_for_a_ranker(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of the validation users gains: the mean rises by no more than the standard error."""
    gain = np.zeros(NUM_USERS)
    gain[0] = 1.0
    calls = iter(range(1000))
    with monkeypatch.context() as patched:
        patched.setattr(RankedLists, "ndcg", lambda *_: gain * (next(calls) > 0))
        ranker = fitted(popular(0), popular(1), cross_fit=True)
    assert (ranker.blend_weight, ranker.best_epoch, ranker.cross_fitted) == (0.0, 1, None)
    assert ranker.scores["with_ranker"] > ranker.scores["retriever"]


def test_what_it_says_of_itself_is_what_it_did() -> None:
    """Fitted on the training lists alone for the chosen epochs, the ranker has the score of the choice."""
    ranker, validation = fitted(popular(0), popular(1)), popular(1)
    before = fitted(popular(0), None, epochs=ranker.best_epoch, blend_weight=ranker.blend_weight)
    lists = RankedLists.of(RECOMMENDER, validation)
    (_, inputs), *more = lists.batches(np.arange(NUM_USERS))
    assert not more
    assert lists.ndcg(before.module.rank(inputs)["score"]).mean() == ranker.scores["with_ranker"]
    assert lists.ndcg(np.zeros_like(lists.candidates.cosines)).mean() == ranker.scores["retriever"]
    assert 1 <= ranker.best_epoch <= CONFIG.num_epochs


def test_cross_fitted_rankers_are_trained_on_the_users_of_the_other_half() -> None:
    train, validation = popular(0), popular(1)
    ranker = fitted(train, validation, cross_fit=True)
    assert ranker.cross_fitted is not None
    chosen = {"epochs": ranker.best_epoch, "blend_weight": ranker.blend_weight}
    for module, task in (
        (ranker.cross_fitted.for_validation, train),
        (ranker.cross_fitted.for_train, validation),
    ):
        alone = parameters(fitted(task, None, **chosen))
        assert all(torch.equal(alone[name], each) for name, each in module.ranker.state_dict().items())
        assert module.blend_weight == ranker.blend_weight
        assert not module.training
    without = fitted(train, validation)
    assert without.cross_fitted is None
    one, other = parameters(ranker), parameters(without)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_ranker_that_is_not_used_is_not_cross_fitted() -> None:
    assert fitted(popular(0), nearest(1), cross_fit=True).cross_fitted is None


def test_what_was_chosen_is_fitted_on_the_lists_of_both() -> None:
    train, validation = (RankedLists.of(RECOMMENDER, popular(seed)) for seed in (0, 1))
    both = train.joined(validation)
    for row in range(NUM_USERS):
        for offset, part in ((0, train), (NUM_USERS, validation)):
            np.testing.assert_array_equal(both.user_BD[offset + row], part.user_BD[row])
            np.testing.assert_array_equal(both.candidates.items[offset + row], part.candidates.items[row])
            np.testing.assert_array_equal(both.candidates.cosines[offset + row], part.candidates.cosines[row])
            np.testing.assert_array_equal(both.label_BK[offset + row], part.label_BK[row])
            assert both.histories[offset + row] is part.histories[row]
    np.testing.assert_array_equal(both.ground_truth.contain(both.candidates.items), both.label_BK)
    ranker = fitted(popular(0), popular(1))
    assert ranker.num_lists == 2 * NUM_USERS
    on_training_alone = fitted(popular(0), None, epochs=ranker.best_epoch)
    one, other = parameters(ranker), parameters(on_training_alone)
    assert not torch.equal(one["head.2.weight"], other["head.2.weight"])


def test_falls_back_to_the_towers_where_it_does_not_help() -> None:
    """Trained on a rule that the validation users do not follow: they choose the first item of the towers."""
    ranker, validation = fitted(popular(0), nearest(1)), nearest(1)
    assert ranker.blend_weight == 0
    assert ranker.scores["retriever"] == ranker.scores["with_ranker"] == 1.0
    lists = RankedLists.of(RECOMMENDER, validation)
    (_, inputs), *_ = lists.batches(np.arange(NUM_USERS))
    assert not ranker.module.rank(inputs)["score"].any()


def test_its_settings_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = CONFIG.model_copy(
        update={
            "patience": 1,
            "weight_decay": 0.5,
            "feature_learning_rate_factor": 2.0,
            "blend_weights": (0.125,),
        }
    )
    made: list[torch.optim.AdamW] = []

    class Kept(torch.optim.AdamW):
        def __init__(self, *arguments: object, **options: object) -> None:
            super().__init__(*arguments, **options)  # type: ignore[arg-type]
            made.append(self)

    monkeypatch.setattr(torch.optim, "AdamW", Kept)
    epochs: list[int] = []
    ranker = fit_ranker(
        RECOMMENDER,
        train=popular(0),
        validation=nearest(1),  # the retriever alone is best, so no epoch is better
        config=settings,
        seed=0,
        progress=lambda name, done, *_: epochs.append(done) if name == "rank" else None,
    )
    assert ranker is not None
    assert epochs == [1]
    slow, fast = made[0].param_groups
    assert fast["lr"] == 2.0 * slow["lr"]
    assert slow["weight_decay"] == fast["weight_decay"] == 0.5
    helped = fit_ranker(RECOMMENDER, train=popular(0), validation=popular(1), config=settings, seed=0)
    assert helped is not None
    assert helped.blend_weight == 0.125


def test_a_list_without_its_target_teaches_nothing() -> None:
    plain = fitted(popular(0), None)
    # Users whose target was not retrieved come last, so that the other users have the same rows.
    ranker = fitted(mixed(popular(0), missed(2)), None)
    assert ranker.num_lists == plain.num_lists == NUM_USERS
    one, other = parameters(plain), parameters(ranker)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_seen_target_is_never_retrieved_and_teaches_nothing() -> None:
    task = popular(0)
    seen = [
        replace(history, seen=np.union1d(history.seen, ground_truth))
        for history, ground_truth in zip(task.histories, task.ground_truth, strict=True)
    ]
    task = RankingTask(histories=seen, ground_truth=task.ground_truth)
    assert not RankedLists.of(RECOMMENDER, task).has_target.any()
    again = replace(task, exclude_seen=False)
    assert RankedLists.of(RECOMMENDER, again).has_target.any(), "where repeats are shown"


def test_where_no_list_holds_a_target_there_is_no_ranker() -> None:
    ranker = fit_ranker(RECOMMENDER, train=missed(0), validation=popular(1), config=CONFIG, seed=0)
    assert ranker is None


def test_lists_are_what_the_retriever_returns_and_nothing_more() -> None:
    task = mixed(popular(0), missed(1))
    lists = RankedLists.of(RECOMMENDER, task)
    expected = np.concatenate([retrieved(histories(seed), NUM_CANDIDATES) for seed in (0, 1)])
    np.testing.assert_array_equal(lists.candidates.items, expected)
    np.testing.assert_array_equal(lists.has_target, [True] * NUM_USERS + [False] * NUM_USERS)
    np.testing.assert_array_equal(lists.label_BK.sum(1), lists.has_target)


def test_inputs_come_in_the_rows_that_are_asked_for() -> None:
    lists = RankedLists.of(RECOMMENDER, popular(0))
    rows = np.random.default_rng(3).permutation(NUM_USERS)
    (part, inputs), *_ = lists.batches(rows)
    np.testing.assert_array_equal(part, rows)
    np.testing.assert_array_equal(inputs["user_vector"], lists.user_BD[rows])
    np.testing.assert_array_equal(
        inputs["candidate_vector"], RECOMMENDER.items.vectors[lists.candidates.items[rows]]
    )


@pytest.mark.parametrize("blend_weight", [0.25, 1.0])
def test_a_refit_keeps_the_epochs_and_the_blend_weight_that_it_is_given(blend_weight: float) -> None:
    ranker = fitted(popular(0), None, epochs=3, blend_weight=blend_weight)
    assert (ranker.best_epoch, ranker.blend_weight, dict(ranker.scores)) == (3, blend_weight, {})
    whole = fitted(popular(0), None, epochs=3, blend_weight=1.0)
    lists = RankedLists.of(RECOMMENDER, popular(1))
    (_, inputs), *_ = lists.batches(np.arange(NUM_USERS))
    score, unscaled = (each.module.rank(inputs)["score"] for each in (ranker, whole))
    np.testing.assert_allclose(score, blend_weight * unscaled, rtol=1e-6)


def test_the_same_seed_gives_the_same_ranker() -> None:
    first, second = (parameters(fitted(popular(0), popular(1))) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_list_shorter_than_what_is_counted_misses_what_it_lacks() -> None:
    ground_truth = IdLists.from_lists([np.array([3]), np.array([4])])
    found = np.array([[3, 5], [5, 4]])
    assert selection_ndcg(found, ground_truth) == pytest.approx((1 + 1 / np.log2(3)) / 2)
    longer = np.pad(found, ((0, 0), (0, 20)))
    longer[:, 10:] = np.arange(20, 32)
    assert selection_ndcg(longer, ground_truth) == pytest.approx((1 + 1 / np.log2(3)) / 2)


def test_cold_items_are_not_the_rankers_to_order() -> None:
    """Cold items are no candidates of the ranker; a list whose only target is cold is not trained on."""
    task = popular(0)
    is_new = np.zeros(NUM_ITEMS + NUM_RESERVED, np.bool_)
    is_new[np.concatenate(task.ground_truth)[:1]] = True
    lists = RankedLists.of(make_recommender(is_new), task)
    assert not is_new[lists.candidates.items].any()
    np.testing.assert_array_equal(
        lists.has_target, [not is_new[ground_truth].any() for ground_truth in task.ground_truth]
    )


def history_of(items: list[int]) -> History:
    """A history of these items, a minute apart."""
    length = len(items)
    return History(
        item=np.array(items, np.int64),
        timestamp=np.arange(length, dtype=np.int64),
        event=np.full(length, 2),
        value=np.full(length, np.nan, np.float32),
    )
