"""Clauses to encoded clauses through tiny encoders whose vectors can be computed by hand."""

import io
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_encoders import write_tiny_audio, write_tiny_image, write_tiny_text

from features.queries import (
    AudioClause,
    ImageClause,
    ItemClause,
    QueryEncoder,
    QueryLimits,
    TextClause,
    VideoClause,
)
from features.queries import models as models_module
from recsys.arrays import Floats
from recsys.errors import EncoderError, MissingExtraError, RequestError
from recsys.search import parse_words
from scripts.bad_media import write_huge_png, write_video, write_wav

RATE = 16_000
TONE = 0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE) + 0.25


class FakeTranscriber:
    """Hears the same words in every sound."""

    fingerprint = "fake"

    def __init__(self, words: str = "red shirt") -> None:
        self.words = words
        self.heard: list[int] = []

    def transcribe(self, waveforms: Sequence[Floats]) -> list[str]:
        self.heard += [len(wave) for wave in waveforms]
        return [self.words] * len(waveforms)


@pytest.fixture(scope="module")
def directories(tmp_path_factory: pytest.TempPathFactory) -> dict[Any, Path]:
    root = tmp_path_factory.mktemp("encoders")
    return {
        "text": write_tiny_text(root / "text"),
        "image": write_tiny_image(root / "image"),
        "audio": write_tiny_audio(root / "audio"),
    }


@pytest.fixture
def make(directories: dict[Any, Path], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes a `QueryEncoder` with the named encoders and a transcriber that hears `words`."""

    def make(kinds: str = "text image audio", words: str | None = "red shirt", **limits: Any) -> QueryEncoder:
        transcriber = None if words is None else FakeTranscriber(words)
        monkeypatch.setattr(models_module, "load_transcriber", lambda name, **_: transcriber)
        return QueryEncoder(
            {kind: directories[kind] for kind in kinds.split()},
            transcriber=None if words is None else "fake",
            limits=QueryLimits(**limits),
        )

    return make


def test_short_texts_have_a_vector_of_each_word(make: Any, tmp_path: Path) -> None:
    encoder = make()
    (clause,) = encoder.encode([TextClause(name="query", text='A red "Red shirt" -blue')]).query.clauses
    assert list(clause.word_vectors) == ["a", "red", "shirt"]
    (alone,) = encoder.encode([TextClause(name="query", text="shirt")]).query.clauses
    np.testing.assert_allclose(clause.word_vectors["shirt"], alone.vectors["text"], atol=1e-6)
    assert alone.word_vectors["shirt"] is clause.word_vectors["shirt"]  # kept
    assert clause.whole_words == {"red", "shirt"}  # the tiny vocabulary lacks "a"
    many = " ".join(f"word{at}" for at in range(25))
    (long,) = encoder.encode([TextClause(name="query", text=many)]).query.clauses
    assert long.word_vectors == {}
    (words,) = make("image").encode([TextClause(name="query", text="red")]).query.clauses
    assert words.word_vectors == {}
    write_wav(tmp_path / "said.wav", TONE[:, None], RATE)
    sound = AudioClause(name="sound", medium=tmp_path / "said.wav")
    (spoken,) = encoder.encode([sound]).query.clauses
    assert list(spoken.word_vectors) == ["red", "shirt"]


def unit(*numbers: float) -> Floats:
    return np.array(numbers, np.float32) / np.float32(np.linalg.norm(numbers))


def png(*size: int, color: tuple[int, int, int] = (200, 100, 0)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, color).save(out, "PNG")
    return out.getvalue()


def refusal(encoder: QueryEncoder, *clauses: Any) -> RequestError:
    with pytest.raises(RequestError) as refused:
        encoder.encode(clauses)
    return refused.value


class TestText:
    def test_words_and_vector(self, make: Any) -> None:
        read = make().encode([TextClause(name="query", text=" red\tshirt ", weight=2.0)])
        (clause,) = read.query.clauses
        assert (clause.kind, clause.weight, clause.words) == ("text", 2.0, parse_words("red shirt"))
        np.testing.assert_allclose(clause.vectors["text"], unit(2 + 5, 2))  # places 2 and 5, two tokens
        assert read.notes == ()
        assert read.transcripts == {}

    def test_excluded_words_are_not_in_the_vector(self, make: Any) -> None:
        (clause,) = make().encode([TextClause(name="query", text='shirt -red -"blue shoe"')]).query.clauses
        assert clause.words == parse_words('shirt -red -"blue shoe"')
        np.testing.assert_allclose(clause.vectors["text"], unit(5, 1))

    def test_exclusions_alone(self, make: Any) -> None:
        error = refusal(make(), TextClause(name="query", text='-red -"blue shoe"'))
        assert "only excludes words; add words" in error.message

    def test_emoji_beside_an_exclusion(self, make: Any) -> None:
        read = make().encode([TextClause(name="query", text="🙂 -red")])
        assert read.query.clauses[0].words.excluded == (("red",),)
        assert read.notes == ("query: has no words, so only its meaning is compared",)

    def test_emoji_alone_are_compared_by_meaning(self, make: Any) -> None:
        read = make().encode([TextClause(name="query", text="🙂 🙃")])
        assert read.query.clauses[0].words is None
        assert "text" in read.query.clauses[0].vectors
        assert read.notes == ("query: has no words, so only its meaning is compared",)

    def test_without_an_encoder_words_remain(self, make: Any) -> None:
        (clause,) = make("image").encode([TextClause(name="query", text="red")]).query.clauses
        assert clause.words == parse_words("red")
        assert clause.vectors == {}

    def test_neither_words_nor_encoder(self, make: Any) -> None:
        error = refusal(make("image"), TextClause(name="query", text="🙂"))
        assert error.field == "query"
        assert "no encoder of texts" in error.message

    @pytest.mark.parametrize("text", ["", " \n", "\x00\x1f", "\u202e"])
    def test_empty(self, make: Any, text: str) -> None:
        error = refusal(make(), TextClause(name="clauses.0.text", text=text))
        assert error.field == "clauses.0.text"
        assert "is empty" in error.message

    def test_a_long_text_is_cut_with_a_note(self, make: Any) -> None:
        read = make(max_characters=9).encode([TextClause(name="query", text="red shirt " * 1_000)])
        assert read.query.clauses[0].words == parse_words("red shirt")
        assert read.notes == ("query: only the first 9 of 10,000 characters are used",)


class TestPicture:
    @pytest.mark.parametrize("size", [(1, 1), (30, 20), (1, 400)])
    def test_vector(self, make: Any, size: tuple[int, int]) -> None:
        (clause,) = make().encode([ImageClause(name="image", medium=png(*size))]).query.clauses
        assert (clause.kind, clause.words, clause.item) == ("image", None, None)
        np.testing.assert_allclose(clause.vectors["image"], unit(200, 100, 0), atol=1e-6)

    def test_from_a_path(self, make: Any, tmp_path: Path) -> None:
        (tmp_path / "odd name.png").write_bytes(png(4, 4))
        read = make().encode([ImageClause(name="image", medium=tmp_path / "odd name.png")])
        assert set(read.query.clauses[0].vectors) == {"image"}

    def test_too_many_pixels_are_refused_before_decoding(self, make: Any, tmp_path: Path) -> None:
        write_huge_png(tmp_path / "huge.png")
        error = refusal(make(), ImageClause(name="image", medium=(tmp_path / "huge.png").read_bytes()))
        assert "900000000 pixels are more than 80000000; shrink it" in error.message

    def test_the_limit_is_a_setting(self, make: Any) -> None:
        error = refusal(make(max_pixels=15), ImageClause(name="image", medium=png(4, 4)))
        assert "4 x 4 pixels are more than 15" in error.message

    @pytest.mark.parametrize(
        ("medium", "message"),
        [
            (b"", "0 bytes"),
            (b"To follow on Monday.", "a text"),
            (png(40, 40)[:60], "cut off"),
            (b"fLaC" + bytes(99), "a FLAC file, where a picture is expected; send it as audio"),
            (b"\0\0\0\x18ftypisom" + bytes(99), "an MP4 video.*send it as video"),
            ("nowhere.png", "no such file; give another file"),
        ],
    )
    def test_what_is_no_picture(self, make: Any, medium: Any, message: str) -> None:
        error = refusal(make(), ImageClause(name="clauses.2.image", medium=medium))
        assert error.field == "clauses.2.image"
        with pytest.raises(RequestError, match=message):
            _raise(error)

    def test_without_an_encoder(self, make: Any) -> None:
        error = refusal(make("text audio"), ImageClause(name="image", medium=png(4, 4)))
        assert error.message.startswith(
            "this bundle has no encoder of pictures; search by words, sounds, items"
        )

    def test_a_vector_of_length_0(self, make: Any) -> None:
        error = refusal(make(), ImageClause(name="image", medium=png(4, 4, color=(0, 0, 0))))
        assert "length 0" in error.message


class TestSound:
    def test_words_and_both_vectors(self, make: Any, tmp_path: Path) -> None:
        write_wav(tmp_path / "said.wav", TONE[:, None], RATE)
        read = make().encode([AudioClause(name="audio", medium=tmp_path / "said.wav")])
        (clause,) = read.query.clauses
        assert (clause.kind, clause.words) == ("audio", parse_words("red shirt"))
        np.testing.assert_allclose(clause.vectors["text"], unit(7, 2))
        np.testing.assert_allclose(clause.vectors["audio"], unit(1))
        assert read.transcripts == {"audio": "red shirt"}
        assert read.notes == ()

    def test_no_words(self, make: Any, tmp_path: Path) -> None:
        write_wav(tmp_path / "hum.wav", TONE[:, None], RATE)
        read = make(words="").encode([AudioClause(name="audio", medium=tmp_path / "hum.wav")])
        assert set(read.query.clauses[0].vectors) == {"audio"}
        assert read.query.clauses[0].words is None
        assert read.notes == ("audio: no words were heard, so only its sound is compared",)
        error = refusal(
            make("text", words=""), AudioClause(name="audio", medium=(tmp_path / "hum.wav").read_bytes())
        )
        assert "no words were heard in it, and this bundle has no encoder of sounds" in error.message

    def test_without_a_transcriber(self, make: Any, tmp_path: Path) -> None:
        write_wav(tmp_path / "said.wav", TONE[:, None], RATE)
        medium = (tmp_path / "said.wav").read_bytes()
        read = make(words=None).encode([AudioClause(name="audio", medium=medium)])
        assert read.transcripts == {}
        assert read.notes == ("audio: this bundle has no transcriber, so only its sound is compared",)
        error = refusal(make("text image", words=None), AudioClause(name="audio", medium=medium))
        assert "no encoder of sounds; search by words, pictures, items" in error.message

    def test_silence(self, make: Any, tmp_path: Path) -> None:
        write_wav(tmp_path / "silence.wav", np.zeros((RATE, 1)), RATE)
        error = refusal(make(), AudioClause(name="audio", medium=tmp_path / "silence.wav"))
        assert "silence from beginning to end; give another file" in error.message

    def test_of_a_long_sound_the_beginning(self, make: Any, tmp_path: Path) -> None:
        write_wav(tmp_path / "long.wav", np.tile(TONE, 40)[:, None], RATE)
        encoder = make(max_audio_seconds=3)
        read = encoder.encode([AudioClause(name="audio", medium=tmp_path / "long.wav")])
        assert encoder._models._transcriber().heard == [3 * RATE]
        assert read.notes == ("audio: only its first 3 seconds are used",)

    @pytest.mark.parametrize("loud", [1e30, 1e3])
    def test_samples_far_beyond_full_scale(self, make: Any, tmp_path: Path, loud: float) -> None:
        import av

        with av.open(str(tmp_path / "loud.wav"), "w") as container:
            stream = container.add_stream("pcm_f32le", rate=RATE, layout="mono")
            frame = av.AudioFrame.from_ndarray((TONE * loud).astype(np.float32)[None], "flt", "mono")
            frame.sample_rate = RATE
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        (clause,) = make().encode([AudioClause(name="audio", medium=tmp_path / "loud.wav")]).query.clauses
        np.testing.assert_allclose(clause.vectors["audio"], unit(1))

    def test_a_picture_is_sent_as_image(self, make: Any) -> None:
        error = refusal(make(), AudioClause(name="audio", medium=png(4, 4)))
        assert "a PNG picture, where sound is expected; send it as image" in error.message

    def test_a_missing_package(self, make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def missing(self: Any, waveforms: Any) -> Any:
            raise MissingExtraError("ctranslate2", "serve")

        write_wav(tmp_path / "said.wav", TONE[:, None], RATE)
        monkeypatch.setattr(FakeTranscriber, "transcribe", missing)
        error = refusal(make(), AudioClause(name="audio", medium=tmp_path / "said.wav"))
        assert "pip install 'recsys[serve]'" in error.message


class TestVideo:
    @pytest.fixture
    def film(self, tmp_path: Path) -> bytes:
        path = tmp_path / "film.mp4"
        write_video(path, [(255, 0, 0), (255, 0, 0), (0, 0, 255), (0, 0, 255)], sound=TONE)
        return path.read_bytes()

    def test_frames_and_sound(self, make: Any, film: bytes) -> None:
        read = make(video_frames=4).encode([VideoClause(name="video", medium=film)])
        (clause,) = read.query.clauses
        assert (clause.kind, clause.words) == ("video", parse_words("red shirt"))
        red, green, blue = clause.vectors["image"]
        assert abs(red - blue) < 0.1
        assert green < 0.1
        assert set(clause.vectors) == {"image", "text", "audio"}
        assert read.notes == ()

    def test_pictures_alone(self, make: Any, film: bytes) -> None:
        (clause,) = make("image", words=None).encode([VideoClause(name="video", medium=film)]).query.clauses
        assert set(clause.vectors) == {"image"}

    def test_sound_alone(self, make: Any, film: bytes) -> None:
        read = make("text").encode([VideoClause(name="video", medium=film)])
        assert set(read.query.clauses[0].vectors) == {"text"}
        assert read.notes == ("video: this bundle has no encoder of pictures, so only its sound counts",)

    def test_neither(self, make: Any, film: bytes) -> None:
        assert (
            "no encoder of pictures"
            in refusal(make("text", words=None), VideoClause(name="video", medium=film)).message
        )
        assert (
            "no words were heard"
            in refusal(make("text", words=""), VideoClause(name="video", medium=film)).message
        )

    def test_a_corrupt_one(self, make: Any, film: bytes) -> None:
        error = refusal(make(), VideoClause(name="video", medium=film[: len(film) // 3]))
        assert error.field == "video"
        assert "cut off" in error.message


def test_several_clauses_keep_their_order_and_weights(make: Any) -> None:
    read = make().encode(
        [
            ImageClause(name="clauses.0", medium=png(2, 2)),
            TextClause(name="clauses.1", text="red", weight=0.0),
            TextClause(name="clauses.2", text="blue", weight=-0.5),
            ItemClause(name="clauses.3", item=7, weight=3.0),
        ],
        leg_weights={"image": 0.5},
    )
    assert [(each.kind, each.weight, each.item) for each in read.query.clauses] == [
        ("image", 1.0, None),
        ("text", -0.5, None),
        ("item", 3.0, 7),
    ]
    assert read.query.modality_weights == {"image": 0.5}


@pytest.mark.parametrize("weight", [-1.0, float("nan"), 1e9])
def test_a_weight_of_a_leg_out_of_range(make: Any, weight: float) -> None:
    with pytest.raises(RequestError, match="from 0 to 100") as refused:
        make().encode([TextClause(name="query", text="red")], leg_weights={"image": weight})
    assert refused.value.field == "modality_weights.image"


def test_encoders_are_loaded_once_and_only_when_needed(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    load = models_module.Encoder.load

    def counted(path: Path, *args: Any) -> Any:
        loaded.append(path.name)
        return load(path, *args)

    monkeypatch.setattr(models_module.Encoder, "load", counted)
    encoder = make()
    found: list[Floats] = []

    def ask(word: str) -> None:
        found.append(encoder.encode([TextClause(name="q", text=word)]).query.clauses[0].vectors["text"])

    assert loaded == []
    threads = [threading.Thread(target=ask, args=(word,)) for word in ["red", "blue"] * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert loaded == ["text"]
    assert len(found) == 8


def test_a_medium_that_the_encoder_refuses(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Any, texts: Any) -> Any:
        raise EncoderError("gave a vector that is not finite")

    monkeypatch.setattr(models_module.Encoder, "encode_texts", refuse)
    error = refusal(make(), TextClause(name="query", text="red"))
    assert error.field == "query"
    assert "not finite" in error.message


def _raise(error: Exception) -> None:
    raise error
