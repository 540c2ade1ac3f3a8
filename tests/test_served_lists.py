"""Evaluation, batch and HTTP give every kind of user the same list, and shorter lists are prefixes."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from fastapi.testclient import TestClient
from walk_parts import WITH_FIELDS, WITHOUT_FIELDS, Walk

from recsys.ids import PAD
from recsys.retrieval import AnsweredBy
from serving.batch import BatchRequest, recommend_to_parquet
from serving.engine import Engine
from serving.http.app import create_app
from training.evaluation import System
from training.fitting import Fitted
from training.pipeline import Run

pytestmark = pytest.mark.long  # a second bundle is made, and some thousand lists are asked for over HTTP

UNKNOWN = ("nobody", "U99999")
K, LENGTHS = 40, (1, 5, 10, 20, 100, 101, 500)
OPTIONS = [
    {},
    {"diversity": 0.3},
    {"filters": "the kind of most cold items"},
    {"exclude_seen": False, "diversity": 2.0},
]


@pytest.fixture(params=["popularity", "towers"])
def engine(walk: Walk, request: pytest.FixtureRequest) -> Iterator[Engine]:
    """The bundle of the walk, with either answer for users who have fields and no event."""
    with Engine.open(walk.bundle) as engine:
        engine.recommender = engine.recommender.with_settings(without_events=request.param)
        yield engine


@pytest.fixture
def users(walked_run: Run) -> list[str]:
    return [*sorted(walked_run.dataset.users["user_id"].to_list()), *UNKNOWN]


def in_batch(engine: Engine, users: list[str], folder: Path, *, exclude_seen: bool) -> dict[str, list[str]]:
    (folder / "users.txt").write_text("\n".join(users))
    asked = BatchRequest(users=folder / "users.txt", k=K, exclude_seen=exclude_seen)
    counts = recommend_to_parquet(engine, asked, folder / "lists.parquet")
    assert counts.num_unknown == len(UNKNOWN)
    assert counts.num_without_events == len(WITH_FIELDS) + len(WITHOUT_FIELDS)
    lists = pl.read_parquet(folder / "lists.parquet", glob=False).sort("user_id", "rank")
    return dict(lists.group_by("user_id", maintain_order=True).agg("item_id").iter_rows())


@pytest.mark.parametrize("exclude_seen", [True, False])
def test_evaluation_batch_and_http_give_equal_lists(
    engine: Engine, walked_run: Run, refitted: Fitted, users: list[str], tmp_path: Path, exclude_seen: bool
) -> None:
    answer = engine.recommender.settings.without_events
    builder = refitted.builder.reading_all_reviews()
    system = System(
        "evaluated",
        refitted.recommender.with_settings(without_events=answer),
        walked_run.dataset.histories(builder),
        empty=builder.empty,
        exclude_seen=exclude_seen,
    )
    evaluated = system.recommend(users, K, allowed=None)
    batch = in_batch(engine, users, tmp_path, exclude_seen=exclude_seen)
    with TestClient(create_app(engine)) as client:
        for row, user in enumerate(users):
            asked = {"user_id": user, "k": K, "exclude_seen": exclude_seen}
            served = [item["item_id"] for item in client.post("/v1/recommend", json=asked).json()["items"]]
            assert served == batch[user], user
            assert served == engine.bundle.item_ids.decode(evaluated[row][evaluated[row] != PAD]), user


def test_who_answers_whom(engine: Engine, users: list[str]) -> None:
    """Of the users without events those with fields are answered by the towers, where these were chosen."""
    found = engine.recommend(engine.state.histories(users), 20)
    by_user = dict(zip(users, found.answered_by, strict=True))
    towers = engine.recommender.settings.without_events == "towers"
    for user, by in by_user.items():
        if user in WITH_FIELDS:
            assert by is (AnsweredBy.PROFILE if towers else AnsweredBy.POPULARITY)
        else:
            is_known = user not in (*UNKNOWN, *WITHOUT_FIELDS)
            assert by is (AnsweredBy.HISTORY if is_known else AnsweredBy.POPULARITY)
    trained = engine.recommender.items.trained
    of_fields, of_nobody = (found.items[users.index(user)] for user in ("F0", "nobody"))
    assert (of_fields[trained[of_fields]].tolist() != of_nobody[trained[of_nobody]].tolist()) == towers


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_lists_over_http_are_prefixes(engine: Engine, options: dict[str, object]) -> None:
    untrained = engine.bundle.catalogue.filter(~pl.col("trained"))
    cold, has_cold = set(untrained["item_id"]), False
    if "filters" in options:
        kind = sorted(untrained["cat:kind"].explode().drop_nulls().mode())[0]
        options = {"filters": {"kind": [kind]}}
    with TestClient(create_app(engine)) as client:
        for user in ("U00003", "U00017", *WITH_FIELDS, *WITHOUT_FIELDS, "nobody"):
            lists = {}
            for k in LENGTHS:
                answer = client.post("/v1/recommend", json={"user_id": user, "k": k, **options})
                assert answer.status_code == 200, answer.text
                lists[k] = [(each["item_id"], each["score"]) for each in answer.json()["items"]]
            for k in LENGTHS:
                assert lists[k] == lists[500][:k], (user, k)
            assert lists[500]
            has_cold = has_cold or bool(cold & {item for item, _ in lists[20]})
    assert has_cold
