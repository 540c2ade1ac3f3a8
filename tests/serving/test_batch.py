"""Lists for many users: complete, in order, the same as one by one."""

import tracemalloc

import polars as pl
import pytest

from recsys.errors import DataError, LockedError, RequestError
from recsys.files import exclusive
from recsys.progress import silent
from serving.batch import REPORT_SCHEMA, SCHEMA, BatchRequest, recommend_to_parquet


def recommend(engine, out, *, report=None, users_at_once=256, progress=silent, **request):
    return recommend_to_parquet(
        engine,
        BatchRequest(**request),
        out,
        report=report,
        users_at_once=users_at_once,
        progress=progress,
    )


def lists(path):
    table = pl.read_parquet(path)
    assert table.schema == SCHEMA
    return {user: group.sort("rank")["item_id"].to_list() for (user,), group in table.group_by("user_id")}


@pytest.mark.parametrize("batch_size", [1, 2, 100])
def test_lists_of_all_users(engine, tmp_path, batch_size):
    report = recommend(engine, tmp_path / "out.parquet", k=3, users_at_once=batch_size)
    assert lists(tmp_path / "out.parquet") == {
        "ann": ["bee", "cat", "dog"],
        "bob": ["eel", "cat", "bee"],
        "new": ["ant", "bee", "cat"],
    }
    assert (report.num_users, report.num_rows, report.num_short) == (3, 9, 0)
    assert (report.num_unknown, report.num_without_events, report.num_repeated) == (0, 1, 0)
    table = pl.read_parquet(tmp_path / "out.parquet")
    assert table["rank"].to_list() == [1, 2, 3] * 3
    assert table["user_id"].to_list() == ["ann"] * 3 + ["bob"] * 3 + ["new"] * 3
    assert (table.group_by("user_id").agg(pl.col("score").is_sorted(descending=True)))["score"].all()


def test_users_of_a_file_in_its_order_and_once(engine, tmp_path):
    (tmp_path / "users.txt").write_text("bob\n\nnobody\n ann \nbob\n")
    report = recommend(engine, tmp_path / "out.parquet", users=tmp_path / "users.txt", k=1)
    table = pl.read_parquet(tmp_path / "out.parquet")
    assert table["user_id"].to_list() == ["bob", "nobody", "ann"]
    assert table["item_id"].to_list() == ["eel", "ant", "bee"]
    assert (report.num_unknown, report.num_repeated) == (1, 1)


@pytest.mark.parametrize(
    ("text", "warns"),
    [
        ("customer\nann\nbob\n", True),
        ("customer\n17\n18\n", True),  # unknown, but unlike the first line
        ("ann\ncustomer\n", False),
        ("customer\n", False),
        ("eve\nolga\npaul\n", False),
    ],
)
def test_a_first_line_that_may_name_the_column_is_a_warning(engine, tmp_path, text, warns):
    (tmp_path / "users.txt").write_text(text)
    report = recommend(engine, tmp_path / "out.parquet", users=tmp_path / "users.txt", k=1)
    assert report.num_users == len(text.split()), "it is a user all the same"
    assert ["line 1, 'customer', was taken for a user" in warning for warning in report.warnings] == (
        [True] if warns else []
    )
    named = (
        recommend(engine, tmp_path / "out.parquet", users=tmp_path / "users.txt", users_column="customer")
        if text.startswith("customer\na")
        else report
    )
    assert named is report or (named.num_users, named.warnings) == (2, [])


def test_users_of_a_table(engine, tmp_path):
    table = pl.DataFrame({"x": [1.5, 2.5], "user_id": ["ann", "bob"]})
    table.write_csv(tmp_path / "users.csv")
    table.write_parquet(tmp_path / "users.parquet")
    for name in ("users.csv", "users.parquet"):
        recommend(engine, tmp_path / "out.parquet", users=tmp_path / name, k=1)
        assert set(lists(tmp_path / "out.parquet")) == {"ann", "bob"}


def test_ids_that_are_numbers_in_a_table_stay_as_written(engine, tmp_path):
    (tmp_path / "users.csv").write_text("user_id\n007\n")
    recommend(engine, tmp_path / "out.parquet", users=tmp_path / "users.csv", k=1)
    assert set(lists(tmp_path / "out.parquet")) == {"007"}


def test_seen_items_on_request(engine, tmp_path):
    recommend(engine, tmp_path / "out.parquet", k=1, exclude_seen=False)
    assert lists(tmp_path / "out.parquet")["ann"] == ["ant"]


def test_candidates_restrict_the_catalogue(engine, tmp_path):
    (tmp_path / "items.txt").write_text("fox\neel\n")
    recommend(engine, tmp_path / "out.parquet", k=5, candidates=tmp_path / "items.txt")
    assert lists(tmp_path / "out.parquet") == {"ann": ["eel", "fox"], "bob": ["eel"], "new": ["eel", "fox"]}


def test_filters_restrict_the_catalogue_and_the_candidates(engine, tmp_path):
    mammals = {"field": "group", "op": "=", "value": "mammal"}
    recommend(engine, tmp_path / "out.parquet", k=5, filters={"not": mammals})
    others = lists(tmp_path / "out.parquet")["new"]
    recommend(engine, tmp_path / "out.parquet", k=5, filters=mammals)
    some = lists(tmp_path / "out.parquet")["new"]
    assert sorted(some) == ["cat", "dog", "fox"]
    assert set(others).isdisjoint(some)
    (tmp_path / "items.txt").write_text("fox\neel\n")
    recommend(engine, tmp_path / "out.parquet", k=5, candidates=tmp_path / "items.txt", filters=mammals)
    assert lists(tmp_path / "out.parquet")["new"] == ["fox"]


def test_unknown_candidates_are_listed_with_their_lines(engine, tmp_path):
    (tmp_path / "items.txt").write_text("fox\nwolf\n\nbear\n")
    with pytest.raises(DataError) as caught:
        recommend(engine, tmp_path / "out.parquet", k=5, candidates=tmp_path / "items.txt")
    assert caught.value.problems == ("line 2: unknown item 'wolf'", "line 4: unknown item 'bear'")
    assert not (tmp_path / "out.parquet").exists()


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("gone.txt", None, "no such file"),
        ("empty.txt", "\n\n", "names no user_id"),
        ("other.csv", "id\n1\n", "no column 'user_id'; it has id"),
    ],
)
def test_a_file_of_users_that_is_none(engine, tmp_path, name, text, said):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=said):
        recommend(engine, tmp_path / "out.parquet", users=tmp_path / name, k=1)


def test_k_must_be_positive(engine, tmp_path):
    with pytest.raises(RequestError, match="k = 0"):
        recommend(engine, tmp_path / "out.parquet", k=0)


def test_progress_ends_at_the_number_of_users(engine, tmp_path):
    steps = []
    recommend(
        engine, tmp_path / "out.parquet", k=1, users_at_once=2, progress=lambda *step: steps.append(step)
    )
    assert steps == [("recommend", 0, 3), ("recommend", 2, 3), ("recommend", 3, 3)]


def test_failure_on_the_way_leaves_the_old_file_and_nothing_else(engine, tmp_path):
    out = tmp_path / "lists" / "out.parquet"
    recommend(engine, out, k=1)
    before = out.read_bytes()

    def stop(step, done, total):
        if done:
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        recommend(engine, out, k=2, users_at_once=1, progress=stop)
    assert out.read_bytes() == before
    assert list(out.parent.iterdir()) == [out]


def test_memory_does_not_grow_with_the_users(bundle_path, shop, tmp_path):
    peaks = []
    (tmp_path / "few.txt").write_text("".join(f"user-{n:05}\n" for n in range(100)))
    for num_users in (200, 1600):  # a part has 200
        users = {f"user-{n:05}": shop.history("ant", "cat") for n in range(num_users)}
        engine = shop.open_engine(bundle_path, users=users)
        recommend(engine, tmp_path / "warm.parquet", k=3, users=tmp_path / "few.txt", users_at_once=50)
        tracemalloc.start()
        recommend(engine, tmp_path / "out.parquet", k=3, users_at_once=50)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        engine.close()
    assert peaks[1] < 1.5 * peaks[0] + 200_000


def test_users_with_fewer_than_k_items_are_counted_and_listed(engine, tmp_path):
    (tmp_path / "users.txt").write_text("ann\nnobody\nnew\nbob\n")
    counts = recommend(
        engine,
        tmp_path / "out.parquet",
        users=tmp_path / "users.txt",
        k=5,
        report=tmp_path / "more" / "report.parquet",
        users_at_once=2,
    )
    assert (counts.num_users, counts.num_short) == (4, 1)
    assert (counts.num_unknown, counts.num_without_events) == (1, 1)
    table = pl.read_parquet(tmp_path / "more" / "report.parquet")
    assert table.schema == REPORT_SCHEMA
    assert table.rows() == [("nobody", 5, "unknown"), ("new", 5, "empty"), ("bob", 4, "known")]


def test_a_report_of_nothing_is_an_empty_table(engine, tmp_path):
    (tmp_path / "users.txt").write_text("ann\n")
    recommend(
        engine,
        tmp_path / "out.parquet",
        users=tmp_path / "users.txt",
        k=1,
        report=tmp_path / "report.parquet",
    )
    assert pl.read_parquet(tmp_path / "report.parquet").shape == (0, 3)


def test_candidates_of_a_table_with_a_header(engine, tmp_path):
    (tmp_path / "items.csv").write_text("item_id,price\nfox,3\neel,4\nfox,3\n")
    counts = recommend(engine, tmp_path / "out.parquet", k=5, candidates=tmp_path / "items.csv")
    assert lists(tmp_path / "out.parquet")["ann"] == ["eel", "fox"]
    assert counts.num_repeated == 1


def test_columns_of_ids_may_be_named(engine, tmp_path):
    (tmp_path / "users.csv").write_text("customer,age\nann,3\n")
    (tmp_path / "items.tsv").write_text("sku\tage\nfox\t3\n")
    recommend(
        engine,
        tmp_path / "out.parquet",
        users=tmp_path / "users.csv",
        users_column="customer",
        candidates=tmp_path / "items.tsv",
        candidates_column="sku",
    )
    assert lists(tmp_path / "out.parquet") == {"ann": ["fox"]}


@pytest.mark.parametrize("name", ["recs.csv", "recs", "recs.parquet.gz"])
def test_only_parquet_is_written(engine, tmp_path, name):
    with pytest.raises(
        DataError, match=rf"{name}: is written as Parquet; name a file that ends in \.parquet"
    ):
        recommend(engine, tmp_path / name)
    with pytest.raises(DataError, match="is written as Parquet"):
        recommend(engine, tmp_path / "out.parquet", report=tmp_path / name)
    assert not list(tmp_path.glob("*recs*"))


def test_two_batches_into_one_file_are_refused(engine, tmp_path):
    out = tmp_path / "lists" / "out.parquet"
    out.parent.mkdir()
    with exclusive(out), pytest.raises(LockedError, match="is in use by process"):
        recommend(engine, out)
    recommend(engine, out)
    assert list(out.parent.iterdir()) == [out]


class TestKilled:
    """A batch that was interrupted goes on with the next part."""

    @pytest.fixture
    def users(self, tmp_path):
        """Forty lines with the three known users and others; a part is four of them."""
        path = tmp_path / "users.txt"
        path.write_text("\n".join(["ann", "bob", "new", *(f"user-{n}" for n in range(37))]), "utf-8")
        return path

    def stopped(self, engine, out, after, **request):
        """The batch stopped at `after` users; the users of whom the engine was asked."""

        def stop(step, done, total):
            if done >= after:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            recommend(engine, out, users_at_once=1, progress=stop, **request)

    def asked(self, engine, monkeypatch):
        real, histories = engine.recommend_by_rules, []

        def counted(some, *arguments, **named):
            histories.extend(some)
            return real(some, *arguments, **named)

        monkeypatch.setattr(engine, "recommend_by_rules", counted)
        return histories

    def test_the_file_and_the_report_equal_those_of_an_unbroken_batch(
        self, engine, tmp_path, users, monkeypatch
    ):
        whole, out = tmp_path / "whole.parquet", tmp_path / "out.parquet"
        wanted = {"users": users, "k": 3}
        expected = recommend(engine, whole, report=tmp_path / "a.parquet", users_at_once=1, **wanted)
        self.stopped(engine, out, 10, **wanted)
        assert not out.exists()
        asked = self.asked(engine, monkeypatch)
        found = recommend(engine, out, report=tmp_path / "b.parquet", users_at_once=1, **wanted)
        assert len(asked) == 40 - 8
        assert found == expected
        assert out.read_bytes() == whole.read_bytes()
        assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
        assert not list(tmp_path.glob(".*"))

    @pytest.mark.parametrize(
        "change", [{"k": 2}, {"exclude_seen": False}, {"candidates": True}], ids=["k", "seen", "candidates"]
    )
    def test_parts_of_another_request_are_not_used(self, engine, tmp_path, users, monkeypatch, change):
        out = tmp_path / "out.parquet"
        (tmp_path / "items.txt").write_text("fox\neel\n", "utf-8")
        if "candidates" in change:
            change = {"candidates": tmp_path / "items.txt"}
        self.stopped(engine, out, 10, users=users, k=3)
        asked = self.asked(engine, monkeypatch)
        recommend(engine, out, users_at_once=1, **{"users": users, "k": 3, **change})
        assert len(asked) == 40

    def test_a_part_with_a_changed_history_is_made_again(self, engine, tmp_path, users, monkeypatch):
        out = tmp_path / "out.parquet"
        self.stopped(engine, out, 10, users=users, k=3)
        assert engine.state.delete_user("bob")
        asked = self.asked(engine, monkeypatch)
        recommend(engine, out, users_at_once=1, users=users, k=3)
        assert len(asked) == 40 - 4, "ann, bob, new and user-0 are asked again"
        assert lists(out)["bob"] == lists(out)["user-0"], "nothing of an erased user is left"

    def test_a_damaged_part_is_made_again(self, engine, tmp_path, users, monkeypatch):
        out = tmp_path / "out.parquet"
        self.stopped(engine, out, 10, users=users, k=3)
        first, _ = sorted((tmp_path / ".out.parquet.parts").iterdir())
        first.write_bytes(first.read_bytes()[:-9])
        asked = self.asked(engine, monkeypatch)
        recommend(engine, out, users_at_once=1, users=users, k=3)
        assert len(asked) == 40 - 4

    def test_leftovers_of_a_killed_process_are_removed(self, engine, tmp_path, users):
        (tmp_path / "out.parquet.tmp").write_text("half", "utf-8")
        recommend(engine, tmp_path / "out.parquet", users=users, k=3)
        assert {each.name for each in tmp_path.glob("*out*")} == {"out.parquet"}
