"""Audio models of transformers whose preprocessing is known: a waveform at 16 kHz to one vector.

Whisper's encoder (`features.conversion.bundled.whisper`, at any size), the models that read a waveform
(wav2vec2, HuBERT and similar), and those that read a spectrogram of fixed length (AST, CLAP).

B clips, S samples, T frames, D width.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoFeatureExtractor

from features.conversion.bundled.whisper import AcousticEncoder
from features.conversion.huggingface.architectures import LOCAL_ONLY, WAVEFORM, load_config, load_model
from features.conversion.huggingface.spectrogram import AstEncoder, ClapSide, upsample
from features.conversion.sources import Source
from features.conversion.verify.parity import Conversion, sample_clips, write_encoder
from features.conversion.verify.steps import step
from features.encoders import HOP, WINDOW_SAMPLES
from features.media import SAMPLE_RATE
from recsys.arrays import Floats
from recsys.errors import EncoderError


class WaveformEncoder(nn.Module):
    """The mean of the hidden frames; with `normalize` each clip first gets zero mean and unit variance."""

    def __init__(self, model: Any, normalize: bool) -> None:
        super().__init__()
        self.model = model
        self.normalize = normalize

    def forward(self, waveform: Tensor, length: Tensor) -> Tensor:
        waveform = waveform + 0.0 * length[:, None]  # keeps the input in the graph
        if self.normalize:
            mean_B1 = waveform.mean(dim=1, keepdim=True)
            variance_B1 = (waveform - mean_B1).square().mean(dim=1, keepdim=True)
            waveform = (waveform - mean_B1) / (variance_B1 + 1e-7).sqrt()
        return self.model(waveform).last_hidden_state.mean(dim=1)


def convert(source: Source, directory: Path) -> None:
    """Write the encoder directory's files; raises `EncoderError` if the encoder differs from the original."""
    config = load_config(source)
    if "pooling" in source.options:
        raise EncoderError(f"{source.name!r}: audio models pool by themselves; leave pooling out")
    with step(
        source.name, "loading its feature extractor", "preprocessor_config.json must be in its directory"
    ):
        extractor = AutoFeatureExtractor.from_pretrained(source.path, **LOCAL_ONLY)
    model = load_model(source, config)
    build = {"whisper": _whisper, "audio-spectrogram-transformer": _ast, "clap": _clap}
    make = build.get(config.model_type, _waveform)
    assert make is not _waveform or config.model_type in WAVEFORM
    if make is not _clap and extractor.sampling_rate != SAMPLE_RATE:
        raise EncoderError(
            f"{source.name!r}: its sampling rate is {extractor.sampling_rate} Hz; {SAMPLE_RATE} is supported"
        )
    write_encoder(make(model, extractor), directory, **source.labels(is_dual=make is _clap))


def _whisper(model: Any, extractor: Any) -> Conversion:
    """Compared with the original on full windows, the only length of the original's input."""
    encoder = model.get_encoder()
    window = min(WINDOW_SAMPLES, extractor.n_samples)

    def original(clip: Floats) -> Floats:
        features = extractor(clip, sampling_rate=SAMPLE_RATE, return_tensors="pt")["input_features"]
        return encoder(features).last_hidden_state.mean(dim=1)[0].numpy()

    return Conversion(
        module=AcousticEncoder(encoder, extractor.feature_size).eval(),
        example=_example([window // 3, window // 5]),
        dynamic_shapes=_axes(HOP * 3, window),
        preprocessing={"sample_rate": SAMPLE_RATE, "max_samples": window},
        original=original,
        samples=sample_clips([window]),
    )


def _waveform(model: Any, extractor: Any) -> Conversion:
    """Clips are encoded one by one, since in these models padding changes the hidden frames of the clip."""
    module = WaveformEncoder(model, extractor.do_normalize).eval()
    receptive = _receptive_field(model.config)
    shortest = receptive * 2

    def original(clip: Floats) -> Floats:
        inputs = extractor(clip, sampling_rate=SAMPLE_RATE, return_tensors="pt")["input_values"]
        return model(inputs).last_hidden_state.mean(dim=1)[0].numpy()

    return Conversion(
        module=module,
        example=_example([SAMPLE_RATE, SAMPLE_RATE]),
        dynamic_shapes=_axes(shortest, WINDOW_SAMPLES),
        preprocessing={
            "sample_rate": SAMPLE_RATE,
            "max_samples": WINDOW_SAMPLES,
            "min_samples": shortest,
            "one_by_one": True,
        },
        original=original,
        samples=sample_clips([SAMPLE_RATE, 7321]),
    )


def _ast(model: Any, extractor: Any) -> Conversion:
    module = AstEncoder(model, extractor).eval()
    window = min(WINDOW_SAMPLES, (extractor.max_length - 1) * HOP + 400)

    def original(clip: Floats) -> Floats:
        values = extractor(clip, sampling_rate=SAMPLE_RATE, return_tensors="pt")["input_values"]
        return model(values.float()).pooler_output[0].numpy()

    return _fixed(module, window, 800, original)


def _clap(model: Any, extractor: Any) -> Conversion:
    module = ClapSide(model, extractor).eval()
    window = min(WINDOW_SAMPLES, extractor.nb_max_samples * SAMPLE_RATE // extractor.sampling_rate)

    def original(clip: Floats) -> Floats:
        upsampled = upsample(clip, extractor.sampling_rate)
        inputs = extractor(upsampled, sampling_rate=extractor.sampling_rate, return_tensors="pt")
        not_longer = torch.zeros_like(inputs["is_longer"])  # the extractor draws it at random for short clips
        features = model.get_audio_features(
            input_features=inputs["input_features"].float(), is_longer=not_longer
        )
        return nn.functional.normalize(features.pooler_output, dim=-1)[0].numpy()

    return _fixed(module, window, 800, original)


def _fixed(module: nn.Module, window: int, shortest: int, original: Any) -> Conversion:
    """The conversion of a model whose spectrogram has a fixed length."""
    return Conversion(
        module=module,
        example=_example([window // 2, window // 3]),
        dynamic_shapes=_axes(shortest, window),
        preprocessing={"sample_rate": SAMPLE_RATE, "max_samples": window, "min_samples": shortest},
        original=original,
        samples=sample_clips([window, window // 3, window // 2 + 77]),
    )


def _receptive_field(config: Any) -> int:
    """Samples that the convolutions need for one frame."""
    field, jump = 1, 1
    for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
        field += (kernel - 1) * jump
        jump *= stride
    return field


def _axes(shortest: int, longest: int) -> dict[str, dict[int, Any]]:
    batch = torch.export.Dim("batch", min=1, max=4096)
    samples = torch.export.Dim("samples", min=shortest, max=longest)
    return {"waveform": {0: batch, 1: samples}, "length": {0: batch}}


def _example(lengths: list[int]) -> dict[str, Tensor]:
    """Clips of these lengths, right-padded."""
    waveform = np.zeros((len(lengths), max(lengths)), np.float32)
    for row, clip in enumerate(sample_clips(lengths)):
        waveform[row, : len(clip)] = clip
    return {"waveform": torch.from_numpy(waveform), "length": torch.tensor(lengths)}
