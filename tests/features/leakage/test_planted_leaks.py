"""Each leak is planted into correct inputs, and the error of the audit names it."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from leak_parts import Pieces, caught, moved, pieces, tampered, with_event

from features.inputs.histories import HistoryBuilder, IdMaps
from features.inputs.item_features import build_item_features
from features.inputs.user_items import UserItems
from features.leakage.events import AuditedEvents
from features.leakage.reviews import check_attached
from features.splits.assignment import TEST, TRAIN, VALIDATION
from recsys.errors import LeakError
from recsys.history import History
from recsys.ids import IdMap

ON_DISK = pytest.mark.parametrize("on_disk", [False, True], ids=["memory", "disk"])


Honest = Callable[[str, bool], Pieces]  # protocol, on disk


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Honest:
    """Inputs that several tests share; no test changes them."""

    @cache
    def make(protocol: str, on_disk: bool) -> Pieces:
        return pieces(tmp_path_factory.mktemp(protocol), protocol, streamed=on_disk)

    return make


def review_of(made: Pieces, part: str) -> pl.DataFrame:
    """One review of a pair with an event in that part."""
    events = getattr(made.split, part).select("user_id", "item_id").unique(maintain_order=True)
    return made.dataset.reviews.join(
        events, on=["user_id", "item_id"], how="semi", maintain_order="left"
    ).head(1)


class TestParts:
    def test_one_event_in_two_parts(self, tmp_path: Path) -> None:
        made = pieces(tmp_path, "leave_one_out")
        first = made.split.validation.head(1)
        both = tampered(made.split, train=pl.concat([made.split.train, first]))
        error = caught(made, "split.validation", split=both)
        assert "occurs in train and in validation" in str(error)
        assert (error.user, error.item) == first.select("user_id", "item_id").row(0)
        twice = tampered(made.split, train=pl.concat([made.split.train, made.split.train.head(1)]))
        assert "occurs twice in train" in str(caught(made, "split.train", split=twice))

    def test_a_test_event_under_the_number_of_another_row(self, tmp_path: Path) -> None:
        made = pieces(tmp_path, "held_out_items")
        row = made.split.train["row"][0]
        renamed = made.split.test.head(1).with_columns(pl.lit(row, pl.Int64).alias("row"))
        train = pl.concat([made.split.train.filter(pl.col("row") != row), renamed])
        caught(made, "split.train", split=tampered(made.split, train=train))

    @ON_DISK
    @pytest.mark.parametrize("protocol", ["leave_one_out", "user_temporal", "global_temporal"])
    def test_a_test_event_in_training(self, tmp_path: Path, protocol: str, on_disk: bool) -> None:
        made = pieces(tmp_path, protocol, streamed=on_disk)
        event = made.split.test.sort("user_id", "timestamp").group_by("user_id").last().sort("user_id")
        user, row = event.filter(pl.col("row").is_not_null())["user_id"][0], event["row"][0]
        error = caught(made, "split.train", split=moved(made, row, TRAIN))
        assert error.user == user
        assert "comes after the user's first" in str(error)

    @ON_DISK
    def test_training_of_others_after_the_cut_off_for_all(self, tmp_path: Path, on_disk: bool) -> None:
        """The order holds for each user and not for all users together."""
        made = pieces(tmp_path, "global_temporal", streamed=on_disk)
        one = made.split.validation.sort("user_id", "timestamp", "row")["user_id"][0]
        mine = pl.concat([made.split.validation, made.split.context, made.split.test])
        for row in mine.filter(pl.col("user_id") == one)["row"].to_list():
            made.split = moved(made, row, TRAIN)
        error = caught(made, "split.train")
        assert "of all users" in str(error)
        assert error.user == one

    @ON_DISK
    def test_a_new_item_with_a_training_event(self, tmp_path: Path, on_disk: bool) -> None:
        made = pieces(tmp_path, "held_out_items", streamed=on_disk)
        item, row = made.split.test.select("item_id", "row").row(0)
        error = caught(made, "split.train", split=moved(made, row, TRAIN))
        assert error.item == item


class TestReviews:
    @ON_DISK
    @pytest.mark.parametrize("part", [VALIDATION, TEST])
    @pytest.mark.parametrize("protocol", ["leave_one_out", "user_temporal", "held_out_items", "predefined"])
    def test_of_a_held_pair(self, honest: Honest, protocol: str, part: str, on_disk: bool) -> None:
        made = honest(protocol, on_disk)
        pairs = getattr(made.split, part).select("user_id", "item_id").head(1)
        early = made.dataset.reviews.head(1).drop("user_id", "item_id").hstack(pairs)
        planted = early.select(made.dataset.reviews.columns).with_columns(
            pl.lit(0, pl.Int64).alias("timestamp")
        )
        reviews = pl.concat([made.split.reviews, planted])
        error = caught(made, "split.reviews", split=tampered(made.split, reviews=reviews))
        assert (error.user, error.item) == pairs.row(0)
        assert "of a pair with an event outside training" in str(error)

    @pytest.mark.parametrize(
        ("protocol", "words"),
        [
            ("leave_one_out", "its author's first held event"),
            ("user_temporal", "its author's first held event"),
            ("held_out_items", "its author's first held event"),
            ("predefined", "the cut-off for all users"),
            ("global_temporal", "the cut-off for all users"),
        ],
    )
    @pytest.mark.parametrize("date", ["late", None])
    def test_dated_after_the_cut_off_or_not_at_all(
        self, honest: Honest, protocol: str, words: str, date: str | None
    ) -> None:
        made = honest(protocol, False)
        train = made.split.train.join(made.split.validation.select("user_id"), on="user_id", how="semi")
        held = pl.concat([made.split.validation, made.split.test, made.split.context])
        other = train.join(held, on=["user_id", "item_id"], how="anti").sort("row").head(1)
        when = made.dataset.interactions["timestamp"].max() if date else None
        planted = made.dataset.reviews.head(1).with_columns(
            pl.lit(other["user_id"][0]).alias("user_id"),
            pl.lit(other["item_id"][0]).alias("item_id"),
            pl.lit(when, pl.Int64).alias("timestamp"),
        )
        reviews = pl.concat([made.split.reviews, planted])
        error = caught(made, "split.reviews", split=tampered(made.split, reviews=reviews))
        assert ("at or after" if date else "without a date") in str(error)
        assert words in str(error)

    @ON_DISK
    @pytest.mark.parametrize("protocol", ["leave_one_out", "global_temporal", "held_out_items"])
    def test_in_the_vectors_of_items(self, honest: Honest, protocol: str, on_disk: bool) -> None:
        made = honest(protocol, on_disk)
        facts, hidden = made.split.statistics, review_of(made, TEST)
        reviews = pl.concat([made.split.reviews, hidden])
        features = build_item_features(made.dataset, made.vectors, train=facts, reviews=reviews)
        error = caught(made, "ItemFeatures.dense['review_text']", features=features)
        assert error.item == hidden["item_id"][0]

    def test_in_the_hands_of_the_builder(self, honest: Honest) -> None:
        made = honest("leave_one_out", False)
        open_to_all = HistoryBuilder(
            made.dataset,
            item_ids=made.features.item_ids,
            maps=made.maps,
            reviews=made.builder.reviews,
            allowed_reviews=made.dataset.reviews,
        )
        error = caught(made, "HistoryBuilder", builder=open_to_all)
        row = made.dataset.reviews.join(made.split.reviews, on="row", how="anti").row(0, named=True)
        assert (error.user, error.item) == (row["user_id"], row["item_id"])

    @ON_DISK
    def test_on_an_event(self, honest: Honest, on_disk: bool) -> None:
        made = honest("leave_one_out", on_disk)
        user = next(name for name, history in made.sequences.items() if history.review_text)
        assert made.builder.reviews is not None
        assert made.builder.reviews.text is not None
        hidden = made.builder.reviews.text.vectors[review_of(made, TEST)["row"][0]]
        sequences = dict(made.sequences)
        own = sequences[user]
        sequences[user] = replace(own, review_text={**own.review_text, 1: hidden})
        error = caught(made, "training sequences", sequences=sequences)
        assert error.user == user
        assert "may not be read" in str(error)

    def test_later_than_the_next_event(self, honest: Honest) -> None:
        """An event must not carry a review that is later than the next event."""
        made = honest("leave_one_out", False)
        user = next(name for name, history in made.sequences.items() if 3 in history.review_text)
        events = AuditedEvents(made.dataset, made.split, made.features.item_ids)
        given = (events, made.dataset, made.builder.reviews, made.split.reviews)
        own = made.sequences[user]
        check_attached(*given, {user: own}, table="sequences")
        sooner = own.timestamp.copy()
        sooner[4] = sooner[3] - 1  # the review is dated as its event
        with pytest.raises(LeakError, match="later than the user's next event") as found:
            check_attached(*given, {user: replace(own, timestamp=sooner)}, table="sequences")
        assert found.value.user == user


class TestItems:
    @ON_DISK
    def test_popularity_over_the_test(self, honest: Honest, on_disk: bool) -> None:
        made = honest("user_temporal", on_disk)
        item = made.features.item_ids.strict(made.split.train["item_id"][0])
        popularity = made.features.popularity.copy()
        popularity[item] += 1
        features = replace(made.features, popularity=popularity)
        error = caught(made, "ItemFeatures.popularity", features=features)
        assert error.item == made.split.train["item_id"][0]

    def test_everything_of_all_events(self, honest: Honest) -> None:
        made = honest("held_out_items", False)
        everything = made.dataset.interactions
        features = build_item_features(
            made.dataset, made.vectors, train=everything, reviews=made.split.reviews
        )
        caught(made, "ItemFeatures.trained", features=features)

    @ON_DISK
    @pytest.mark.parametrize("protocol", ["user_temporal", "held_out_items", "leave_one_out"])
    def test_an_id_row_of_a_cold_item(self, honest: Honest, protocol: str, on_disk: bool) -> None:
        """It would be sampled as a negative, too."""
        made = honest(protocol, on_disk)
        cold = sorted(made.split.cold_items)[-1]
        trained = made.features.trained.copy()
        trained[made.features.item_ids.strict(cold)] = True
        error = caught(made, "ItemFeatures.trained", features=replace(made.features, trained=trained))
        assert error.item == cold

    @ON_DISK
    def test_a_value_of_a_cold_item_in_the_vocabulary(self, honest: Honest, on_disk: bool) -> None:
        made = honest("held_out_items", on_disk)
        cold = sorted(made.split.cold_items - {"new"})[0]
        maker = made.dataset.items.filter(pl.col("item_id") == cold)["cat:maker"][0][0]
        ids = IdMap([*made.features.category_ids["maker"].external, maker])
        features = replace(made.features, category_ids={"maker": ids})
        error = caught(made, "the vocabulary of the items' 'maker'", features=features)
        assert maker in str(error)

    def test_figures_scaled_by_all_items(self, honest: Honest) -> None:
        made = honest("held_out_items", False)
        everything = made.dataset.interactions
        of_all = build_item_features(made.dataset, made.vectors, train=everything, reviews=made.split.reviews)
        dense = {**made.features.dense, "numeric": of_all.dense["numeric"]}
        error = caught(made, "ItemFeatures.dense['numeric']", features=replace(made.features, dense=dense))
        assert "'year'" in str(error)


class TestFacts:
    @ON_DISK
    def test_a_kind_of_event_outside_training(self, honest: Honest, on_disk: bool) -> None:
        made = honest("leave_one_out", on_disk)
        maps = IdMaps(kinds=IdMap([*made.maps.kinds.external, "gift"]), profiles=made.maps.profiles)
        assert "'gift'" in str(caught(made, "the kinds of events", maps=maps))

    @ON_DISK
    def test_a_value_of_a_user_without_training(self, honest: Honest, on_disk: bool) -> None:
        made = honest("leave_one_out", on_disk)
        jobs = {"job": IdMap([*made.maps.profiles["job"].external, "pilot"])}
        maps = IdMaps(kinds=made.maps.kinds, profiles=jobs)
        assert "'pilot'" in str(caught(made, "the vocabulary of the users' 'job'", maps=maps))

    @ON_DISK
    def test_values_scaled_by_all_events(self, honest: Honest, on_disk: bool) -> None:
        made = honest("global_temporal", on_disk)
        everything = made.dataset.interactions["value"].to_numpy()
        schema = replace(
            made.schema, number_scales={"value": (float(everything.mean()), float(everything.std()))}
        )
        caught(made, "the scale of the events' 'value'", schema=schema)


class TestHistories:
    @ON_DISK
    @pytest.mark.parametrize("protocol", ["leave_one_out", "held_out_items", "global_temporal"])
    def test_a_validation_event_in_training(self, honest: Honest, protocol: str, on_disk: bool) -> None:
        made = honest(protocol, on_disk)
        users = [user for user in made.targets if user in made.sequences]
        leaky = {**made.sequences, users[0]: plus(made, users[0], VALIDATION)}
        error = caught(made, "training sequences", sequences=leaky)
        assert error.user == users[0]
        assert "the user's validation event" in str(error)

    def test_all_that_is_known_at_test_time_in_training(self, honest: Honest) -> None:
        made = honest("leave_one_out", False)
        caught(made, "training sequences", sequences=made.histories)

    def test_validation_events_before_validation(self, honest: Honest) -> None:
        made = honest("leave_one_out", False)
        error = caught(made, "histories before validation", before=made.histories)
        assert "the user's validation event" in str(error)

    def test_a_negative_event_of_the_time_after_the_target(self, honest: Honest) -> None:
        made = honest("user_temporal", False)
        late = made.split.context.sort("user_id", "timestamp").row(-1, named=True)
        own = made.builder.build(
            pl.concat([made.split.train, made.split.context.filter(pl.col("row") == late["row"])]),
            [late["user_id"]],
        )
        error = caught(made, "histories before validation", before={**made.before, **own})
        assert "the user's context event" in str(error)

    @ON_DISK
    def test_a_test_event_before_the_test(self, honest: Honest, on_disk: bool) -> None:
        made = honest("predefined", on_disk)
        user = made.split.test["user_id"][0]
        leaky = {**made.histories, user: plus(made, user, TEST, of=made.histories[user])}
        error = caught(made, "histories before test", at_test=True, histories=leaky, ground_truth={})
        assert error.user == user
        assert "the user's test event" in str(error)

    def test_a_history_of_somebody_else(self, honest: Honest) -> None:
        made = honest("leave_one_out", False)
        unknown = {"nobody": next(iter(made.sequences.values()))}
        error = caught(made, "training sequences", sequences=made.sequences | unknown)
        assert error.user == "nobody"

    def test_an_item_that_counts_as_seen_without_an_event(self, honest: Honest) -> None:
        made = honest("leave_one_out", False)
        user, items = next((user, items) for user, items in made.ground_truth.items() if len(items))
        own = made.histories[user]
        leaky = {**made.histories, user: replace(own, seen=np.append(own.seen, items[0]))}
        error = caught(made, "ground truth", at_test=True, histories=leaky)
        assert error.user == user
        with pytest.raises(LeakError, match="a seen item has no event"):
            made.test(histories=leaky, exclude_seen=False)


class TestTargets:
    @ON_DISK
    @pytest.mark.parametrize("part", [TRAIN, TEST])
    def test_on_which_models_were_fitted_or_measured(self, honest: Honest, part: str, on_disk: bool) -> None:
        made = honest("leave_one_out", on_disk)
        user, item = getattr(made.split, part).filter("positive").select("user_id", "item_id").row(0)
        targets = {**made.targets, user: made.features.item_ids.encode([item])}
        error = caught(made, "validation targets", targets=targets)
        assert (error.user, error.item) == (user, item)

    @ON_DISK
    def test_of_a_source_that_was_fitted_on_them(self, honest: Honest, on_disk: bool) -> None:
        made = honest("leave_one_out", on_disk)
        item_ids = made.features.item_ids
        made.fit(source_items=UserItems.of(made.split.positive_training(item_ids)))
        both = pl.concat([made.split.train, made.split.validation.tail(1)])
        planted = UserItems.of(replace(made.split.in_memory(), train=both).positive_training(item_ids))
        error = caught(made, "items of the candidate sources", source_items=planted)
        assert error.user == both["user_id"][-1]

    def test_truth_outside_the_test(self, honest: Honest) -> None:
        made = honest("leave_one_out", False)
        user, item = made.split.validation.select("user_id", "item_id").row(0)
        ground_truth = {**made.ground_truth, user: made.features.item_ids.encode([item])}
        error = caught(made, "ground truth", at_test=True, ground_truth=ground_truth)
        assert (error.user, error.item) == (user, item)


def plus(made: Pieces, user: str, part: str, of: History | None = None) -> History:
    """The user's training history, or `of`, with one event of that part at its end."""
    event = getattr(made.split, part).filter(pl.col("user_id") == user).head(1)
    return with_event(made, of or made.sequences[user], event)
