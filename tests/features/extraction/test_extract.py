"""extract: each medium is encoded once, by content, and an unreadable medium is rejected."""

import wave
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from extraction_parts import LoudnessTranscriber, tiny_config, use_transcriber
from PIL import Image

from features.dataset.tables import Dataset, InMemoryDataset, MediaVectors
from features.extraction.extract import extract
from recsys.config import EncoderConfig
from recsys.errors import EncoderError


@pytest.fixture
def config(tmp_path: Path) -> EncoderConfig:
    return tiny_config(tmp_path, batch_size=2)


@pytest.fixture
def transcriber(monkeypatch: pytest.MonkeyPatch) -> LoudnessTranscriber:
    return use_transcriber(monkeypatch, "red")


def picture(path: Path, colour: tuple[int, int, int]) -> str:
    Image.new("RGB", (10, 10), colour).save(path)
    return str(path)


def clip(path: Path, value: float, num_samples: int = 1600) -> str:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(np.full(num_samples, value * 32767).astype("<i2").tobytes())
    return str(path)


def dataset(root: Path, items: list[dict], reviews: list[dict] = ()) -> Dataset:  # type: ignore[assignment]
    item = {"item_id": pl.String, "title": pl.String, "text": pl.String, "image": pl.List(pl.String)}
    review = {"user_id": pl.String, "item_id": pl.String, "text": pl.String, "audio": pl.String}
    empty = pl.DataFrame()
    return InMemoryDataset(
        name="tiny",
        root=root,
        items=pl.DataFrame(items, schema=item),
        interactions=empty,
        reviews=pl.DataFrame(list(reviews), schema=review),
        users=empty,
        has_clock=True,
    )


def counts(vectors: MediaVectors, which: str) -> dict[str, int]:
    return {name: count for name, count in getattr(vectors, which).items() if count}


def test_titles_and_texts(tmp_path: Path, config: EncoderConfig) -> None:
    shop = dataset(
        tmp_path,
        [
            {"title": "red shirt", "text": "blue"},
            {"title": None, "text": "  "},
            {"title": "shoe", "text": "blue"},
        ],
    )
    vectors = extract(shop, config, cache_dir=tmp_path / "cache")
    np.testing.assert_array_equal(vectors.items["title"].owner, [0, 2])
    np.testing.assert_array_equal(vectors.items["title"].vectors, [[7, 2], [6, 1]])
    np.testing.assert_array_equal(vectors.items["text"].owner, [0, 2])
    np.testing.assert_array_equal(vectors.items["text"].vectors, [[4, 1], [4, 1]])
    assert vectors.encoded["text"] == 1
    assert not vectors.reviews
    assert set(vectors.items) == {"title", "text"}


def test_pictures_shared_by_items_and_items_with_several(tmp_path: Path, config: EncoderConfig) -> None:
    red, blue = picture(tmp_path / "red.png", (200, 0, 0)), picture(tmp_path / "blue.png", (0, 0, 100))
    copy = picture(tmp_path / "copy.png", (200, 0, 0))
    shop = dataset(tmp_path, [{"image": [red, blue]}, {"image": None}, {"image": [copy]}, {"image": [red]}])
    vectors = extract(shop, config, cache_dir=tmp_path / "cache")
    np.testing.assert_array_equal(vectors.items["image"].owner, [0, 0, 2, 3])
    expected = [[200, 0, 0], [0, 0, 100], [200, 0, 0], [200, 0, 0]]
    np.testing.assert_allclose(vectors.items["image"].vectors, expected, atol=0.1)
    assert counts(vectors, "encoded") == {"image": 2}


def test_unreadable_media_are_rejected_and_their_items_live_on(
    tmp_path: Path, config: EncoderConfig, transcriber: LoudnessTranscriber
) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"nothing")
    (tmp_path / "broken.opus").write_bytes(b"nothing")
    broken, gone = str(tmp_path / "broken.jpg"), str(tmp_path / "gone.jpg")
    good = picture(tmp_path / "good.png", (1, 2, 3))
    shop = dataset(
        tmp_path,
        [{"title": "red", "image": [broken, good]}, {"title": "blue", "image": [gone]}],
        [{"audio": str(tmp_path / "broken.opus"), "text": "red"}],
    )
    vectors = extract(shop, config, cache_dir=tmp_path / "cache")
    found = {(a.table, a.row, a.column, a.path): a.reason for a in vectors.rejected}
    assert set(found) == {
        ("items", 0, "image", "broken.jpg"),
        ("items", 1, "image", "gone.jpg"),
        ("reviews", 0, "audio", "broken.opus"),
    }
    assert (
        found["items", 0, "image", "broken.jpg"] == "not a readable picture: a text, it begins with 'nothing'"
    )
    assert "No such file" in found["items", 1, "image", "gone.jpg"]
    np.testing.assert_array_equal(vectors.items["image"].owner, [0])
    np.testing.assert_array_equal(vectors.items["title"].owner, [0, 1])
    assert set(vectors.reviews) == {"review_text"}
    assert vectors.encoded["image"] == 1
    assert vectors.encoded["review_audio"] == 0


def test_spoken_reviews_give_words_and_tone(
    tmp_path: Path, config: EncoderConfig, transcriber: LoudnessTranscriber
) -> None:
    loud, quiet = clip(tmp_path / "loud.wav", 0.5, 3200), clip(tmp_path / "quiet.wav", 0.1)
    reviews = [{"audio": quiet}, {"text": "green shoe"}, {"audio": loud}, {"audio": loud}]
    vectors = extract(dataset(tmp_path, [], reviews), config, cache_dir=tmp_path / "cache")
    np.testing.assert_array_equal(vectors.reviews["review_audio"].owner, [0, 2, 3])
    np.testing.assert_allclose(vectors.reviews["review_audio"].vectors, [[0.1], [0.5], [0.5]], rtol=1e-3)
    assert vectors.transcripts == {2: "red", 3: "red"}
    np.testing.assert_array_equal(vectors.reviews["review_speech"].owner, [2, 3])
    np.testing.assert_array_equal(vectors.reviews["review_speech"].vectors, [[2, 1], [2, 1]])
    np.testing.assert_array_equal(vectors.reviews["review_text"].vectors, [[3 + 6, 2]])
    assert transcriber.num_transcribed == 2


def test_without_a_transcriber_the_tone_remains(tmp_path: Path, config: EncoderConfig) -> None:
    shop = dataset(tmp_path, [], [{"audio": clip(tmp_path / "loud.wav", 0.5)}])
    silent = config.model_copy(update={"transcriber": "none"})
    vectors = extract(shop, silent, cache_dir=tmp_path / "cache")
    assert set(vectors.reviews) == {"review_audio"}
    assert vectors.transcripts == {}


def whole_shop(root: Path, num_items: int) -> Dataset:
    items = [
        {"title": f"shoe {n}", "text": f"red {n}", "image": [picture(root / f"{n}.png", (n, 0, 0))]}
        for n in range(num_items)
    ]
    reviews = [
        {"text": f"blue {n}", "audio": clip(root / f"{n}.wav", 0.5 + n / 100)} for n in range(num_items)
    ]
    return dataset(root, items, reviews)


def test_a_second_extraction_encodes_nothing(
    tmp_path: Path, config: EncoderConfig, transcriber: LoudnessTranscriber
) -> None:
    shop = whole_shop(tmp_path, 5)
    first = extract(shop, config, cache_dir=tmp_path / "cache")
    calls: list[tuple[str, int, int]] = []
    second = extract(shop, config, cache_dir=tmp_path / "cache", progress=lambda *call: calls.append(call))
    assert counts(second, "encoded") == {}
    assert second.cached["image"] == first.encoded["image"] == 5
    assert calls == []
    assert transcriber.num_transcribed == 5
    for one, two in ((first.items, second.items), (first.reviews, second.reviews)):
        assert set(one) == set(two)
        for name in one:
            np.testing.assert_array_equal(one[name].owner, two[name].owner)
            np.testing.assert_array_equal(one[name].vectors, two[name].vectors)
    assert first.transcripts == second.transcripts


def test_only_new_media_are_encoded(
    tmp_path: Path, config: EncoderConfig, transcriber: LoudnessTranscriber
) -> None:
    extract(whole_shop(tmp_path, 3), config, cache_dir=tmp_path / "cache")
    vectors = extract(whole_shop(tmp_path, 5), config, cache_dir=tmp_path / "cache")
    expected = {"title": 2, "text": 2, "image": 2, "review_text": 2, "review_audio": 2}
    assert counts(vectors, "encoded") == expected
    assert transcriber.num_transcribed == 5


def test_an_altered_picture_is_encoded_again(tmp_path: Path, config: EncoderConfig) -> None:
    for colour in ((1, 1, 1), (9, 9, 9)):
        shop = dataset(tmp_path, [{"image": [picture(tmp_path / "same.png", colour)]}])
        vectors = extract(shop, config, cache_dir=tmp_path / "cache")
        np.testing.assert_allclose(vectors.items["image"].vectors, [colour], atol=0.01)


def test_progress_reaches_its_total(
    tmp_path: Path, config: EncoderConfig, transcriber: LoudnessTranscriber
) -> None:
    calls: dict[str, list[tuple[int, int]]] = {}
    extract(
        whole_shop(tmp_path, 5),
        config,
        cache_dir=tmp_path / "cache",
        progress=lambda step, done, total: calls.setdefault(step, []).append((done, total)),
    )
    assert calls["image"] == [(2, 5), (4, 5), (5, 5)]
    assert all(steps[-1][0] == steps[-1][1] for steps in calls.values())
    assert {"title", "text", "image", "review_text", "review_audio", "review_speech"} == set(calls)


def test_every_step_is_timed_once(
    tmp_path: Path, config: EncoderConfig, transcriber: LoudnessTranscriber
) -> None:
    shop = whole_shop(tmp_path, 3)
    times = extract(shop, config, cache_dir=tmp_path / "cache").times
    speech = {f"review_audio: {part}": 3 for part in ("decoding", "vectors", "words")}
    expected = {"title": 3, "text": 3, "image": 3, "review_text": 3, "review_speech": 1, **speech}
    assert {name: spent.num_media for name, spent in times.items()} == expected
    assert all(spent.seconds > 0 for spent in times.values())
    assert extract(shop, config, cache_dir=tmp_path / "cache").times == {}


def test_an_interrupted_extraction_goes_on(tmp_path: Path, config: EncoderConfig) -> None:
    """Sixteen texts are encoded together at a batch size of 2."""
    shop = dataset(tmp_path, [{"title": f"red {n}"} for n in range(40)])

    def interrupt(step: str, done: int, total: int) -> None:
        if done >= 32:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract(shop, config, cache_dir=tmp_path / "cache", progress=interrupt)
    vectors = extract(shop, config, cache_dir=tmp_path / "cache")
    assert (vectors.encoded["title"], vectors.cached["title"]) == (8, 32)


def test_an_encoder_of_another_kind_is_refused(tmp_path: Path, config: EncoderConfig) -> None:
    wrong = config.model_copy(update={"text": config.image})
    with pytest.raises(EncoderError, match=r"encoders\.text = .*is an encoder of image; name one of text"):
        extract(dataset(tmp_path, [{"title": "red"}]), wrong, cache_dir=tmp_path / "cache")
