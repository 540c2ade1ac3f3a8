"""A module and its preprocessing to an encoder directory, compared with the original end to end."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from features.conversion.verify.export import Inputs, export_graph
from features.conversion.verify.steps import step
from features.encoders import Encoder, Kind, write_spec
from recsys.arrays import Floats
from recsys.errors import EncoderError

MISFIT = (
    "its model and its processor or tokenizer may not fit together: give a directory in which both are of "
    "one model"
)
GRAPH_TOLERANCE = 1e-3  # of the largest value: the graph against its module
# |found - original| / |original| of one medium's vector. Pictures are resized by Pillow here, and often by
# torchvision in the original, so that pixels differ by one level.
TOLERANCES: Mapping[Kind, float] = {"text": 1e-3, "image": 1e-2, "audio": 5e-3}


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """A model as a converter describes it."""

    module: torch.nn.Module
    example: Inputs
    dynamic_shapes: Mapping[str, Mapping[int, Any]]
    preprocessing: Mapping[str, Any]
    original: Callable[[Any], Floats]  # the vector of one medium by the original model and preprocessing
    samples: Sequence[Any]  # media on which both are compared


def write_encoder(
    conversion: Conversion,
    directory: Path,
    *,
    name: str,
    kind: Kind,
    source: Mapping[str, str],
    space: str | None = None,
) -> None:
    """Write `model.onnx` and `encoder.toml`; all other files of the encoder must be in `directory`.

    Raises `EncoderError` if the original or the encoder fails on the samples, if the model cannot be
    exported, or if it differs from the original by more than `TOLERANCES`.
    """
    with step(name, "running it with its own preprocessing", MISFIT), torch.no_grad():
        expected = np.stack([conversion.original(sample) for sample in conversion.samples])
    graph = _export(name, directory, conversion)
    spec: dict[str, Any] = {
        "name": name,
        "kind": kind,
        "dim": expected.shape[1],
        "source": source,
        "preprocessing": conversion.preprocessing,
        "space": space,
    }
    write_spec(directory, **spec, parity={})
    with step(name, "running the converted encoder"):
        found = _encode(Encoder.load(directory), conversion.samples)
    parity = {"graph": graph, **compare(expected, found)}
    limit = TOLERANCES[kind]
    if not parity["difference"] <= limit:
        raise EncoderError(
            f"{name!r}: the encoder differs from the original with its own preprocessing by "
            f"{parity['difference']:.1e} of a vector's length, more than {limit:.0e}"
        )
    write_spec(directory, **spec, parity=parity)


def compare(expected: Floats, found: Floats) -> dict[str, float]:
    """The worst relative difference and the worst cosine of the rows of two arrays. Shapes [n, D]."""
    length = np.linalg.norm(expected, axis=1)
    difference = np.linalg.norm(found - expected, axis=1) / length
    cosine = (found * expected).sum(axis=1) / (np.linalg.norm(found, axis=1) * length)
    return {"difference": float(difference.max()), "cosine": float(cosine.min())}


def sample_pictures() -> list[Image.Image]:
    """Three smooth pictures with some noise, of a square, a wide and a high shape."""
    rng = np.random.default_rng(0)
    pictures = []
    for width, height in ((300, 300), (500, 340), (260, 420)):
        coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.float32)
        noisy = smooth + rng.normal(0, 8, smooth.shape)
        pictures.append(Image.fromarray(noisy.clip(0, 255).astype(np.uint8)))
    return pictures


def sample_clips(lengths: Sequence[int]) -> list[Floats]:
    """Noise that swells and fades, of these lengths in samples."""
    rng = np.random.default_rng(0)
    return [
        (rng.normal(0, 0.1, length) * np.sin(np.arange(length) / 3000)).astype(np.float32)
        for length in lengths
    ]


def _export(name: str, directory: Path, conversion: Conversion) -> float:
    with step(name, "exporting it to ONNX"):
        try:
            return export_graph(
                conversion.module,
                directory,
                example=conversion.example,
                dynamic_shapes=conversion.dynamic_shapes,
                checks=[conversion.example],
                tolerance=GRAPH_TOLERANCE,
            )
        except EncoderError as error:
            raise EncoderError(f"{name!r}: {error}") from error


def _encode(encoder: Encoder, samples: Sequence[Any]) -> Floats:
    if encoder.kind == "text":
        return encoder.encode_texts(samples)
    return encoder.encode_images(samples) if encoder.kind == "image" else encoder.encode_audio(samples)
