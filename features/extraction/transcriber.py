"""Speech to text: the protocol, Whisper through CTranslate2, and an implementation that gives no text."""

import hashlib
import os
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from features.conversion.registry import WHISPER_TINY_EN
from features.encoders import (
    WINDOW_SAMPLES,
    Tokenizer,
    chunks,
    length_batches,
    load_tokenizer,
    log_mel,
    sha256_file,
    windows,
)
from features.media import SAMPLE_RATE
from recsys.arrays import Floats
from recsys.errors import EncoderError, MissingExtraError, ProviderError, did_you_mean

EMBEDDED_TRANSCRIBER = "whisper-tiny.en"
NO_TRANSCRIBER = "none"

_MODEL_FILES = ("model.bin", "config.json", "tokenizer.json")
_VOCABULARIES = ("vocabulary", "preprocessor_config")  # further files of some models, in any format
# Whisper was trained on windows of 30 seconds, filled up with silence. With two seconds of silence after the
# speech it takes a quarter of the time and is mostly as accurate. A transcript that breaks off early or
# repeats itself (`is_doubtful`) is made again in a full window.
TRAILING_SILENCE_SECONDS = 2.0
MIN_TOKENS_PER_SECOND = 1.6
# Speech has at most seven tokens a second; a longer transcript is a loop of the decoder.
MAX_TOKENS_PER_SECOND = 7
MAX_TOKENS_BASE = 10
_LENGTH_STEP = SAMPLE_RATE  # pieces are padded to whole seconds
_MAX_BATCH_SAMPLES = 480 * SAMPLE_RATE  # of one core's batch in the decoder: its keys and values
_ENCODED_AT_ONCE = 18 * SAMPLE_RATE  # of one core's batch in the encoder: its cache
NO_SPEECH_PROBABILITY = 0.6
NO_SPEECH_LOG_PROBABILITY = -1.0
_VERSION = 2  # raised when the transcript of the same sound may change


class Transcriber(Protocol):
    @property
    def fingerprint(self) -> str:
        """Hash of everything that the transcripts depend on: weights, settings, version."""
        ...

    def transcribe(self, waveforms: Sequence[Floats]) -> list[str]:
        """The transcript of each waveform (mono, 16 kHz); an empty string without speech."""
        ...


class NullTranscriber:
    """Gives an empty transcript for every waveform."""

    fingerprint = NO_TRANSCRIBER

    def transcribe(self, waveforms: Sequence[Floats]) -> list[str]:
        return [""] * len(waveforms)


class WhisperTranscriber:
    """A Whisper in CTranslate2's format, greedy, without timestamps, in the language that it hears."""

    def __init__(
        self,
        directory: Path | str,
        *,
        device: Literal["cpu", "cuda"] = "cpu",
        batch_size: int = 32,
        num_threads: int | None = None,
        trailing_silence_seconds: float = TRAILING_SILENCE_SECONDS,
        compute_type: str | None = None,
    ) -> None:
        """Check the model in `directory`; it is loaded with the first waveform.

        Raises `EncoderError` if a file is missing, `ProviderError` if `device` is not available.
        """
        self.directory = Path(directory)
        for name in _MODEL_FILES:
            if not (self.directory / name).is_file():
                raise EncoderError(f"{self.directory / name}: missing from the transcriber's directory")
        if device == "cuda" and not _ctranslate2().get_cuda_device_count():
            raise ProviderError("encoders.device = 'cuda': CTranslate2 finds no CUDA device; set it to 'cpu'")
        self._device = device
        self._batch_size = batch_size
        self._num_workers = (num_threads or os.cpu_count() or 1) if device == "cpu" else 1
        self._silence = int(trailing_silence_seconds * SAMPLE_RATE)
        # 8-bit weights on a CPU: measured as accurate as float32 (benchmarks/extraction.py).
        self._compute_type = compute_type or ("float16" if device == "cuda" else "int8")

    @cached_property
    def fingerprint(self) -> str:
        parts = [sha256_file(self.directory / name) for name in _MODEL_FILES]
        parts += [f"version {_VERSION}", self._compute_type, f"silence {self._silence}"]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def transcribe(self, waveforms: Sequence[Floats]) -> list[str]:
        """The transcript of each waveform; a waveform longer than 30 seconds is read in windows."""
        owned = [(owner, piece) for owner, wave in enumerate(waveforms) for piece in windows(wave)]
        pieces = [piece for _, piece in owned]
        found = self._transcribe_pieces(pieces, self._silence)
        doubtful = [at for at, one in enumerate(found) if one.is_doubtful(len(pieces[at]) / SAMPLE_RATE)]
        again = self._transcribe_pieces([pieces[at] for at in doubtful], WINDOW_SAMPLES)
        for at, one in zip(doubtful, again, strict=True):
            found[at] = one
        texts_of: list[list[str]] = [[] for _ in waveforms]
        for (owner, _), one in zip(owned, found, strict=True):
            text = "" if one.is_silent else self._tokenizer.decode(one.tokens).strip()
            texts_of[owner] += [text] if text else []
        return [" ".join(texts) for texts in texts_of]

    def _transcribe_pieces(self, pieces: Sequence[Floats], silence: int) -> list["_Transcription"]:
        """Transcripts in the order of the pieces, each padded with at least `silence` samples.

        A batch holds pieces of one padded length only, so that no transcript depends on the other pieces.
        """
        padded = [min(_round_up(len(piece) + silence), WINDOW_SAMPLES) for piece in pieces]
        batches = length_batches(
            padded, max_items=self._batch_size, max_length=_MAX_BATCH_SAMPLES, equal=True
        )
        found: dict[int, _Transcription] = {}
        # Each core works on a batch of its own, which scales better than threads inside one batch.
        pool = ThreadPoolExecutor(self._num_workers, thread_name_prefix="transcribe")
        try:
            waiting = [
                pool.submit(self._transcribe_batch, [pieces[at] for at in batch], padded[batch[0]])
                for batch in batches
            ]
            for batch, results in zip(batches, waiting, strict=True):
                found |= zip(batch, results.result(), strict=True)
        finally:
            pool.shutdown(cancel_futures=True)
        return [found[at] for at in range(len(pieces))]

    def _transcribe_batch(self, pieces: Sequence[Floats], num_samples: int) -> list["_Transcription"]:
        """Transcripts of pieces, all padded to `num_samples`."""
        limits = [MAX_TOKENS_BASE + int(len(wave) / SAMPLE_RATE * MAX_TOKENS_PER_SECOND) for wave in pieces]
        hidden = self._encode(pieces, num_samples)
        prompts = self._prompts(hidden, len(pieces))
        results = self._model.generate(
            hidden,
            prompts,
            beam_size=1,
            max_length=len(prompts[0]) + max(limits),
            return_no_speech_prob=True,
            return_scores=True,
        )
        return [
            _Transcription(
                tokens=result.sequences_ids[0][:limit],
                log_probability=result.scores[0],
                no_speech_probability=result.no_speech_prob,
            )
            for result, limit in zip(results, limits, strict=True)
        ]

    def _encode(self, pieces: Sequence[Floats], num_samples: int) -> Any:
        """Hidden states of the whole batch, computed for a few pieces at a time.

        On a CPU the encoder is fastest on batches that fit into a core's cache. The decoder is fastest on
        the whole batch, since it reads all of its weights once for each next token of the batch.
        """
        view = _ctranslate2().StorageView.from_array
        at_once = len(pieces) if self._device == "cuda" else max(_ENCODED_AT_ONCE // num_samples, 1)
        hidden = [
            self._model.encode(view(np.stack([log_mel(wave, num_samples, self._num_mels) for wave in part])))
            for part in chunks(pieces, at_once)
        ]
        return hidden[0] if len(hidden) == 1 else view(np.concatenate([np.array(part) for part in hidden]))

    @cached_property
    def _model(self) -> Any:
        return _ctranslate2().models.Whisper(
            str(self.directory),
            device=self._device,
            compute_type=self._compute_type,
            inter_threads=self._num_workers,
            intra_threads=1,
        )

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        return load_tokenizer(self.directory / "tokenizer.json")

    @cached_property
    def _num_mels(self) -> int:
        return int(getattr(self._model, "n_mels", 80))  # 128 of large-v3

    def _prompts(self, hidden: Any, num_pieces: int) -> list[list[int]]:
        """Start of transcript, no timestamps; of a multilingual model also the language and the task.

        An English-only model has no tokens for language and task. The language is the most probable one.
        """
        if not self._model.is_multilingual:
            return [self._ids("<|startoftranscript|>", "<|notimestamps|>")] * num_pieces
        languages = [found[0][0] for found in self._model.detect_language(hidden)]
        return [
            self._ids("<|startoftranscript|>", language, "<|transcribe|>", "<|notimestamps|>")
            for language in languages
        ]

    def _ids(self, *names: str) -> list[int]:
        ids = [self._tokenizer.token_to_id(name) or 0 for name in names]
        if not all(ids):
            raise EncoderError(f"{self.directory}: no Whisper, its tokenizer lacks one of {', '.join(names)}")
        return ids


def load_transcriber(
    name: str, *, device: Literal["cpu", "cuda"] = "cpu", batch_size: int = 32, num_threads: int | None = None
) -> Transcriber:
    """The embedded transcriber, the one in the directory `name`, or `NullTranscriber` for "none".

    Raises `EncoderError` for any other name, and if a file of the embedded one is not the pinned one.
    """
    if name == NO_TRANSCRIBER:
        return NullTranscriber()
    directory = _directory(name)
    return WhisperTranscriber(directory, device=device, batch_size=batch_size, num_threads=num_threads)


def copy_transcriber(name: str, target: Path) -> bool:
    """Copy the files of the transcriber `name` to the new folder `target`; False and no folder for "none".

    Errors as `load_transcriber`.
    """
    if name == NO_TRANSCRIBER:
        return False
    directory = _directory(name)
    WhisperTranscriber(directory)  # checks that no file is missing
    target.mkdir(parents=True)
    for path in sorted(directory.iterdir()):
        if path.name in _MODEL_FILES or path.stem in _VOCABULARIES:
            shutil.copyfile(path, target / path.name)
    return True


def _directory(name: str) -> Path:
    if name == EMBEDDED_TRANSCRIBER:
        return WHISPER_TINY_EN.locate()[0].parent
    if Path(name).is_dir():
        return Path(name)
    hint = did_you_mean(name, [EMBEDDED_TRANSCRIBER, NO_TRANSCRIBER])
    raise EncoderError(f"transcriber {name!r} is neither a directory nor a known name; {hint}")


@dataclass(frozen=True, kw_only=True)
class _Transcription:
    tokens: list[int]
    log_probability: float  # mean over the tokens
    no_speech_probability: float

    @property
    def is_silent(self) -> bool:
        """Whisper's own rule for a window without speech."""
        unsure = self.log_probability < NO_SPEECH_LOG_PROBABILITY
        return unsure and self.no_speech_probability > NO_SPEECH_PROBABILITY

    def is_doubtful(self, seconds: float) -> bool:
        """Whether there are too few tokens for `seconds` of sound, or three tokens repeat in a row.

        False for silence, in which Whisper finds a spurious "you" more often in a full window.
        """
        if self.is_silent:
            return False
        triples = list(zip(self.tokens, self.tokens[1:], self.tokens[2:], strict=False))
        return len(self.tokens) < MIN_TOKENS_PER_SECOND * seconds or len(triples) != len(set(triples))


def _round_up(num_samples: int) -> int:
    """`num_samples` rounded up to whole seconds, which are also whole hidden frames (two hops each).

    CTranslate2 takes hidden states of 80 frames (1.6 seconds) for a spectrogram of 80 mel bands. Whole
    seconds never give 80 frames.
    """
    return -(-num_samples // _LENGTH_STEP) * _LENGTH_STEP


def _ctranslate2() -> Any:
    """The module `ctranslate2`, imported at first use since it belongs to an optional extra."""
    try:
        import ctranslate2
    except ModuleNotFoundError as error:
        raise MissingExtraError("ctranslate2", "serve") from error
    return ctranslate2
