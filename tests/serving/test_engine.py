"""Answers of the engine, reckoned by hand from the angles of six vectors."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from features.inputs.histories import IdMaps
from features.inputs.history_file import save_histories
from recsys.bundle.load import Bundle
from recsys.bundle.write import write_bundle
from recsys.errors import BundleError, DataError, RequestError
from recsys.history import History
from recsys.retrieval.index.faiss import FaissIndex
from serving.engine import Engine
from serving.filters import CatalogueFilter
from serving.requests import Event


def names(engine, answer, row=0):
    return [engine.item_id(item) for item in answer.items[row].tolist() if item]


def test_recommends_the_nearest_unseen_items(shop, engine):
    answer = engine.recommend([shop.history("ant")], 3)
    assert names(engine, answer) == ["bee", "cat", "dog"]
    # cosine / temperature from the retriever, and the cosine once more from the ranker
    np.testing.assert_allclose(answer.scores[0], 3 * np.cos([0.2, 0.45, 0.75]), rtol=1e-4)
    np.testing.assert_allclose(answer.retriever_scores[0], 2 * np.cos([0.2, 0.45, 0.75]), rtol=1e-4)


def test_seen_items_come_back_where_repeats_are_wanted(shop, engine):
    assert names(engine, engine.recommend([shop.history("ant")], 2, exclude_seen=False)) == ["ant", "bee"]


def test_unknown_and_empty_users_get_what_is_popular(shop, engine):
    answer = engine.recommend([None, shop.history("ant"), shop.history()], 3)
    assert names(engine, answer, 0) == names(engine, answer, 2) == ["ant", "bee", "cat"]
    assert names(engine, answer, 1) == ["bee", "cat", "dog"]
    # log(1 + events), as a share of the largest, over the temperature
    np.testing.assert_allclose(answer.scores[0], np.log1p([5, 4, 3]) / np.log1p(5) / 0.5, rtol=1e-5)
    assert engine.reason(answer, 0, 0) is None
    assert engine.reason(answer, 1, 0) is not None
    asked = [None, shop.history("ant"), shop.history()]
    assert [engine.degraded(*each) for each in zip(asked, answer.answered_by, strict=True)] == [
        ["unknown_user: popularity"],
        [],
        ["empty_history: popularity"],
    ]


def test_a_history_of_items_that_are_gone_is_answered_like_an_unknown_user(shop, engine):
    gone = shop.history("gnu", "owl")
    answer = engine.recommend([gone, None], 3)
    assert names(engine, answer, 0) == names(engine, answer, 1)
    assert engine.degraded(gone, answer.answered_by[0]) == ["unknown_items: popularity"]


def test_a_user_with_fields_alone_is_answered_by_the_towers_where_the_bundle_says_so(shop, tmp_path):
    cook = shop.history(profile={"job": np.array([2])})
    for setting, expected in (("towers", "profile"), ("popularity", "popularity")):
        path = tmp_path / setting
        write_bundle(path, lambda at, setting=setting: shop.fill_bundle(at, without_events=setting))
        with shop.open_engine(path) as engine:
            answer = engine.recommend([cook, None], 3)
            assert answer.answered_by == (expected, "popularity")
            assert engine.degraded(cook, answer.answered_by[0]) == [f"empty_history: {expected}"]


def test_popular_items_that_were_seen_are_left_out(engine):
    only_seen = History(
        item=np.empty(0, np.int64),
        timestamp=np.empty(0, np.int64),
        event=np.empty(0, np.int64),
        value=np.empty(0, np.float32),
        seen=np.array([2, 4]),
    )
    assert names(engine, engine.recommend([only_seen], 3)) == ["bee", "dog", "eel"]
    assert names(engine, engine.recommend([only_seen], 2, exclude_seen=False)) == ["ant", "bee"]


@pytest.mark.parametrize("user", ["nobody", "ann"])
def test_only_allowed_items_are_recommended(engine, user):
    (past,) = engine.state.histories([user])
    allowed, _ = engine.request_reader.allowed(None, {"group": ["mammal"]})
    assert names(engine, engine.recommend([past], 5, allowed=allowed)) == ["cat", "dog", "fox"]
    nothing = np.zeros(8, np.bool_)
    assert names(engine, engine.recommend([past], 5, allowed=nothing)) == []


def test_filters_ask_for_one_value_in_every_field_and_meet_candidates(engine):
    allowed, _ = engine.request_reader.allowed(["bee", "cat", "eel"], {"group": ["flies", "fish"]})
    assert np.flatnonzero(allowed).tolist() == [3, 6]
    assert engine.request_reader.allowed(None, {}) == (None, [])


def test_ranks_every_candidate(shop, engine):
    candidates, _ = engine.request_reader.candidates(["fox", "ant", "cat"])
    known = engine.rank([shop.history("ant")], candidates[None])
    assert names(engine, known) == ["ant", "cat", "fox"]
    unknown = engine.rank([None], candidates[None])
    assert names(engine, unknown) == ["ant", "cat", "fox"]
    assert (np.diff(unknown.scores[0]) < 0).all()


def test_similar_items_are_the_others(engine):
    items, cosines = engine.similar(3, 2)
    assert [engine.item_id(item) for item in items] == ["ant", "cat"]
    np.testing.assert_allclose(cosines, np.cos([0.2, 0.25]), rtol=1e-5)
    assert len(engine.similar(3, 50)[0]) == 5


def test_similar_items_are_the_nearest_by_cosine(shop, tmp_path):
    """Fox is cold and has a short vector."""

    def fill(directory):
        values = shop.fill_bundle(directory)
        vectors = shop.item_vectors()
        vectors[7] *= 0.3
        np.save(directory / "item_vectors.npy", vectors)
        return values

    write_bundle(tmp_path / "bundle", fill)
    with shop.open_engine(tmp_path / "bundle") as engine:
        for item, nearest, angles in ((7, ["eel", "dog"], [0.4, 0.75]), (6, ["dog", "fox"], [0.35, 0.4])):
            items, cosines = engine.similar(item, 2)
            assert [engine.item_id(item) for item in items] == nearest
            np.testing.assert_allclose(cosines, np.cos(angles), rtol=1e-5)


def test_reasons_name_the_past_item_and_the_modality(shop, engine):
    answer = engine.recommend([shop.history("bee", "fox")], 5)
    reasons = {name: engine.reason(answer, 0, at) for at, name in enumerate(names(engine, answer))}
    assert reasons["ant"].text == 'because you chose "Bee"; most telling: its picture'
    assert reasons["eel"].text == 'because you chose "Fox"; most telling: its picture'
    assert reasons["dog"].modality == "id"
    assert engine.item_id(reasons["dog"].past_item) == "bee"


def test_without_a_ranker_there_are_no_reasons(shop, tmp_path):
    write_bundle(tmp_path / "bundle", lambda at: shop.fill_bundle(at, ranker=False))
    engine = shop.open_engine(tmp_path / "bundle")
    answer = engine.recommend([shop.history("ant")], 2)
    assert names(engine, answer) == ["bee", "cat"]
    assert engine.reason(answer, 0, 0) is None
    assert list(engine.providers) == ["user_tower"]


def test_a_saved_index_is_used(shop, tmp_path):
    pytest.importorskip("faiss")

    def fill(directory):
        FaissIndex.build(shop.item_vectors()).save(directory / "index")
        return shop.fill_bundle(directory)

    write_bundle(tmp_path / "bundle", fill)
    engine = shop.open_engine(tmp_path / "bundle")
    assert isinstance(engine.recommender.index, FaissIndex)
    assert names(engine, engine.recommend([shop.history("ant")], 3)) == ["bee", "cat", "dog"]


def test_cold_items_have_their_ranks_in_lists_and_among_given_candidates(shop, tmp_path):
    """Fox is cold."""
    write_bundle(tmp_path / "bundle", lambda at: shop.fill_bundle(at, cold_ranks=(3,)))
    with shop.open_engine(tmp_path / "bundle") as engine:
        ann = [shop.history("ant")]
        assert names(engine, engine.recommend(ann, 1)) == ["bee"]
        assert names(engine, engine.recommend(ann, 2)) == ["bee", "cat"]
        assert names(engine, engine.recommend(ann, 4)) == ["bee", "cat", "fox", "dog"]
        assert names(engine, engine.recommend([None], 4)) == ["ant", "bee", "fox", "cat"]
        for given, expected in (
            (["fox", "dog", "bee", "cat"], ["bee", "cat", "fox", "dog"]),
            (["fox", "dog"], ["dog", "fox"]),
            (["fox"], ["fox"]),
        ):
            candidates = engine.request_reader.candidates(given)[0][None]
            assert names(engine, engine.rank(ann, candidates)) == expected
            assert names(engine, engine.rank([None], candidates)) == expected


def test_a_graph_that_does_not_fit_is_the_bundles_fault(shop, tmp_path):
    def fill(directory):
        values = shop.fill_bundle(directory)
        np.save(directory / "item_vectors.npy", np.ones((8, 3), np.float32))
        np.save(directory / "item_tokens.npy", np.ones((8, 2, 3), np.float16))
        return values

    write_bundle(tmp_path / "bundle", fill)
    with pytest.raises(BundleError, match=r"user_tower\.onnx: event_vector"):
        shop.open_engine(tmp_path / "bundle").recommend([shop.history("ant")], 1)


def test_a_history_without_times_counts_as_consecutive(engine):
    read, _ = engine.request_reader.history([Event(item="bee"), Event(item="ant", event="buy", value=4.0)])
    assert read.item.tolist() == [3, 2]
    assert np.diff(read.timestamp).tolist() == [60_000_000]
    assert read.event.tolist() == [2, 3]
    assert np.isnan(read.value[0])
    assert read.value[1] == 4.0
    assert read.seen.tolist() == [2, 3]


def test_a_history_with_times_is_put_in_order(engine):
    read, _ = engine.request_reader.history([Event(item="bee", timestamp=9), Event(item="ant", timestamp=4)])
    assert read.item.tolist() == [2, 3]
    assert read.timestamp.tolist() == [4, 9]


def test_without_a_clock_times_are_places(shop, tmp_path):
    schema = replace(shop.SCHEMA, has_clock=False)
    write_bundle(tmp_path / "bundle", lambda at: shop.fill_bundle(at, sequence_schema=schema))
    engine = shop.open_engine(tmp_path / "bundle")
    untimed, _ = engine.request_reader.history([Event(item="bee"), Event(item="ant")])
    assert untimed.timestamp.tolist() == [0, 1]
    timed, _ = engine.request_reader.history(
        [Event(item="bee", timestamp=99), Event(item="ant", timestamp=4)]
    )
    assert (timed.item.tolist(), timed.timestamp.tolist()) == ([2, 3], [0, 1])


@pytest.mark.parametrize(
    ("ask", "field", "said"),
    [
        (
            lambda read: read.history([Event(item="fxo"), Event(item="ant", event="by")]),
            "history.1.event",
            "'buy'",
        ),
        (lambda read: read.history([Event(item="ant", event="by")]), "history.0.event", "'buy'"),
        (
            lambda read: read.history([Event(item="ant", timestamp=1), Event(item="bee")]),
            "history.1.timestamp",
            "every entry",
        ),
        (lambda read: read.candidates([]), "candidates", "empty"),
        (lambda read: read.candidates(["ant", "bee", "ant"]), "candidates.2", "repeats candidates.0;"),
        (lambda read: read.candidates(["be", "wolf"]), "candidates", "for 'be', did you mean 'bee'"),
        (lambda read: read.candidates(["ant", "be"], strict=True), "candidates", "unknown items: 'be'"),
        (lambda read: read.allowed([], {}), "candidates", "empty"),
        (lambda read: read.allowed(["be"], {}), "candidates", "for 'be', did you mean 'bee'"),
        (lambda read: read.allowed(["ant", "be"], {}, strict=True), "candidates", "unknown items: 'be'"),
        (lambda read: read.allowed(None, {}, ["be"], strict=True), "exclude", "unknown items: 'be'"),
        (lambda read: read.allowed(None, {"groups": ["fish"]}), "filters.groups", "'group'"),
        (lambda read: read.allowed(None, {"group": ["fish", "mamal"]}), "filters.group.1", "'mammal'"),
        (lambda read: read.allowed(None, {"group": []}), "filters.group", "empty"),
        (lambda read: read.item("xyz", "item_id"), "item_id", "ant, bee, cat"),
    ],
)
def test_a_mistake_names_its_field_and_what_would_be_right(engine, ask, field, said):
    with pytest.raises(RequestError) as caught:
        ask(engine.request_reader)
    assert caught.value.field == field
    assert said in caught.value.message


def save(path, bundle, users):
    maps = IdMaps(kinds=bundle.event_ids, profiles=bundle.profile_ids)
    save_histories(users, path, bundle.item_ids, maps)


def test_open_imports_the_sibling_histories_once_and_keeps_erasures(shop, bundle_path):
    run, bundle = bundle_path.parent, Bundle.open(bundle_path)
    users = {"ann": shop.history("ant", profile={"job": np.array([3])}), "bob": shop.history("fox", "dog")}
    save(run / "histories.parquet", bundle, users)
    with Engine.open(bundle_path) as engine:
        (ann,) = engine.state.histories(["ann"])
        assert names(engine, engine.recommend([ann], 2)) == ["bee", "cat"]
        assert ann.profile["job"].tolist() == [3]
        engine.state.delete_user("bob")
    save(run / "histories.parquet", bundle, users | {"eve": shop.history("eel")})
    with Engine.open(bundle_path) as engine:
        assert list(engine.state.user_ids()) == ["ann", "eve"]
    assert (run / "state.sqlite").is_file()


def test_named_histories_and_state_may_lie_elsewhere(shop, bundle_path, tmp_path):
    save(tmp_path / "other.parquet", Bundle.open(bundle_path), {"eve": shop.history("eel")})
    with Engine.open(
        bundle_path, histories=tmp_path / "other.parquet", state=tmp_path / "other.sqlite"
    ) as engine:
        assert list(engine.state.user_ids()) == ["eve"]
    assert sorted(path.name for path in bundle_path.parent.iterdir()) == ["bundle"]


def test_a_bundle_without_histories_knows_nobody(bundle_path):
    with Engine.open(bundle_path) as engine:
        assert engine.state.num_users() == 0
        assert names(engine, engine.recommend(engine.state.histories(["ann"]), 1)) == ["ant"]


def test_open_refuses_an_altered_bundle_and_missing_histories(bundle_path):
    with pytest.raises(DataError, match="no histories"):
        Engine.open(bundle_path, histories=bundle_path / "gone.parquet")
    with (bundle_path / "ranker.onnx").open("ab") as file:
        file.write(b"!")
    with pytest.raises(BundleError, match=r"ranker\.onnx was altered"):
        Engine.open(bundle_path)


def test_reasons_say_what_is_sure_of_the_reviewers(shop, tmp_path):
    def fill(directory):
        values = shop.fill_bundle(directory)
        path = directory / "catalogue.parquet"
        said = pl.Series("reviewers", ["praise", None, None, None, "enthusiasm", None], dtype=pl.String)
        pl.read_parquet(path).with_columns(said).write_parquet(path)
        return values

    write_bundle(tmp_path / "bundle", fill)
    with shop.open_engine(tmp_path / "bundle") as engine:
        answer = engine.recommend([shop.history("bee", "fox")], 4)
        texts = {name: engine.reason(answer, 0, at).text for at, name in enumerate(names(engine, answer))}
    assert texts["ant"] == 'because you chose "Bee"; most telling: its picture; reviewers praise it'
    assert texts["eel"].endswith("; reviewers sound enthusiastic")
    assert "reviewers" not in texts["dog"]


def test_unknown_items_of_a_history_are_left_out_and_named(engine):
    events = [Event(item="wolf"), Event(item="bee", value=2.0), Event(item="bear"), Event(item="wolf")]
    read, ignored = engine.request_reader.history([*events, Event(item="ant")])
    assert (read.item.tolist(), read.seen.tolist(), ignored) == ([3, 2], [2, 3], ["wolf", "bear"])
    assert np.diff(read.timestamp).tolist() == [60_000_000]
    nothing, ignored = engine.request_reader.history(events[:1])
    assert (nothing.item.tolist(), nothing.seen.tolist(), ignored) == ([1], [], ["wolf"])
    with pytest.raises(RequestError, match="unknown items: 'wolf', 'bear'"):
        engine.request_reader.history(events, strict=True)


def test_annotations_of_the_catalogue_are_filtered_like_categories():
    catalogue = pl.DataFrame(
        {
            "item_id": ["a", "b", "c"],
            "cat:genre": [["x", "y"], [], ["y"]],
            "reviewers": ["praise", None, "praise"],
            "title": ["x", "x", "x"],
        }
    )
    asked = CatalogueFilter(catalogue)
    assert np.flatnonzero(asked.mask({"reviewers": ["praise"]})).tolist() == [2, 4]
    assert np.flatnonzero(asked.mask({"reviewers": ["praise"], "genre": ["x"]})).tolist() == [2]
    with pytest.raises(RequestError, match="unknown field; did you mean 'genre'"):
        asked.mask({"genres": ["x"]})
    hidden = CatalogueFilter(catalogue.rename({"cat:genre": "cat:reviewers"}))
    assert np.flatnonzero(hidden.mask({"reviewers": ["x"]})).tolist() == [2]


def test_excluded_items_are_left_out(engine):
    allowed, unknown = engine.request_reader.allowed(None, {}, ["ant", "wolf"])
    assert (np.flatnonzero(allowed).tolist(), unknown) == ([3, 4, 5, 6, 7], ["wolf"])
    allowed, _ = engine.request_reader.allowed(["ant", "bee"], {"group": ["insect"]}, ["ant"])
    assert np.flatnonzero(allowed).tolist() == [3]


def test_unknown_candidates_are_left_out_and_named(engine):
    candidates, unknown = engine.request_reader.candidates(["wolf", "bee", "bear", "ant"])
    assert (candidates.tolist(), unknown) == ([3, 2], ["wolf", "bear"])
    allowed, unknown = engine.request_reader.allowed(["bee", "wolf"], {}, ["elk"])
    assert (np.flatnonzero(allowed).tolist(), unknown) == ([3], ["elk", "wolf"])


def test_an_empty_history_has_no_events(engine):
    read, unknown = engine.request_reader.history([])
    assert (len(read), read.seen.tolist(), unknown) == (0, [], [])
