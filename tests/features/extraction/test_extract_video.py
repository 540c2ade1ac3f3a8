"""extract over videos: frames, sound and words of each video are encoded once, by content."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from extraction_parts import LoudnessTranscriber, tiny_config, use_transcriber

from features.dataset.tables import Dataset, InMemoryDataset, MediaVectors
from features.extraction.extract import extract
from recsys.config import EncoderConfig
from scripts.bad_media import BLUE, RATE, RED, write_video, write_wav

GREEN = (0, 200, 0)


@pytest.fixture
def config(tmp_path: Path) -> EncoderConfig:
    return tiny_config(tmp_path, video_frames=4, batch_size=3)  # less than the frames of one video


@pytest.fixture(autouse=True)
def transcriber(monkeypatch: pytest.MonkeyPatch) -> LoudnessTranscriber:
    return use_transcriber(monkeypatch, "red shirt")


def dataset(root: Path, *videos: list[Path]) -> Dataset:
    """An item for each list of videos."""
    items = pl.DataFrame({"video": [list(map(str, paths)) for paths in videos]})
    empty = pl.DataFrame()
    return InMemoryDataset(
        name="tiny", root=root, items=items, interactions=empty, reviews=empty, users=empty, has_clock=True
    )


def loud(value: float = 0.5) -> np.ndarray:
    return np.full(RATE, value)


def run(shop: Dataset, config: EncoderConfig) -> MediaVectors:
    return extract(shop, config, cache_dir=shop.root / "cache")


def encoded(vectors: MediaVectors) -> dict[str, int]:
    return {name: count for name, count in vectors.encoded.items() if count}


def test_frames_sound_and_words_of_each_video(tmp_path: Path, config: EncoderConfig) -> None:
    half = write_video(tmp_path / "half.mkv", [RED, BLUE], sound=loud())
    mute = write_video(tmp_path / "mute.mp4", [RED])
    quiet = write_video(tmp_path / "quiet.mkv", [GREEN], sound=loud(0.25))
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(mute.read_bytes())
    vectors = run(dataset(tmp_path, [half], [], [mute, quiet], [copy]), config)
    assert set(vectors.items) == {"video", "video_audio", "video_speech"}
    np.testing.assert_array_equal(vectors.items["video"].owner, [0, 2, 2, 3])
    expected = [[127.5, 0, 127.5], RED, GREEN, RED]
    np.testing.assert_allclose(vectors.items["video"].vectors, expected, atol=3)
    np.testing.assert_array_equal(vectors.items["video_audio"].owner, [0, 2])
    np.testing.assert_allclose(vectors.items["video_audio"].vectors, [[0.5], [0.25]], rtol=1e-3)
    np.testing.assert_array_equal(vectors.items["video_speech"].owner, [0])
    np.testing.assert_array_equal(vectors.items["video_speech"].vectors, [[2 + 5, 2]])
    assert vectors.rejected == ()
    assert encoded(vectors) == {"video": 3, "video_audio": 2, "video_speech": 1}
    assert not vectors.transcripts, "those are of reviews"
    assert vectors.video_transcripts == {0: "red shirt"}


def test_words_of_several_videos_of_one_item_are_one_text(tmp_path: Path, config: EncoderConfig) -> None:
    one = write_video(tmp_path / "one.mkv", [RED], sound=loud())
    two = write_video(tmp_path / "two.mkv", [BLUE], sound=loud(0.6))
    vectors = run(dataset(tmp_path, [one, two]), config)
    np.testing.assert_array_equal(vectors.items["video_speech"].vectors, [[2 * (2 + 5), 4]])


def test_a_second_extraction_encodes_nothing(
    tmp_path: Path, config: EncoderConfig, transcriber: LoudnessTranscriber
) -> None:
    half = write_video(tmp_path / "half.mkv", [RED, BLUE], sound=loud())
    mute = write_video(tmp_path / "mute.mp4", [RED])
    shop = dataset(tmp_path, [half], [mute])
    first, second = run(shop, config), run(shop, config)
    assert encoded(second) == {}
    assert second.cached == {"video": 2, "video_audio": 1, "video_speech": 1}
    assert transcriber.num_transcribed == 1
    for name in first.items:
        np.testing.assert_array_equal(first.items[name].owner, second.items[name].owner)
        np.testing.assert_array_equal(first.items[name].vectors, second.items[name].vectors)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"video_frames": 1}, {"video": 1}),
        ({"video_sound_seconds": 60}, {"video_audio": 1}),  # the same words have their vector already
    ],
)
def test_another_sampling_is_another_vector(
    tmp_path: Path, config: EncoderConfig, change: dict[str, int], expected: dict[str, int]
) -> None:
    shop = dataset(tmp_path, [write_video(tmp_path / "half.mkv", [RED, BLUE], sound=loud())])
    run(shop, config)
    vectors = run(shop, config.model_copy(update=change))
    assert encoded(vectors) == expected
    if "video_frames" in change:
        np.testing.assert_allclose(vectors.items["video"].vectors, [BLUE], atol=3)


def test_what_cannot_be_read_is_rejected_once_and_the_rest_goes_on(
    tmp_path: Path, config: EncoderConfig
) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(bytes(range(256)))
    only_sound = write_wav(tmp_path / "sound.wav", loud()[:, None], RATE)
    good = write_video(tmp_path / "good.mkv", [RED], sound=loud())
    vectors = run(dataset(tmp_path, [broken, good], [tmp_path / "gone.mp4"], [only_sound]), config)
    found = {(entry.table, entry.row, entry.column, entry.path): entry.reason for entry in vectors.rejected}
    assert len(vectors.rejected) == len(found) == 3
    assert "cut off, damaged" in found["items", 0, "video", "broken.mp4"]
    assert found["items", 1, "video", "gone.mp4"] == "No such file or directory"
    assert found["items", 2, "video", "sound.wav"] == "no pictures in it, only sound"
    np.testing.assert_array_equal(vectors.items["video"].owner, [0])
    np.testing.assert_array_equal(vectors.items["video_audio"].owner, [0])
    assert encoded(vectors) == {"video": 1, "video_audio": 1, "video_speech": 1}


def test_sound_that_cannot_be_read_leaves_the_pictures(
    tmp_path: Path, config: EncoderConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_sound(*_: object) -> None:
        raise ValueError("broken packet")

    good = write_video(tmp_path / "good.mkv", [RED], sound=loud())
    monkeypatch.setattr("features.media.video.read_sound", read_sound)
    vectors = run(dataset(tmp_path, [good]), config)
    assert set(vectors.items) == {"video"}
    (entry,) = vectors.rejected
    assert entry.reason == "not a video with readable sound: broken packet"


def test_without_a_transcriber_sight_and_sound_remain(
    tmp_path: Path, config: EncoderConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    good = write_video(tmp_path / "good.mkv", [RED], sound=loud())
    vectors = run(dataset(tmp_path, [good]), config.model_copy(update={"transcriber": "none"}))
    assert set(vectors.items) == {"video", "video_audio"}


def test_progress_reaches_its_total(tmp_path: Path, config: EncoderConfig) -> None:
    videos = [write_video(tmp_path / f"{at}.mkv", [(at, at, at)], sound=loud(at / 9)) for at in range(1, 4)]
    calls: dict[str, list[tuple[int, int]]] = {}
    extract(
        dataset(tmp_path, videos),
        config,
        cache_dir=tmp_path / "cache",
        progress=lambda step, done, total: calls.setdefault(step, []).append((done, total)),
    )
    assert calls == {"video": [(1, 3), (2, 3), (3, 3)], "video_audio": [(3, 3)]}
