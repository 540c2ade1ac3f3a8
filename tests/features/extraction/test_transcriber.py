"""Transcribers: words of speech, no words of silence, errors for unknown and unfit transcribers."""

import csv
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from real_data import real_data

from features.extraction.transcriber import (
    NullTranscriber,
    WhisperTranscriber,
    _round_up,
    copy_transcriber,
    load_transcriber,
)
from features.media.decode import load_audio
from recsys.errors import EncoderError, ProviderError

DATA = real_data()
SPOKEN = DATA / "movielens-small" / "spoken_reviews"

RECORDINGS = Path(str(files("features.sample"))) / "recordings" / "clips"


@pytest.fixture(scope="module")
def whisper() -> WhisperTranscriber:
    transcriber = load_transcriber("whisper-tiny.en", batch_size=4, num_threads=2)
    assert isinstance(transcriber, WhisperTranscriber)
    return transcriber


def test_silence_and_noise_have_no_words(whisper: WhisperTranscriber) -> None:
    noise = np.random.default_rng(0).normal(0, 1e-3, 24_000).astype(np.float32)
    assert whisper.transcribe([np.zeros(16_000, np.float32), noise]) == ["", ""]


def test_silence_has_no_transcript(whisper: WhisperTranscriber) -> None:
    assert whisper.transcribe([]) == []


def test_words_do_not_depend_on_the_other_clips(whisper: WhisperTranscriber) -> None:
    """Recordings of the sample shop and noise, of unequal lengths, in batches of at most four and alone."""
    sounds = [load_audio(path) for path in sorted(RECORDINGS.glob("*.opus"))[:4]]
    noise = np.random.default_rng(0).normal(0, 1e-3, 40_000).astype(np.float32)
    clips = [*sounds, np.concatenate(sounds[:3]), noise]
    together = whisper.transcribe(clips)
    assert together == [whisper.transcribe([clip])[0] for clip in clips]
    assert [bool(text) for text in together] == [True] * 5 + [False]


def test_a_clip_is_padded_to_whole_seconds_that_are_no_spectrogram() -> None:
    """CTranslate2 takes 80 hidden frames, 1.6 seconds, for the 80 bands of a spectrogram."""
    padded = {_round_up(num_samples) for num_samples in range(1, 480_000, 997)}
    assert padded == {16_000 * seconds for seconds in range(1, 31)}


@pytest.mark.long
@pytest.mark.skipif(not SPOKEN.is_dir(), reason="RECSYS_DATA has no spoken reviews")
def test_words_of_spoken_reviews_in_their_order(whisper: WhisperTranscriber) -> None:
    """Clips of unequal length, and one of more than 30 seconds made of several."""
    with (SPOKEN / "reviews.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[:8]
    clips = [load_audio(SPOKEN / row["audio"]) for row in rows]
    assert sum(map(len, clips)) > 30 * 16_000
    *each, long = whisper.transcribe([*clips, np.concatenate(clips)])
    for row, transcript in zip(rows, each, strict=True):
        assert _shared_words(row["text"], transcript) > 0.6, (row["text"], transcript)
    assert _shared_words(" ".join(row["text"] for row in rows), long) > 0.6


def _shared_words(spoken: str, heard: str) -> float:
    """Fraction of the distinct words of `spoken` that are in `heard`."""
    words = [{word.strip(".,!?;:").lower() for word in text.split()} for text in (spoken, heard)]
    return len(words[0] & words[1]) / len(words[0])


def test_none_gives_empty_transcripts() -> None:
    transcriber = load_transcriber("none")
    assert isinstance(transcriber, NullTranscriber)
    assert transcriber.transcribe([np.ones(9, np.float32)]) == [""]


class MultilingualModel:
    """Of every piece the language is French, and the transcript is its prompt."""

    is_multilingual = True
    n_mels = 128

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def encode(self, features: Any) -> Any:
        self.shapes.append(tuple(features.shape))
        return features

    def detect_language(self, hidden: Any) -> list[list[tuple[str, float]]]:
        return [[("<|fr|>", 0.9), ("<|en|>", 0.1)]] * hidden.shape[0]

    def generate(self, hidden: Any, prompts: list[list[int]], **_: Any) -> list[Any]:
        return [
            SimpleNamespace(sequences_ids=[prompt], scores=[-0.1], no_speech_prob=0.0) for prompt in prompts
        ]


def test_a_multilingual_model_is_told_the_language_that_it_hears(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["<|startoftranscript|>", "<|fr|>", "<|transcribe|>", "<|notimestamps|>"]
    tokenizer = SimpleNamespace(
        token_to_id=lambda name: names.index(name) + 1 if name in names else None,
        decode=lambda ids: " ".join(names[at - 1] for at in ids),
    )
    transcriber = load_transcriber("whisper-tiny.en", num_threads=1)
    assert isinstance(transcriber, WhisperTranscriber)
    model = MultilingualModel()
    monkeypatch.setitem(transcriber.__dict__, "_model", model)
    monkeypatch.setitem(transcriber.__dict__, "_tokenizer", tokenizer)
    clips = [np.ones(16_000, np.float32), np.ones(20_000, np.float32)]
    assert transcriber.transcribe(clips) == [" ".join(names)] * 2
    assert {shape[1] for shape in model.shapes} == {128}


def test_a_tokenizer_of_another_model(monkeypatch: pytest.MonkeyPatch) -> None:
    transcriber = load_transcriber("whisper-tiny.en", num_threads=1)
    assert isinstance(transcriber, WhisperTranscriber)
    monkeypatch.setitem(transcriber.__dict__, "_tokenizer", SimpleNamespace(token_to_id=lambda name: None))
    with pytest.raises(EncoderError, match="its tokenizer lacks one of"):
        transcriber.transcribe([np.ones(16_000, np.float32)])


def test_the_files_of_a_transcriber_are_copied(tmp_path: Path) -> None:
    assert not copy_transcriber("none", tmp_path / "none")
    assert not (tmp_path / "none").exists()
    assert copy_transcriber("whisper-tiny.en", tmp_path / "copy")
    copy, original = load_transcriber(str(tmp_path / "copy")), load_transcriber("whisper-tiny.en")
    assert copy.fingerprint == original.fingerprint
    names = {path.name for path in (tmp_path / "copy").iterdir()}
    assert names == {"model.bin", "config.json", "tokenizer.json", "vocabulary.txt"}


def test_an_unknown_name() -> None:
    with pytest.raises(EncoderError, match=r"did you mean 'whisper-tiny\.en'"):
        load_transcriber("whisper-tiny.e")


def test_a_directory_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match=r"model\.bin: missing from the transcriber's directory"):
        load_transcriber(str(tmp_path))


def test_cuda_runs_there_or_is_refused() -> None:
    ctranslate2 = pytest.importorskip("ctranslate2")
    if ctranslate2.get_cuda_device_count():
        assert load_transcriber("whisper-tiny.en", device="cuda").transcribe([]) == []
    else:
        with pytest.raises(ProviderError, match="CUDA"):
            load_transcriber("whisper-tiny.en", device="cuda")


def test_fingerprint_is_of_model_and_options(whisper: WhisperTranscriber) -> None:
    same = WhisperTranscriber(whisper.directory, batch_size=9, num_threads=1)
    other = WhisperTranscriber(whisper.directory, trailing_silence_seconds=1.0)
    assert whisper.fingerprint == same.fingerprint != other.fingerprint
