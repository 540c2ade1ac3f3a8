"""Sampling of videos: the same frames as after decoding all of them, with few decoded."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from features.media import video
from features.media.decode import load_audio
from features.media.video import load_frames, load_video_sound
from recsys.errors import MediumError
from scripts.bad_media import BLUE, RATE, RED, write_gif, write_video, write_wav

GREEN = (0, 128, 0)
SHADES = [(at, at, at) for at in range(5, 250, 5)]


def colours(frames: Iterator[Image.Image]) -> np.ndarray:
    """Mean colour of each frame. Shape [frames, 3]."""
    return np.array([np.asarray(frame).mean(axis=(0, 1)) for frame in frames])


def every_frame(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Times and mean colours of all frames, decoded one after the other."""
    with av.open(str(path)) as container:
        frames = [(frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    return np.array([time for time, _ in frames]), np.array([one.mean(axis=(0, 1)) for _, one in frames])


class Counting:
    """A container that counts the frames that are decoded from it."""

    def __init__(self, container: Any) -> None:
        self._container = container
        self.num_decoded = 0

    def __enter__(self) -> "Counting":
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._container, name)

    def decode(self, *streams: Any, **chosen: Any) -> Iterator[Any]:
        for frame in self._container.decode(*streams, **chosen):
            self.num_decoded += 1
            yield frame


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Counting]:
    """All opened containers, in order."""
    containers: list[Counting] = []

    def open_container(source: Any) -> Counting:
        containers.append(Counting(real(source)))
        return containers[-1]

    real = video.open_container
    monkeypatch.setattr(video, "open_container", open_container)
    return containers


@pytest.mark.parametrize("num_frames", [1, 2, 3, 8])
def test_a_red_half_and_a_blue_half(tmp_path: Path, num_frames: int) -> None:
    path = write_video(tmp_path / "a.mp4", [RED, BLUE], seconds=2)
    found = colours(load_frames(path, num_frames))
    middle = (np.arange(num_frames) + 0.5) / num_frames
    expected = np.where(middle[:, None] < 0.5, RED, BLUE)
    np.testing.assert_allclose(found, expected, atol=4)
    np.testing.assert_array_equal(colours(load_frames(path.read_bytes(), num_frames)), found)


@pytest.mark.parametrize(
    ("name", "codec", "key_every", "options"),
    [
        ("a.mp4", "mpeg4", 7, {}),
        ("a.mp4", "libx264", 1000, {}),
        ("a.webm", "libvpx", 30, {}),
        ("a.webm", "libvpx", 30, {"live": "1"}),  # as browsers record: no length, no index
        ("a.avi", "mpeg4", 12, {}),
        ("a.gif", "gif", 12, {}),
    ],
)
def test_the_frames_are_those_of_a_whole_decoding(
    tmp_path: Path, name: str, codec: str, key_every: int, options: dict[str, str]
) -> None:
    path = write_video(
        tmp_path / name, SHADES, seconds=40, rate=5, codec=codec, key_every=key_every, options=options
    )
    start, seconds = video._span(path)
    assert abs(seconds - 40) < 0.3
    times, every = every_frame(path)
    for num_frames in (3, 50):
        wanted = start + (np.arange(num_frames) + 0.5) * seconds / num_frames
        expected = every[np.searchsorted(times, wanted + 1e-6, side="right") - 1]
        np.testing.assert_allclose(colours(load_frames(path, num_frames)), expected, atol=1e-6)


def test_of_an_hour_little_is_decoded(tmp_path: Path, opened: list[Counting]) -> None:
    path = write_video(tmp_path / "hour.mp4", SHADES, seconds=3600, rate=2, size=(16, 16), key_every=20)
    found = colours(load_frames(path, 8))
    chosen = ((np.arange(8) + 0.5) / 8 * len(SHADES)).astype(int)
    np.testing.assert_allclose(found, np.array(SHADES)[chosen], atol=4)
    assert 8 < sum(container.num_decoded for container in opened) < 8 * 25, "of 7,200 frames"


def test_where_key_frames_are_rare_an_earlier_frame_has_to_do(
    tmp_path: Path, opened: list[Counting], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video, "_MAX_DECODED", 10)
    path = write_video(tmp_path / "a.webm", SHADES, seconds=60, rate=5, codec="libvpx", key_every=1000)
    np.testing.assert_allclose(colours(load_frames(path, 1)), [SHADES[1]], atol=1)  # the tenth of 300
    assert sum(container.num_decoded for container in opened) <= 12  # one before it sought, one too many


def test_frames_of_an_animated_gif_count_as_long_as_they_are_shown(tmp_path: Path) -> None:
    write_gif(tmp_path / "a.gif")  # red for 0.3 seconds, blue for 0.1
    found = colours(load_frames(tmp_path / "a.gif", 4))
    np.testing.assert_allclose(found, [RED, RED, RED, BLUE], atol=4)


def test_a_transparent_frame_lies_on_white(tmp_path: Path) -> None:
    image = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    image.save(tmp_path / "a.gif", save_all=True, append_images=[Image.new("RGBA", (4, 4), "red")])
    assert next(load_frames(tmp_path / "a.gif", 2)).getpixel((0, 0)) == (255, 255, 255)


def test_a_video_filmed_upright_is_upright(tmp_path: Path) -> None:
    """The track has a rotation by 90 degrees clockwise, as videos of telephones."""
    path = write_video(tmp_path / "a.mp4", [RED], size=(48, 32))
    one = 1 << 16
    plain = b"".join(number.to_bytes(4, signed=True) for number in (one, 0, 0, 0, one, 0, 0, 0, 1 << 30))
    turned = b"".join(number.to_bytes(4, signed=True) for number in (0, one, 0, -one, 0, 0, 0, 0, 1 << 30))
    content = path.read_bytes()
    track = content.index(b"tkhd")
    assert content.count(plain, track) == 1
    path.write_bytes(content[:track] + content[track:].replace(plain, turned))
    with av.open(str(path)) as container:
        assert next(container.decode(video=0)).rotation == -90
    assert next(load_frames(path, 1)).size == (32, 48)


def test_a_quarter_clockwise_brings_the_left_side_up() -> None:
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[:, :8] = RED

    class Turned:
        format = av.VideoFrame(16, 16, "rgb24").format
        rotation = -90

        def to_ndarray(self, format: str) -> np.ndarray:
            return pixels

    picture = video._picture(Turned())  # type: ignore[arg-type]
    assert picture.getpixel((8, 2)) == RED
    assert picture.getpixel((8, 13)) == (0, 0, 0)


class TestSound:
    def test_of_a_short_video_all_is_heard(self, tmp_path: Path) -> None:
        tone = 0.5 * np.sin(np.arange(2 * RATE) / 10)
        path = write_video(tmp_path / "a.mkv", [RED], seconds=2, sound=tone)
        sound = load_video_sound(path, 120)
        assert sound is not None
        np.testing.assert_allclose(sound, tone, atol=1e-4)
        np.testing.assert_array_equal(load_audio(path), sound)

    def test_of_a_longer_one_its_middle(self, tmp_path: Path) -> None:
        wave = np.repeat([0.1, 0.4, 0.2], 4 * RATE) * np.where(np.arange(12 * RATE) % 20 < 10, 1, -1)
        path = write_video(tmp_path / "a.mp4", [RED, BLUE], seconds=12, rate=5, sound=wave)
        sound = load_video_sound(path, 4)
        assert sound is not None
        whole = load_audio(path)
        middle = np.abs(whole[5 * RATE : 7 * RATE]).mean()
        assert len(sound) == 4 * RATE
        np.testing.assert_allclose(np.abs(sound[RATE:-RATE]).mean(), middle, rtol=0.02)

    def test_of_a_long_one_evenly_spaced_stretches(self, tmp_path: Path) -> None:
        """The loudness encodes the minute. Of six minutes, two are read, in four parts of half a minute."""
        loudness = np.repeat(np.arange(1, 7) / 10, 60 * RATE)
        wave = loudness * np.where(np.arange(len(loudness)) % 20 < 10, 1, -1)
        path = write_video(tmp_path / "a.mkv", [RED, BLUE], seconds=360, rate=1, sound=wave)
        sound = load_video_sound(path, 120)
        assert sound is not None
        assert len(sound) == 120 * RATE
        heard = np.abs(sound).reshape(4, 30, RATE).mean(axis=(1, 2))
        np.testing.assert_allclose(heard, [0.1, 0.3, 0.4, 0.6], rtol=0.05)  # around 0:45, 2:15, 3:45, 5:15

    def test_where_the_length_is_unknown_the_beginning(self, tmp_path: Path) -> None:
        tone = np.full(5 * RATE, 0.2)
        path = write_video(tmp_path / "a.mkv", [RED], seconds=5, sound=tone, options={"live": "1"})
        sound = load_video_sound(path, 2)
        assert sound is not None
        assert len(sound) == 2 * RATE

    def test_none_and_silence_are_no_mistake(self, tmp_path: Path) -> None:
        assert load_video_sound(write_video(tmp_path / "mute.mp4", [RED]), 120) is None
        silent = write_video(tmp_path / "silent.mp4", [RED], sound=np.zeros(RATE))
        assert load_video_sound(silent, 120) is None

    def test_unreadable_sound_says_so(self, tmp_path: Path) -> None:
        (tmp_path / "a.mp4").write_bytes(bytes(range(256)))
        with pytest.raises(MediumError, match=r"a\.mp4: not a video with readable sound: cut off, damaged"):
            load_video_sound(tmp_path / "a.mp4", 120)


class TestUnreadable:
    def reason(self, path: Path, num_frames: int = 4) -> str:
        with pytest.raises(MediumError) as caught:
            list(load_frames(path, num_frames))
        return caught.value.reason

    def test_no_such_file(self, tmp_path: Path) -> None:
        assert self.reason(tmp_path / "none.mp4") == "not a readable video: no such file"

    def test_a_text(self, tmp_path: Path) -> None:
        (tmp_path / "a.mp4").write_bytes(b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n")
        assert self.reason(tmp_path / "a.mp4").startswith(
            "not a readable video: a text, it begins with '#EXT"
        )

    def test_sound_alone_and_a_cover_is_no_video(self, tmp_path: Path) -> None:
        write_wav(tmp_path / "a.wav", np.full((1000, 1), 0.5), RATE)
        assert self.reason(tmp_path / "a.wav") == "no pictures in it, only sound"

    def test_a_raw_stream_has_no_times(self, tmp_path: Path) -> None:
        with av.open(str(tmp_path / "raw.m2v"), "w", format="mpeg2video") as out:
            stream = out.add_stream("mpeg2video", rate=25)
            stream.width = stream.height = 32
            stream.pix_fmt = "yuv420p"
            out.mux(stream.encode(av.VideoFrame(32, 32, "yuv420p")))
            out.mux(stream.encode(None))
        assert "of an unknown format" in self.reason(tmp_path / "raw.m2v")

    def test_cut_off_behind_its_index(self, tmp_path: Path) -> None:
        """With at least half of the frames readable the video is used, with fewer it is rejected."""
        noise = [tuple(colour) for colour in np.random.default_rng(0).integers(0, 256, (80, 3))]
        path = write_video(
            tmp_path / "a.mp4", noise, seconds=80, rate=1, key_every=1, options={"movflags": "faststart"}
        )
        content = path.read_bytes()
        assert len(list(load_frames(path, 8))) == 8
        begin = content.index(b"mdat")
        path.write_bytes(content[: begin + int(0.8 * (len(content) - begin))])
        assert 4 <= len(list(load_frames(path, 8))) < 8
        path.write_bytes(content[: begin + int(0.2 * (len(content) - begin))])
        assert self.reason(path, 8).startswith("cut off: only ")

    def test_frames_that_are_too_large(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = write_video(tmp_path / "a.mp4", [RED], size=(48, 32))
        monkeypatch.setattr("features.media.decode.MAX_PIXELS", 48 * 32 - 1)
        monkeypatch.setattr(video.refuse_huge, "__defaults__", (48 * 32 - 1,))
        assert self.reason(path) == "48 x 32 pixels are more than 1535; shrink it"
