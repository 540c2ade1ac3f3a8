"""Events to `History` objects, which the user tower reads in training, batch and online alike."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from features.dataset import (
    Dataset,
    IdMaps,
    MediaVectors,
    MediumVectors,
    UserEvents,
    encode,
    encode_lists,
    split_by,
)
from features.inputs.history_file import count_histories, iter_histories, load_histories, save_histories
from features.inputs.streamed_histories import LazyHistories
from features.splits import TrainStatistics, statistics_of
from recsys.arrays import Floats, Ints
from recsys.columns import Columns
from recsys.config import UserTowerConfig
from recsys.history import EVENT_NUMBERS, REVIEW_FIELDS, History, SequenceSchema
from recsys.ids import UNKNOWN, IdMap
from recsys.modalities import Modality

__all__ = [
    "HistoryBuilder",
    "IdMaps",
    "KnownUsers",
    "ReviewVectors",
    "SeenItems",
    "build_maps",
    "build_schema",
    "count_histories",
    "iter_histories",
    "load_histories",
    "save_histories",
]


@dataclass(frozen=True, kw_only=True)
class ReviewVectors:
    """One text and one voice vector a review at most; owners are rows of `Dataset.reviews`, ascending."""

    text: MediumVectors | None
    audio: MediumVectors | None

    @classmethod
    def of(cls, vectors: MediaVectors) -> "ReviewVectors":
        """The vector of the written text, else of the transcript; and the vector of the voice."""
        written, spoken = (
            vectors.reviews.get(name) for name in (Modality.REVIEW_TEXT, Modality.REVIEW_SPEECH)
        )
        text = _one_each(written or spoken)
        if written is not None and spoken is not None and text is not None:
            said = _one_each(spoken)
            assert said is not None
            new = ~np.isin(said.owner, text.owner)
            owner = np.concatenate([text.owner, said.owner[new]])
            both = np.concatenate([text.vectors, said.vectors[new]])
            order = np.argsort(owner, kind="stable")
            text = MediumVectors(owner=owner[order], vectors=both[order])
        return cls(text=text, audio=_one_each(vectors.reviews.get(Modality.REVIEW_AUDIO)))

    def of_field(self, name: str) -> MediumVectors | None:
        """The vectors of one of `REVIEW_FIELDS`."""
        return {"review_text": self.text, "review_audio": self.audio}[name]

    @property
    def text_dim(self) -> int:
        """Width of a review's text vector, 0 where there is none at all."""
        return self.text.vectors.shape[1] if self.text is not None else 0

    @property
    def audio_dim(self) -> int:
        """Width of a review's voice vector, 0 where there is none at all."""
        return self.audio.vectors.shape[1] if self.audio is not None else 0


def build_maps(dataset: Dataset, train: pl.DataFrame | TrainStatistics) -> IdMaps:
    """Id maps of the kinds of training events, and of the fields of users who have a training event."""
    statistics = statistics_of(train)
    kinds = IdMap(statistics.kinds)
    users = dataset.users.join(statistics.users, on=Columns.USER, how="semi")
    profiles = {
        column.removeprefix(Columns.CATEGORY_PREFIX): IdMap(
            users[column].explode().drop_nulls().unique().sort().to_list()
        )
        for column in users.columns
        if column.startswith(Columns.CATEGORY_PREFIX)
    }
    return IdMaps(kinds=kinds, profiles=profiles)


def build_schema(
    dataset: Dataset,
    train: pl.DataFrame | TrainStatistics,
    maps: IdMaps,
    reviews: ReviewVectors | None,
    config: UserTowerConfig,
) -> SequenceSchema:
    """Widths and scales of the user tower's inputs; mean and deviation of the values from `train`."""
    scales = statistics_of(train).number_scales
    use_reviews = config.use_reviews and reviews is not None
    return SequenceSchema(
        max_length=config.max_length,
        has_clock=dataset.has_clock,
        num_event_kinds=maps.kinds.size,
        number_scales={name: (mean, std if std > 0 else 1.0) for name, (mean, std) in scales.items()},
        review_text_dim=reviews.text_dim if use_reviews and reviews else 0,
        review_audio_dim=reviews.audio_dim if use_reviews and reviews else 0,
        profile_sizes={field: ids.size for field, ids in maps.profiles.items()} if config.use_profile else {},
    )


class HistoryBuilder:
    """Turns events into histories, with the reviews that may be read and the users' own fields."""

    def __init__(
        self,
        dataset: Dataset,
        *,
        item_ids: IdMap,
        maps: IdMaps,
        reviews: ReviewVectors | None = None,
        allowed_reviews: pl.DataFrame | None = None,
    ) -> None:
        """`allowed_reviews` are rows of `dataset.reviews`; without them no review is attached."""
        self.dataset = dataset
        self.item_ids = item_ids
        self.maps = maps
        self.reviews = reviews
        self.allowed_reviews = allowed_reviews if allowed_reviews is not None else dataset.reviews.clear()

    def build(self, events: pl.DataFrame, users: Sequence[str] | None = None) -> dict[str, History]:
        """A history for each of `users` (default: all who have events), empty where there are no events.

        Events are sorted by (time, row). `seen` has every item of the user's `events`. A review is attached
        to the event that it came with only if it is dated no later than the user's next event: the position
        of the event predicts the next event, and must not read a review that is later than the next event.
        """
        if users is not None:
            events = events.filter(pl.col(Columns.USER).is_in(list(users)))
        events = events.sort(Columns.USER, Columns.TIMESTAMP, Columns.ROW)
        counts = events.group_by(Columns.USER, maintain_order=True).len()
        names = counts[Columns.USER].to_list()
        ends = counts["len"].cast(pl.Int64).cum_sum().to_numpy()
        arrays = self._arrays(events)
        reviews = self.reviews_of(events, ends)
        del events  # before the next arrays are made: the sorted copy is the largest part of the memory
        seen = _seen(arrays["item"], ends)
        built: dict[str, History] = {}
        start = 0
        for at, (name, end) in enumerate(zip(names, ends.tolist(), strict=True)):
            built[name] = History.of(
                {field: array[start:end] for field, array in arrays.items()},
                reviews={field: vectors[at] for field, vectors in reviews.items() if at in vectors},
                seen=seen[at],
                profile=self.profile(name),
            )
            start = end
        if users is None:
            return built
        return {name: built[name] if name in built else self.empty(name) for name in users}

    def build_lazily(self, events: UserEvents) -> Mapping[str, History]:
        """A history for each user with one of `events`, which are read from disk when the user is looked up.

        The users and histories of `build` for the same events, users by id.
        """
        return LazyHistories(self, events)

    def reading_all_reviews(self) -> "HistoryBuilder":
        """The same builder with all reviews, for serving: then no event is held out."""
        return HistoryBuilder(
            self.dataset,
            item_ids=self.item_ids,
            maps=self.maps,
            reviews=self.reviews,
            allowed_reviews=self.dataset.reviews,
        )

    def empty(self, user: str) -> History:
        """The history of a user without events."""
        return History.empty(self.profile(user))

    def has_fields(self, user: str) -> bool:
        """Whether the table of users has a row of this user."""
        return user in self._profile_rows

    def profile(self, user: str) -> dict[str, Ints]:
        """Ids of the user's own fields, empty for a user without a row in the table of users."""
        row = self._profile_rows.get(user) if self.maps.profiles else None
        return {
            field: np.empty(0, np.int64) if row is None else lists[row]
            for field, lists in self._profiles.items()
        }

    @cached_property
    def _profile_rows(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self.dataset.users[Columns.USER].to_list())}

    @cached_property
    def _profiles(self) -> dict[str, list[Ints]]:
        users = self.dataset.users
        return {
            field: encode_lists(users[Columns.CATEGORY_PREFIX + field], ids)
            for field, ids in self.maps.profiles.items()
        }

    def _arrays(self, events: pl.DataFrame) -> dict[str, np.ndarray]:
        """The arrays of `EVENT_FIELDS`."""
        numbers = events.select(EVENT_NUMBERS).cast(pl.Float32).fill_null(float("nan"))
        return {
            "item": encode(events[Columns.ITEM], self.item_ids),
            "event": encode(events[Columns.EVENT], self.maps.kinds),
            "timestamp": events[Columns.TIMESTAMP].to_numpy(writable=True),
            **{number.name: number.to_numpy(writable=True) for number in numbers},
        }

    @property
    def reviewers(self) -> pl.Series:
        """Users with a review that may be read, each once; none where no review is attached."""
        allowed = self.allowed_reviews if self.reviews is not None else self.allowed_reviews.clear()
        return allowed[Columns.USER].unique()

    def reviews_of(self, events: pl.DataFrame, ends: Ints) -> dict[str, dict[int, dict[int, Floats]]]:
        """Review vectors: name of `REVIEW_FIELDS` -> row of the user -> position in the history -> vector.

        `events` are sorted by user, time and row; those of a user end at `ends`.
        """
        if self.reviews is None or not self.allowed_reviews.height:
            return {name: {} for name in REVIEW_FIELDS}
        attached = attach_reviews(events, self._allowed_positions, has_clock=self.dataset.has_clock)
        return {name: _place(attached, self.reviews.of_field(name), ends) for name in REVIEW_FIELDS}

    @cached_property
    def _allowed_positions(self) -> pl.DataFrame:
        """Author, item, date and `position` in `dataset.reviews` of each review that may be read."""
        by_event = self.dataset.reviews.with_row_index("position").with_columns(
            pl.col("position").cast(pl.Int64)
        )
        allowed = by_event.join(self.allowed_reviews.select(Columns.ROW), on=Columns.ROW, how="semi")
        return allowed.select(
            Columns.USER, Columns.ITEM, pl.col(Columns.TIMESTAMP).alias("reviewed"), "position"
        )


def attach_reviews(events: pl.DataFrame, reviews: pl.DataFrame, *, has_clock: bool) -> pl.DataFrame:
    """Columns `at` (row of `events`) and `position` (of the review), by date of the review.

    `events` are sorted by user, time and row; `reviews` has user, item, `reviewed` and `position`. A
    review belongs to the author's last event on the item that is not later than it (their first, where
    all are later), and is left out if it is dated after the author's event that follows. Without dates
    it belongs to the last event on the item, and with a clock to none.
    """
    if has_clock:
        reviews = reviews.drop_nulls("reviewed")
    same_user = pl.col(Columns.USER) == pl.col(Columns.USER).shift(-1)
    following = pl.when(same_user).then(pl.col(Columns.TIMESTAMP).shift(-1)).alias("following")
    by_event = events.select(
        Columns.USER, Columns.ITEM, Columns.TIMESTAMP, following, pl.int_range(pl.len()).alias("at")
    )
    # One event is looked up for each review; all pairs of a user's events and reviews could be too many.
    pair = [Columns.USER, Columns.ITEM]
    dated = reviews.drop_nulls("reviewed").sort("reviewed")
    by_time = by_event.sort(Columns.TIMESTAMP, maintain_order=True)
    past = dated.join_asof(
        by_time, left_on="reviewed", right_on=Columns.TIMESTAMP, by=pair, check_sortedness=False
    ).select("position", past="at")
    ends = by_event.group_by(pair).agg(first=pl.col("at").min(), last=pl.col("at").max())
    undated = pl.col("reviewed").is_null()
    at = pl.when(undated).then("last").otherwise(pl.coalesce("past", "first")).alias("at")
    found = reviews.join(ends, on=pair).join(past, on="position", how="left").with_columns(at)
    pairs = found.join(by_event.select("at", "following"), on="at")
    in_time = (pl.col("reviewed") <= pl.col("following")).fill_null(True)
    return pairs.filter(in_time).sort("at", "reviewed", "position").select("at", "position")


class SeenItems(Mapping[str, Ints]):
    """The seen items of each history."""

    def __init__(self, histories: Mapping[str, History]) -> None:
        self._histories = histories

    def __getitem__(self, user: str) -> Ints:
        return self._histories[user].seen

    def __iter__(self) -> Iterator[str]:
        return iter(self._histories)

    def __len__(self) -> int:
        return len(self._histories)


class KnownUsers(Mapping[str, History]):
    """Histories of the users with events, then empty ones of all other users of the table of users.

    An empty history has the user's fields. It is made when the user is looked up.
    """

    def __init__(self, builder: HistoryBuilder, histories: Mapping[str, History]) -> None:
        self._builder, self._histories = builder, histories

    def __getitem__(self, user: str) -> History:
        if user in self._histories:
            return self._histories[user]
        if self._builder.has_fields(user):
            return self._builder.empty(user)
        raise KeyError(user)

    def __iter__(self) -> Iterator[str]:
        yield from self._histories
        yield from self._without_events

    def __len__(self) -> int:
        return len(self._histories) + len(self._without_events)

    @cached_property
    def _without_events(self) -> list[str]:
        users = self._builder.dataset.users[Columns.USER].to_list()
        return [user for user in users if user not in self._histories]


def _seen(item: Ints, ends: Ints) -> list[Ints]:
    """Unique known items of each user, by first appearance."""
    key = np.repeat(np.arange(len(ends)), np.diff(ends, prepend=0))  # one number for each user and item
    key *= item.max(initial=UNKNOWN) + 1
    key += item
    is_first = pl.Series(key).is_first_distinct().to_numpy() & (item > UNKNOWN)
    num_before = np.concatenate([[0], np.cumsum(is_first)])
    return split_by(item[is_first], num_before[ends])


def _place(attached: pl.DataFrame, medium: MediumVectors | None, ends: Ints) -> dict[int, dict[int, Floats]]:
    """Vectors by user and position; of two reviews on one event the newer one is kept."""
    if medium is None or not attached.height:
        return {}
    owner = pl.DataFrame({"position": medium.owner, "vector": np.arange(len(medium.owner))})
    found = attached.join(owner, on="position", maintain_order="left").unique(
        "at", keep="last", maintain_order=True
    )
    at = found["at"].to_numpy()
    user = np.searchsorted(ends, at, side="right")
    position = at - np.concatenate([[0], ends])[user]
    by_event: dict[int, dict[int, Floats]] = {}
    for row, where, vector in zip(user.tolist(), position.tolist(), found["vector"].to_list(), strict=True):
        by_event.setdefault(row, {})[where] = medium.vectors[vector]
    return by_event


def _one_each(medium: MediumVectors | None) -> MediumVectors | None:
    """One vector a review: the mean where it has several."""
    if medium is None or not len(medium.owner):
        return None
    owner, place = np.unique(medium.owner, return_inverse=True)
    vectors, _ = MediumVectors(owner=place.astype(np.int64), vectors=medium.vectors).pooled(len(owner))
    return MediumVectors(owner=owner.astype(np.int64), vectors=vectors)
