"""Parts of the tests of extraction: a transcriber and encoders whose results can be computed by hand."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_encoders import write_tiny_audio, write_tiny_image, write_tiny_text

from recsys.config import EncoderConfig


class LoudnessTranscriber:
    """The transcript is `words` for a clip that is loud, and empty for a quiet one. Counts the clips."""

    fingerprint = "loudness"

    def __init__(self, words: str) -> None:
        self.words = words
        self.num_transcribed = 0

    def transcribe(self, waveforms: Sequence[np.ndarray]) -> list[str]:
        self.num_transcribed += len(waveforms)
        return [self.words if wave.max() > 0.4 else "" for wave in waveforms]


def use_transcriber(monkeypatch: pytest.MonkeyPatch, words: str) -> LoudnessTranscriber:
    """A `LoudnessTranscriber` in place of the configured transcriber."""
    transcriber = LoudnessTranscriber(words)
    module = import_module("features.extraction.extract")
    monkeypatch.setattr(module, "load_transcriber", lambda *_, **__: transcriber)
    return transcriber


def tiny_config(directory: Path, **settings: Any) -> EncoderConfig:
    """A configuration of tiny encoders, which are written into `directory`."""
    return EncoderConfig(
        text=str(write_tiny_text(directory / "text")),
        image=str(write_tiny_image(directory / "image")),
        audio=str(write_tiny_audio(directory / "audio")),
        **settings,
    )
