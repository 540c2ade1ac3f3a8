"""AST and CLAP: models of spectrograms of a fixed length, with the log-mel front end in the graph.

Both spectrograms follow `transformers.audio_utils.spectrogram` with the extractor's own windows and mel
filters; the Fourier transform is a convolution with its basis.

B clips, S samples, T frames, F frequency bins, M mels, D width.
"""

from fractions import Fraction
from typing import Any

import numpy as np
import torch
from scipy.signal import firwin, resample_poly
from torch import Tensor, nn
from transformers.audio_utils import mel_filter_bank, window_function

from features.media import SAMPLE_RATE
from recsys.arrays import Floats
from recsys.errors import EncoderError

_AST_FRAME, _AST_HOP, _AST_FFT = 400, 160, 512
_AST_FLOOR = 1.192092955078125e-07
_CLAP_FLOOR = 1e-10
_HALF_LENGTH, _KAISER = 10, 5.0  # scipy.signal.resample_poly's own filter


class AstEncoder(nn.Module):
    """AST's pooled output of Kaldi's filter bank, padded with silence after the clip's last frame."""

    def __init__(self, model: Any, extractor: Any) -> None:
        super().__init__()
        self.model = model
        self.max_length = extractor.max_length
        self.mean, self.std = extractor.mean, extractor.std
        self.normalize = extractor.do_normalize
        window = window_function(_AST_FRAME, "hann", periodic=False)
        self.spectrum = Spectrum(window, _AST_FFT, _AST_HOP, preparation=_kaldi_frames())
        filters = mel_filter_bank(
            num_frequency_bins=_AST_FFT // 2 + 1,
            num_mel_filters=extractor.num_mel_bins,
            min_frequency=20,
            max_frequency=SAMPLE_RATE // 2,
            sampling_rate=SAMPLE_RATE,
            norm=None,
            mel_scale="kaldi",
            triangularize_in_mel_space=True,
        )
        self.filters = nn.Buffer(torch.from_numpy(filters.astype(np.float32)))  # [F, M]

    def forward(self, waveform: Tensor, length: Tensor) -> Tensor:
        waveform = nn.functional.pad(waveform, (0, (self.max_length - 1) * _AST_HOP + _AST_FRAME))
        power_BTF = self.spectrum(waveform)[:, : self.max_length]
        bank_BTM = (power_BTF @ self.filters).clamp(min=_AST_FLOOR).log()
        frames_B = (length - _AST_FRAME) // _AST_HOP + 1
        real_BT = torch.arange(self.max_length, device=length.device)[None] < frames_B[:, None]
        bank_BTM = bank_BTM * real_BT[..., None]
        if self.normalize:
            bank_BTM = (bank_BTM - self.mean) / (self.std * 2)
        return self.model(bank_BTM).pooler_output


class ClapSide(nn.Module):
    """CLAP's audio side at unit length: the clip upsampled to its rate, repeated, as log-mel."""

    def __init__(self, model: Any, extractor: Any) -> None:
        super().__init__()
        self.model = model
        self.num_samples = extractor.nb_max_samples
        self.rate = extractor.sampling_rate
        self.repeats = extractor.padding == "repeatpad"
        self.fusion = extractor.truncation == "fusion"
        self.factor = _factor(self.rate)
        taps = _taps(self.factor).astype(np.float32)
        self.taps = nn.Buffer(torch.from_numpy(taps)[None, None])
        window = window_function(extractor.fft_window_size, "hann")
        self.spectrum = Spectrum(window, extractor.fft_window_size, extractor.hop_length)
        self.margin = extractor.fft_window_size // 2
        filters = extractor.mel_filters if self.fusion else extractor.mel_filters_slaney
        self.filters = nn.Buffer(torch.from_numpy(filters.astype(np.float32)))  # [F, M]

    def forward(self, waveform: Tensor, length: Tensor) -> Tensor:
        clip_BS = self._full(self._raise(waveform), length * self.factor)
        start, end = clip_BS[:, 1 : self.margin + 1].flip(1), clip_BS[:, -self.margin - 1 : -1].flip(1)
        power_BTF = self.spectrum(torch.cat([start, clip_BS, end], dim=1))
        mel_B1TM = 10.0 * (power_BTF @ self.filters).clamp(min=_CLAP_FLOOR).log10()[:, None]
        if self.fusion:
            mel_B1TM = mel_B1TM.expand(-1, 4, -1, -1)
        longer = torch.zeros_like(length, dtype=torch.bool)[:, None]
        features = self.model.get_audio_features(input_features=mel_B1TM, is_longer=longer)
        return nn.functional.normalize(features.pooler_output, dim=-1)

    def _raise(self, waveform: Tensor) -> Tensor:
        """`upsample` in torch: [B, S] to [B, S * factor]."""
        if self.factor == 1:
            return waveform
        half = _HALF_LENGTH * self.factor
        raised = nn.functional.conv_transpose1d(waveform[:, None], self.taps, stride=self.factor)[:, 0]
        return nn.functional.pad(raised, (0, self.factor))[:, half : half + waveform.shape[1] * self.factor]

    def _full(self, clip_BS: Tensor, length_B: Tensor) -> Tensor:
        """The clip repeated as often as it fits, then silence. [B, num_samples]."""
        at_S = torch.arange(self.num_samples, device=clip_BS.device)
        kept_B = (
            length_B * (torch.full_like(length_B, self.num_samples) // length_B) if self.repeats else length_B
        )
        taken_BS = clip_BS.gather(1, at_S[None] % length_B[:, None])
        return taken_BS * (at_S[None] < kept_B[:, None])


class Spectrum(nn.Module):
    """Power of the frames of a waveform, [B, S] to [B, T, F].

    `preparation` [frame, frame] is a linear step on each frame before its window.
    """

    def __init__(self, window: Floats, num_fft: int, hop: int, preparation: Floats | None = None) -> None:
        super().__init__()
        self.hop = hop
        bins = np.arange(num_fft // 2 + 1)[:, None] * np.arange(len(window))[None] * (2.0 * np.pi / num_fft)
        basis = np.concatenate([np.cos(bins), np.sin(bins)]) * window
        if preparation is not None:
            basis = basis @ preparation
        self.basis = nn.Buffer(torch.from_numpy(basis.astype(np.float32))[:, None])

    def forward(self, waveform_BS: Tensor) -> Tensor:
        both = nn.functional.conv1d(waveform_BS[:, None], self.basis, stride=self.hop).transpose(1, 2)
        real_BTF, imaginary_BTF = both.chunk(2, dim=2)
        return real_BTF.square() + imaginary_BTF.square()


def upsample(clip: Floats, rate: int) -> Floats:
    """A waveform of 16 kHz resampled to `rate`, a multiple of 16 kHz."""
    return np.asarray(resample_poly(clip, _factor(rate), 1, window=("kaiser", _KAISER)), np.float32)


def _factor(rate: int) -> int:
    ratio = Fraction(rate, SAMPLE_RATE)
    if ratio.denominator != 1:
        raise EncoderError(
            f"a model with a sampling rate of {rate} Hz, no multiple of {SAMPLE_RATE}, is not supported"
        )
    return ratio.numerator


def _taps(factor: int) -> Floats:
    """resample_poly's low-pass filter. Source: scipy/signal/_signaltools.py."""
    return np.asarray(
        firwin(2 * _HALF_LENGTH * factor + 1, 1.0 / factor, window=("kaiser", _KAISER)) * factor
    )


def _kaldi_frames() -> Floats:
    """Kaldi's preparation of a frame as a matrix: the mean subtracted, then pre-emphasis of 0.97."""
    centre = np.eye(_AST_FRAME) - 1.0 / _AST_FRAME
    emphasis = np.eye(_AST_FRAME) - 0.97 * np.eye(_AST_FRAME, k=-1)
    emphasis[0, 0] = 1.0 - 0.97
    return np.asarray(emphasis @ centre)
