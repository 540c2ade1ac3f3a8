"""Preprocessing of waveforms outside the graph: Whisper's log-mel spectrogram, windows, padding."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from features.media import SAMPLE_RATE, WINDOW_SECONDS
from recsys.arrays import Floats, Ints

N_FFT = 400  # 25 ms
HOP = 160  # 10 ms
WINDOW_SAMPLES = WINDOW_SECONDS * SAMPLE_RATE
_QUIET_SAMPLES = SAMPLE_RATE // 5


@lru_cache
def mel_filters(num_mels: int = 80) -> Floats:
    """Slaney's triangular mel filters on the bins of a 400-point FFT at 16 kHz. Shape [num_mels, 201].

    Source: Auditory Toolbox (Slaney 1998), linear below 1 kHz and logarithmic above, unit area, as
    Whisper took them from librosa.
    """
    edges_hz = _mel_to_hz(np.linspace(0.0, _hz_to_mel(SAMPLE_RATE / 2), num_mels + 2))
    bins_hz = np.linspace(0.0, SAMPLE_RATE / 2, N_FFT // 2 + 1)
    slopes = edges_hz[:, None] - bins_hz[None, :]
    width = np.diff(edges_hz)
    rising, falling = -slopes[:-2] / width[:-1, None], slopes[2:] / width[1:, None]
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return np.asarray(triangles * (2.0 / (edges_hz[2:] - edges_hz[:-2]))[:, None], np.float32)


def hann_window() -> Floats:
    """The periodic Hann window of N_FFT samples."""
    return (0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(N_FFT) / N_FFT)).astype(np.float32)


def log_mel(waveform: Floats, num_samples: int, num_mels: int = 80) -> Floats:
    """Whisper's features of `waveform`, cut or padded with silence to `num_samples`.

    Shape [num_mels, num_samples // HOP]. Source: Radford et al. 2022, whisper/audio.py.
    """
    padded = np.pad(waveform[:num_samples], (0, max(num_samples - len(waveform), 0)))
    padded = np.pad(padded, N_FFT // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[::HOP][: num_samples // HOP]
    spectrum = np.fft.rfft(frames * hann_window())
    power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
    log_spec = np.log10(np.maximum(mel_filters(num_mels) @ power.T, 1e-10))
    return np.asarray((np.maximum(log_spec, log_spec.max() - 8.0) + 4.0) / 4.0, np.float32)


def windows(waveform: Floats, max_samples: int = WINDOW_SAMPLES) -> list[Floats]:
    """`waveform` in pieces of at most `max_samples`, each cut at the quietest 0.2 seconds of its last sixth.

    Of 30 seconds the last sixth is 5 seconds.
    """
    pieces: list[Floats] = []
    start = max_samples - max_samples // 6 // _QUIET_SAMPLES * _QUIET_SAMPLES
    while len(waveform) > max_samples:
        cut = max_samples
        if start < max_samples:
            loudness = np.abs(waveform[start:max_samples]).reshape(-1, _QUIET_SAMPLES).mean(axis=1)
            cut = start + int(loudness.argmin()) * _QUIET_SAMPLES + _QUIET_SAMPLES // 2
        pieces.append(waveform[:cut])
        waveform = waveform[cut:]
    return [*pieces, waveform]


def waveform_batch(waveforms: Sequence[Floats], min_samples: int = 0) -> tuple[Floats, Ints]:
    """Waveforms padded with zeros to the longest, and their lengths. Shapes [B, samples], [B].

    The batch has at least `min_samples` columns.
    """
    length = np.array([len(waveform) for waveform in waveforms], np.int64)
    batch = np.zeros((len(waveforms), max(int(length.max()), min_samples)), np.float32)
    for row, waveform in enumerate(waveforms):
        batch[row, : len(waveform)] = waveform
    return batch, length


def _hz_to_mel(hz: float) -> float:
    return 3.0 * hz / 200.0 if hz < 1000.0 else 15.0 + float(np.log(hz / 1000.0)) * 27.0 / float(np.log(6.4))


def _mel_to_hz(mel: np.ndarray) -> np.ndarray:
    return np.where(mel < 15.0, 200.0 * mel / 3.0, 1000.0 * np.exp(np.log(6.4) / 27.0 * (mel - 15.0)))
