"""Lists for many users: complete, in order, the same as one by one."""

import tracemalloc

import polars as pl
import pytest

from recsys.errors import DataError, RequestError
from serving.batch import SCHEMA, recommend_to_parquet


def lists(path):
    table = pl.read_parquet(path)
    assert table.schema == SCHEMA
    return {user: group.sort("rank")["item_id"].to_list() for (user,), group in table.group_by("user_id")}


@pytest.mark.parametrize("batch_size", [1, 2, 100])
def test_lists_of_all_users(engine, tmp_path, batch_size):
    report = recommend_to_parquet(engine, "all", tmp_path / "out.parquet", 3, batch_size=batch_size)
    assert lists(tmp_path / "out.parquet") == {
        "ann": ["bee", "cat", "dog"],
        "bob": ["eel", "cat", "bee"],
        "new": ["ant", "bee", "cat"],
    }
    assert (report.num_users, report.num_rows, report.num_unknown, report.num_twice) == (3, 9, 1, 0)
    table = pl.read_parquet(tmp_path / "out.parquet")
    assert table["rank"].to_list() == [1, 2, 3] * 3
    assert table["user_id"].to_list() == ["ann"] * 3 + ["bob"] * 3 + ["new"] * 3
    assert (table.group_by("user_id").agg(pl.col("score").is_sorted(descending=True)))["score"].all()


def test_users_of_a_file_in_its_order_and_once(engine, tmp_path):
    (tmp_path / "users.txt").write_text("bob\n\nnobody\n ann \nbob\n")
    report = recommend_to_parquet(engine, tmp_path / "users.txt", tmp_path / "out.parquet", 1)
    table = pl.read_parquet(tmp_path / "out.parquet")
    assert table["user_id"].to_list() == ["bob", "nobody", "ann"]
    assert table["item_id"].to_list() == ["eel", "ant", "bee"]
    assert (report.num_unknown, report.num_twice) == (1, 1)


def test_users_of_a_table(engine, tmp_path):
    table = pl.DataFrame({"x": [1.5, 2.5], "user_id": ["ann", "bob"]})
    table.write_csv(tmp_path / "users.csv")
    table.write_parquet(tmp_path / "users.parquet")
    for name in ("users.csv", "users.parquet"):
        recommend_to_parquet(engine, tmp_path / name, tmp_path / "out.parquet", 1)
        assert set(lists(tmp_path / "out.parquet")) == {"ann", "bob"}


def test_ids_that_are_numbers_in_a_table_stay_as_written(engine, tmp_path):
    (tmp_path / "users.csv").write_text("user_id\n007\n")
    recommend_to_parquet(engine, tmp_path / "users.csv", tmp_path / "out.parquet", 1)
    assert set(lists(tmp_path / "out.parquet")) == {"007"}


def test_seen_items_on_request(engine, tmp_path):
    recommend_to_parquet(engine, "all", tmp_path / "out.parquet", 1, exclude_seen=False)
    assert lists(tmp_path / "out.parquet")["ann"] == ["ant"]


def test_candidates_restrict_the_catalogue(engine, tmp_path):
    (tmp_path / "items.txt").write_text("fox\neel\n")
    recommend_to_parquet(engine, "all", tmp_path / "out.parquet", 5, candidates=tmp_path / "items.txt")
    assert lists(tmp_path / "out.parquet") == {"ann": ["eel", "fox"], "bob": ["eel"], "new": ["eel", "fox"]}


def test_unknown_candidates_are_listed_with_their_lines(engine, tmp_path):
    (tmp_path / "items.txt").write_text("fox\nwolf\n\nbear\n")
    with pytest.raises(DataError) as caught:
        recommend_to_parquet(engine, "all", tmp_path / "out.parquet", 5, candidates=tmp_path / "items.txt")
    assert caught.value.problems == ("line 2: unknown item 'wolf'", "line 4: unknown item 'bear'")
    assert not (tmp_path / "out.parquet").exists()


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("gone.txt", None, "no file of users"),
        ("empty.txt", "\n\n", "names no user"),
        ("other.csv", "id\n1\n", "no column 'user_id'; it has id"),
    ],
)
def test_a_file_of_users_that_is_none(engine, tmp_path, name, text, said):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=said):
        recommend_to_parquet(engine, tmp_path / name, tmp_path / "out.parquet", 1)


def test_k_must_be_positive(engine, tmp_path):
    with pytest.raises(RequestError, match="k = 0"):
        recommend_to_parquet(engine, "all", tmp_path / "out.parquet", 0)


def test_progress_ends_at_the_number_of_users(engine, tmp_path):
    steps = []
    recommend_to_parquet(
        engine, "all", tmp_path / "out.parquet", 1, batch_size=2, progress=lambda *step: steps.append(step)
    )
    assert steps == [("recommend", 0, 3), ("recommend", 2, 3), ("recommend", 3, 3)]


def test_failure_on_the_way_leaves_the_old_file_and_nothing_else(engine, tmp_path):
    out = tmp_path / "lists" / "out.parquet"
    recommend_to_parquet(engine, "all", out, 1)
    before = out.read_bytes()

    def stop(step, done, total):
        if done:
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        recommend_to_parquet(engine, "all", out, 2, batch_size=1, progress=stop)
    assert out.read_bytes() == before
    assert list(out.parent.iterdir()) == [out]


def test_memory_does_not_grow_with_the_users(bundle_path, shop, tmp_path):
    peaks = []
    for num_users in (100, 800):
        users = {f"user-{n:05}": shop.history("ant", "cat") for n in range(num_users)}
        engine = shop.open_engine(bundle_path, users=users)
        recommend_to_parquet(engine, "all", tmp_path / "warm.parquet", 3, batch_size=50)
        tracemalloc.start()
        recommend_to_parquet(engine, "all", tmp_path / "out.parquet", 3, batch_size=50)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        engine.close()
    assert peaks[1] < 1.5 * peaks[0] + 200_000
