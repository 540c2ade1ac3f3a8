"""Live events and the history of training become one history in the ids of the bundle at hand."""

import numpy as np
import pytest

from recsys.history import History
from recsys.ids import IdMap
from serving.state.assembling import Assembler
from serving.state.protocol import LiveEvent, LiveUser

VIEW, BUY = 2, 3  # kinds of the bundle
DAY = 86_400_000_000


class Maps:
    """The maps of a bundle."""

    def __init__(self, items=("ant", "bee", "cat", "dog")):
        self.item_ids, self.event_ids = IdMap(items), IdMap(("view", "buy"))
        self.profile_ids = {"job": IdMap(("cook", "baker"))}


def trained(*pairs, reviews=None, profile=None):
    """Views of items, each with its time in microseconds."""
    items, times = np.array([*zip(*pairs, strict=True)] or [(), ()], np.int64)
    return History(
        item=items,
        timestamp=times,
        event=np.full(len(items), VIEW, np.int64),
        value=np.full(len(items), np.nan, np.float32),
        review_text=reviews or {},
        seen=np.unique(items),
        profile={"job": np.array([2])} if profile is None else profile,
    )


def live(*events, **more):
    """A user with events (item, time, kind); all their items are seen."""
    rows = tuple(
        LiveEvent(event_id=str(at), user="u", item=item, timestamp=time, kind=kind, value=float(at))
        for at, (item, time, kind) in enumerate(events)
    )
    return LiveUser(events=rows, seen=frozenset(item for item, _, _ in events), **more)


@pytest.fixture
def assemble():
    return Assembler(Maps()).history


def test_without_live_rows_the_history_of_training_is_unchanged(assemble):
    history = trained((2, DAY))
    assert assemble(history, LiveUser()) is history
    assert assemble(None, LiveUser()) is None


def test_live_events_are_sorted_in_and_reviews_move_with_their_events(assemble):
    vector = np.ones(3, np.float32)
    history = trained((2, 1 * DAY), (3, 5 * DAY), reviews={0: vector, 1: 2 * vector})
    joined = assemble(
        history, live(("dog", 3 * DAY, "buy"), ("cat", 5 * DAY, None), ("bee", 9 * DAY, "view"))
    )
    assert joined.item.tolist() == [2, 5, 3, 4, 3]
    assert joined.event.tolist() == [VIEW, BUY, VIEW, VIEW, VIEW]
    assert (joined.timestamp // DAY).tolist() == [1, 3, 5, 5, 9]
    np.testing.assert_array_equal(joined.value, np.array([np.nan, 0, np.nan, 1, 2], np.float32))
    assert {at: vector.tolist() for at, vector in joined.review_text.items()} == {0: [1] * 3, 2: [2] * 3}
    assert (joined.seen.tolist(), joined.profile["job"].tolist()) == ([2, 3, 4, 5], [2])


def test_an_event_that_training_has_counts_once(assemble):
    """Datasets in seconds keep no fraction; another kind, item or second is another event."""
    history = trained((2, 5_000_000), (3, 7_000_000))
    same = ("bee", 7_400_000, "view")
    others = [("bee", 7_400_000, "buy"), ("ant", 7_000_000, "view"), ("bee", 8_000_000, "view")]
    joined = assemble(history, live(same, *others))
    assert joined.value[2:].tolist() == [2.0, 1.0, 3.0]
    assert assemble(history, live(same)).item.tolist() == [2, 3]


def test_a_user_without_training_has_the_live_events_alone(assemble):
    history = assemble(None, live(("cat", 5, None)))
    assert (history.item.tolist(), history.seen.tolist()) == ([4], [4])
    assert history.profile["job"].tolist() == []


def test_an_erased_user_has_the_live_events_alone(assemble):
    assert assemble(trained((2, DAY)), live(is_erased=True)) is None
    assert assemble(trained((2, DAY)), live(("cat", 5, None), is_erased=True)).item.tolist() == [4]


def test_unknown_items_are_left_out_unless_nothing_is_known(assemble):
    assert assemble(None, live(("wolf", 1, None), ("cat", 2, None))).item.tolist() == [4]
    nothing = assemble(None, live(("wolf", 1, None), ("elk", 2, "sniff")))
    assert (nothing.item.tolist(), nothing.event.tolist(), nothing.seen.tolist()) == ([1, 1], [VIEW, 1], [])


def test_seen_items_are_not_bounded_by_the_events_that_are_read(assemble):
    user = LiveUser(events=live(("cat", 5, None)).events, seen=frozenset({"cat", "dog", "wolf"}))
    assert assemble(trained((2, 1)), user).seen.tolist() == [2, 4, 5]


def test_live_fields_replace_those_of_training(assemble):
    user = LiveUser(profile={"job": ("baker", "singer"), "town": ("Rome",)})
    assert {name: ids.tolist() for name, ids in assemble(trained((2, 1)), user).profile.items()} == {
        "job": [3, 1]
    }
    assert len(assemble(None, user)) == 0


def test_without_kinds_in_the_dataset_all_live_events_have_the_one_kind():
    maps = Maps()
    maps.event_ids = IdMap(("interaction",))
    user = live(("ant", 5_000_000, "buy"), ("bee", 9, "view"))
    history = Assembler(maps).history(trained((2, 5_000_000)), user)
    assert (history.item.tolist(), history.event.tolist()) == ([3, 2], [2, 2])


def test_a_bundle_with_the_item_reads_an_event_that_the_last_one_could_not():
    user = live(("wolf", 5, "buy"), ("ant", 6, None))
    assert Assembler(Maps()).history(None, user).item.tolist() == [2]
    new = Assembler(Maps(("wolf", "ant"))).history(None, user)
    assert (new.item.tolist(), new.event.tolist()) == ([2, 3], [BUY, VIEW])
