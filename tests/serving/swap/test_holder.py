"""Another bundle takes the place of the served one, or is refused and the old one goes on."""

import shutil
import threading
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundle_parts import ITEMS, item_vectors, write_tiny_bundle

from recsys.errors import BundleError, DataError
from recsys.retrieval import Recommendations
from serving.engine import Engine
from serving.state import LiveEvent
from serving.swap import Holder, ServeSettings, SwapUnderWayError, check_answers


def listed(holder: Holder, user: str) -> list[str]:
    engine = holder.current().engine
    history, _ = engine.history(user)
    found = engine.recommend([history], 3, users=[user]).items[0]
    return [engine.item_id(item) for item in found.tolist() if item]


def buy(user: str, item: str) -> LiveEvent:
    return LiveEvent(event_id=f"{user} {item}", user=user, item=item, timestamp=10**15)


def test_the_new_bundle_answers_with_the_same_users(bundles: Path, holder: Holder) -> None:
    old = holder.current()
    old.engine.state.live.append_events([buy("eve", "i05"), buy("ann", "i07")])
    swapped = holder.swap(bundles / "second")  # a run: its bundle is meant
    new = holder.current()
    assert (swapped.before, swapped.now) == (old.source, new.source)
    assert old.source.version != new.source.version
    with Engine.open(bundles / "second" / "bundle", state=":memory:") as alone:
        alone.state.live.append_events([buy("eve", "i05"), buy("ann", "i07")])
        for user in ("ann", "bob", "eve"):
            history, _ = alone.history(user)
            expected = alone.recommend([history], 3, users=[user]).items[0]
            assert listed(holder, user) == [alone.item_id(item) for item in expected.tolist()]
    # What was taken before the swap still answers from the old bundle, with events that came later.
    new.engine.state.live.append_events([buy("eve", "i06")])
    history, _ = old.engine.history("eve")
    assert history is not None
    assert len(history) == 2


def test_users_are_read_in_the_items_of_the_new_bundle(bundles: Path, holder: Holder) -> None:
    holder.current().engine.state.live.append_events([buy("eve", "i11"), buy("eve", "i02")])
    holder.swap(bundles / "third")
    engine = holder.current().engine
    history, _ = engine.history("eve")
    assert history is not None
    assert [engine.item_id(item) for item in history.item.tolist()] == ["i02"]


def test_a_roll_back_and_back_again(bundles: Path, holder: Holder) -> None:
    with pytest.raises(BundleError, match="no bundle was served before"):
        holder.roll_back()
    first = holder.current().source
    before = listed(holder, "ann")
    second = holder.swap(bundles / "second").now
    assert holder.roll_back().now == first
    assert listed(holder, "ann") == before
    assert holder.roll_back().now == second


def test_a_roll_back_to_a_folder_with_another_bundle_is_refused(tmp_path: Path, bundles: Path) -> None:
    write_tiny_bundle(tmp_path / "bundle", seed=5)
    with Holder.open(tmp_path / "bundle", ServeSettings(state=":memory:")) as holder:
        gone = holder.current().source.version
        holder.swap(bundles / "second")
        shutil.rmtree(tmp_path / "bundle")
        write_tiny_bundle(tmp_path / "bundle", seed=6)
        with pytest.raises(BundleError, match=f"version {gone} is gone"):
            holder.roll_back()


def test_the_memory_of_the_old_bundle_is_free_after_its_last_request(bundles: Path, holder: Holder) -> None:
    taken = holder.current()
    old = weakref.ref(taken.engine)
    vectors = weakref.ref(taken.engine.require_recommender().items)
    holder.swap(bundles / "second")
    assert old() is taken.engine, "a request is still answered from it"
    del taken
    assert (old(), vectors()) == (None, None)


def nan_vectors(seed: int) -> np.ndarray:
    vectors = item_vectors(len(ITEMS), seed)
    vectors[5] = np.nan
    return vectors


def test_a_bundle_that_is_damaged_or_answers_wrongly_is_refused(
    tmp_path: Path, bundles: Path, holder: Holder
) -> None:
    before = holder.current()
    shutil.copytree(bundles / "second", tmp_path / "damaged")
    with (tmp_path / "damaged" / "bundle" / "user_tower.onnx").open("ab") as file:
        file.write(b"more")
    write_tiny_bundle(tmp_path / "nan" / "bundle", vectors=nan_vectors(3))
    for name, message in (
        ("damaged", "user_tower.onnx"),
        ("nan", "row 5 is not finite"),
        ("nowhere", "manifest.json"),
    ):
        with pytest.raises((BundleError, DataError), match=message):
            holder.swap(tmp_path / name)
        assert holder.current() is before
    (bundles / "second" / "histories.parquet").rename(tmp_path / "histories.parquet")
    (bundles / "second" / "histories.parquet").write_text("no Parquet")
    try:
        with pytest.raises(DataError):
            holder.swap(bundles / "second")
    finally:
        (tmp_path / "histories.parquet").replace(bundles / "second" / "histories.parquet")
    assert holder.current() is before
    assert listed(holder, "ann")
    assert holder.swap(bundles / "second").num_answers == 2 + 2  # stored users, a history, an unknown user


def test_golden_requests_find_wrong_lists(holder: Holder, monkeypatch: pytest.MonkeyPatch) -> None:
    served = holder.current()
    assert check_answers(served) == 4
    recommend = served.engine.recommend

    def refusal(k: int = 10, **changes: Any) -> str:
        def changed(histories: Any, _: int, **more: Any) -> Recommendations:
            found = recommend(histories, k, **more)
            fields = {name: change(getattr(found, name)) for name, change in changes.items()}
            return replace(found, **fields)

        monkeypatch.setattr(served.engine, "recommend", changed)
        with pytest.raises(BundleError) as refused:
            check_answers(served)
        return str(refused.value)

    assert "golden request: the list of stored user 0 has 9 items; 10 could be listed" in refusal(k=9)
    assert "has a score that is not finite" in refusal(scores=lambda scores: scores * np.nan)
    assert "has an item twice" in refusal(items=lambda items: np.full_like(items, 3))
    assert "failed: ZeroDivisionError" in refusal(items=lambda items: 1 / 0)


def test_one_swap_at_a_time_while_requests_are_answered(
    bundles: Path, holder: Holder, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening, may_open = threading.Event(), threading.Event()
    warm = Engine.warm

    def wait(engine: Engine) -> None:
        opening.set()
        assert may_open.wait(20)
        warm(engine)

    monkeypatch.setattr(Engine, "warm", wait)
    thread = threading.Thread(target=lambda: holder.swap(bundles / "second"))
    before = holder.current()
    thread.start()
    assert opening.wait(20)
    with pytest.raises(SwapUnderWayError):
        holder.swap(bundles / "third")
    assert holder.current() is before
    assert listed(holder, "ann")
    may_open.set()
    thread.join()
    assert holder.current() is not before
