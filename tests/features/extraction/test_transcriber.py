"""Transcribers: words of speech, no words of silence, errors for unknown and unfit transcribers."""

import csv
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from real_data import real_data

from features.extraction.transcriber import NullTranscriber, WhisperTranscriber, _round_up, load_transcriber
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
    sounds = [load_audio(path) for path in sorted(RECORDINGS.glob("*.opus"))[:6]]
    noise = np.random.default_rng(0).normal(0, 1e-3, 40_000).astype(np.float32)
    clips = [*sounds, np.concatenate(sounds[:3]), noise]
    together = whisper.transcribe(clips)
    assert together == [whisper.transcribe([clip])[0] for clip in clips]
    assert [bool(text) for text in together] == [True] * 7 + [False]


def test_a_clip_is_padded_to_whole_seconds_that_are_no_spectrogram() -> None:
    """CTranslate2 takes 80 hidden frames, 1.6 seconds, for the 80 bands of a spectrogram."""
    padded = {_round_up(num_samples) for num_samples in range(1, 480_000, 997)}
    assert padded == {16_000 * seconds for seconds in range(1, 31)}


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
