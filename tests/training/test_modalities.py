"""From raw tables to a fit for datasets with any media: videos, no picture, no text, nothing."""

import json
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dataset_parts import write
from fit_parts import fit_split
from fitting_parts import config
from PIL import Image
from split_parts import Event, Review, dataset
from tiny_encoders import write_tiny_audio, write_tiny_image, write_tiny_text

from features.dataset.load import load_dataset
from features.dataset.tables import MediaVectors, MediumVectors
from features.extraction.extract import extract
from features.inputs.histories import HistoryBuilder, ReviewVectors, build_maps
from features.inputs.item_features import build_item_features
from features.splits.make import make_split
from recsys.config import EncoderConfig
from recsys.ids import IdMap
from scripts.bad_media import BLUE, RATE, RED, write_video
from training.fitting.fit import Fitted

NUM_ITEMS, NUM_USERS, LENGTH = 12, 20, 6
COLOURS = [RED if at % 2 else BLUE for at in range(NUM_ITEMS)]
WITHOUT = NUM_ITEMS - 1  # the item that has no medium at all


def write_shop(root: Path, *media: str) -> Path:
    """Items that are red or blue, shown by the columns `media`; users walk on from one of their own."""
    root.mkdir()
    lines = []
    for at, colour in enumerate(COLOURS):
        item: dict[str, object] = {"id": f"i{at}", "title": None, **dict.fromkeys(media)}
        if "title" in media and at != WITHOUT:
            item["title"] = "red shirt" if colour == RED else "blue shoe"
        if "image" in media and at != WITHOUT:
            Image.new("RGB", (8, 8), colour).save(root / f"{at}.png")
            item["image"] = [f"{at}.png"]
        if "video" in media and at != WITHOUT:
            sound = np.full(RATE // 4, 0.5) if colour == RED else None
            item["video"] = write_video(root / f"{at}.mkv", [colour], rate=4, sound=sound).name
        lines.append(json.dumps(item))
    events = "user,item,time\n" + "".join(
        f"u{user},i{(user + at) % NUM_ITEMS},{10 * at}\n" for user in range(NUM_USERS) for at in range(LENGTH)
    )
    columns: dict[str, object] = {"path": "items.jsonl", **{name: name for name in media}}
    return write(root, {"items.jsonl": "\n".join(lines), "events.csv": events}, items=columns)


def walk(tmp_path: Path, *media: str) -> Fitted:
    data = load_dataset(write_shop(tmp_path / "shop", *media))
    encoders = EncoderConfig(
        text=str(write_tiny_text(tmp_path / "text")),
        image=str(write_tiny_image(tmp_path / "image")),
        audio=str(write_tiny_audio(tmp_path / "audio")),
        transcriber="none",
        video_frames=2,
    )
    vectors = extract(data, encoders, cache_dir=tmp_path / "cache")
    assert not vectors.rejected
    settings = config(train={"epochs": 1}, model={"ranker": {"num_epochs": 1}})
    return fit_split(data, vectors, make_split(data, settings.split), settings)


@pytest.mark.parametrize(
    ("media", "expected"),
    [
        (("video",), {"video", "video_audio"}),
        (("title",), {"title"}),
        (("image",), {"image"}),
        ((), set()),
    ],
    ids=["videos alone", "no picture at all", "no text at all", "nothing but ids"],
)
def test_a_fit_takes_what_there_is(tmp_path: Path, media: tuple[str, ...], expected: set[str]) -> None:
    fitted = walk(tmp_path, *media)
    assert set(fitted.features.dense) == expected
    assert set(fitted.retriever.model.spec.dense_dims) == expected
    history = fitted.builder.build(fitted.builder.dataset.interactions)
    found = fitted.recommender.recommend(list(history.values())[:3], 5)
    assert found.items.shape == (3, 5)
    assert np.isfinite(found.scores).all()


def test_a_video_is_a_token_of_its_item_and_of_no_other(tmp_path: Path) -> None:
    fitted = walk(tmp_path, "title", "image", "video")
    model, features = fitted.retriever.model, fitted.features
    rows = [features.item_ids.strict(f"i{at}") for at in range(NUM_ITEMS)]
    has = np.arange(NUM_ITEMS) != WITHOUT
    np.testing.assert_array_equal(features.present["video"][rows], has)
    np.testing.assert_allclose(features.dense["video"][rows], np.array(COLOURS) * has[:, None], atol=4)
    loud = has & np.array([colour == RED for colour in COLOURS])
    np.testing.assert_array_equal(features.present["video_audio"][rows], loud)
    np.testing.assert_allclose(features.dense["video_audio"][rows, 0], 0.5 * loud, atol=1e-3)

    dense = features.dense["video"].copy()
    dense[rows[3]] = BLUE  # it was red
    before = model.item_arrays(as_cold=True).vectors
    model.set_features(replace(features, dense={**features.dense, "video": dense}))
    after = model.item_arrays(as_cold=True).vectors
    changed = np.abs(after - before).max(axis=1) > 1e-4
    np.testing.assert_array_equal(np.flatnonzero(changed), [rows[3]])


class TestManyReviews:
    """An item with 10,000 reviews."""

    NUM, WIDTH = 10_000, 64

    def vectors(self) -> MediumVectors:
        values = np.random.default_rng(0).standard_normal((self.NUM, self.WIDTH)).astype(np.float32)
        return MediumVectors(owner=np.arange(self.NUM), vectors=values)

    def test_their_mean_takes_the_memory_of_their_vectors(self) -> None:
        events: list[Event] = [(f"u{at}", "i0", 1) for at in range(self.NUM)]
        reviews: list[Review] = [(f"u{at}", "i0", 1) for at in range(self.NUM)]
        data, medium = dataset(events, reviews, extra_items=["i1"]), self.vectors()
        vectors = MediaVectors(items={}, reviews={"review_text": medium})
        tracemalloc.start()
        features = build_item_features(data, vectors, train=data.interactions, reviews=data.reviews)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        row = features.item_ids.strict("i0")
        mean = medium.vectors.astype(np.float64).mean(0)
        np.testing.assert_allclose(features.dense["review_text"][row], mean, atol=1e-5)
        assert peak < 3 * medium.vectors.nbytes + 4_000_000
        assert not features.present["review_text"][features.item_ids.strict("i1")]

    def test_all_by_one_user_they_are_no_product_of_events_and_reviews(self) -> None:
        """For example, all guests as one user: 10,000 events and 10,000 reviews would be 10^8 pairs."""
        events: list[Event] = [("guest", "i0", at) for at in range(self.NUM)]
        reviews: list[Review] = [("guest", "i0", at) for at in range(self.NUM)]
        data, medium = dataset(events, reviews), self.vectors()
        vectors = ReviewVectors.of(MediaVectors(items={}, reviews={"review_text": medium}))
        maps = build_maps(data, data.interactions)
        builder = HistoryBuilder(
            data, item_ids=IdMap(["i0"]), maps=maps, reviews=vectors, allowed_reviews=data.reviews
        )
        history = builder.build(data.interactions)["guest"]
        assert len(history.item) == self.NUM
        assert list(history.review_text) == list(range(self.NUM))
        for at in (0, 17, self.NUM - 1):
            np.testing.assert_array_equal(history.review_text[at], medium.vectors[at])
