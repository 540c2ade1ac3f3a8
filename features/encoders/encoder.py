"""An encoder directory, checked and loaded: texts, pictures or waveforms in, vectors out. No torch.

encoder.toml     kind, dimensions, source, preprocessing, sha256 of the other files
model.onnx       the graph
tokenizer.json   for texts
"""

import hashlib
import os
import tomllib
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import tomli_w
from PIL import Image

from features.encoders.audio import N_FFT, WINDOW_SAMPLES, waveform_batch, windows
from features.encoders.batching import LIMITS, BatchLimits, chunks, length_batches
from features.encoders.image import CROP_STARTS, INTERPOLATIONS, Pixels, resize_and_crop
from features.encoders.text import TextPreprocessor
from recsys.arrays import Floats
from recsys.errors import EncoderError, did_you_mean
from recsys.onnx import OnnxSession

Kind = Literal["text", "image", "audio"]
Device = Literal["cpu", "cuda"]

FORMAT_VERSION = 1
SPEC_FILE = "encoder.toml"
GRAPH_FILE = "model.onnx"
TOKENIZER_FILE = "tokenizer.json"

_MIN_SAMPLES = 2 * N_FFT  # the shortest batch: the graph mirrors half an FFT window at the start

# Required and optional keys of `preprocessing` by kind; all of them enter the fingerprint.
_PREPROCESSING: Mapping[str, Mapping[str, tuple[type, ...]]] = {
    "text": {"max_tokens": (int,), "pad_token": (str,)},
    "image": {"resize": (int, list), "crop": (int, list)},
    "audio": {"sample_rate": (int,), "max_samples": (int,)},
}
_OPTIONAL: Mapping[str, Mapping[str, tuple[type, ...]]] = {
    "text": {"prefix": (str,), "pad_to_max": (bool,), "pad_side": (str,)},
    "image": {"interpolation": (str,), "crop_from": (str,)},
    "audio": {"min_samples": (int,), "one_by_one": (bool,)},
}
_CHOICES: Mapping[str, Collection[str]] = {
    "interpolation": INTERPOLATIONS,
    "crop_from": CROP_STARTS,
    "pad_side": ("left", "right"),
}


@dataclass(frozen=True, kw_only=True)
class EncoderSpec:
    """The content of a directory's `encoder.toml`, with the hashes of its files verified."""

    path: Path
    name: str
    kind: Kind
    dim: int
    source: Mapping[str, str]
    preprocessing: Mapping[str, Any]
    files: Mapping[str, str]  # name -> sha256
    parity: Mapping[str, float]  # differences to the original model, measured at conversion
    fingerprint: str  # of encoder.toml without `parity`, and through its hashes of every other file
    # Name of the space that the encoder shares with encoders of other kinds, as the two sides of CLIP do.
    # None: a space of its own.
    space: str | None = None

    @property
    def side(self) -> int:
        """The side to which pictures are resized, in pixels; of two sides the longer one."""
        resize = self.preprocessing["resize"]
        return resize if isinstance(resize, int) else max(resize)

    @classmethod
    def read(cls, path: Path | str) -> "EncoderSpec":
        """Raises `EncoderError` if a file is missing or altered, or `encoder.toml` has an invalid value."""
        path = Path(path)
        try:
            content = (path / SPEC_FILE).read_bytes()
            values = tomllib.loads(content.decode("utf-8"))
        except FileNotFoundError:
            raise EncoderError(f"{path}: no encoder directory, there is no {SPEC_FILE} in it") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise EncoderError(f"{path / SPEC_FILE}: not TOML: {error}") from None
        _check_values(path / SPEC_FILE, values)
        for name, expected in values["files"].items():
            check_sha256(path / name, expected, "make the encoder directory again")
        parity = values.pop(
            "parity", {}
        )  # measured, so it differs between machines and is not in the fingerprint
        return cls(
            path=path,
            name=values["name"],
            kind=values["kind"],
            dim=values["dim"],
            source=values["source"],
            preprocessing=values["preprocessing"],
            files=values["files"],
            parity=parity,
            fingerprint=hashlib.sha256(tomli_w.dumps(values).encode()).hexdigest(),
            space=values.get("space"),
        )


class Encoder:
    """A pretrained, frozen model that turns media of one kind into vectors.

    Media are encoded in small batches. On a CPU each batch runs on one core, and `num_threads` batches run
    at once, which is cheaper than several cores inside one batch.
    """

    def __init__(
        self, spec: EncoderSpec, session: OnnxSession, limits: BatchLimits, num_workers: int
    ) -> None:
        self.spec = spec
        self._session = session
        self._limits = limits
        self._num_workers = num_workers

    @classmethod
    def load(cls, path: Path | str, device: Device = "cpu", num_threads: int | None = None) -> "Encoder":
        """Raises `EncoderError` for an altered directory, `ProviderError` for an unavailable device."""
        return cls.open(EncoderSpec.read(path), device, num_threads)

    @classmethod
    def open(cls, spec: EncoderSpec, device: Device = "cpu", num_threads: int | None = None) -> "Encoder":
        """The encoder of a checked directory; `num_threads` defaults to the number of cores."""
        # Vectors are stored in float16, whose mantissa has as many bits as TF32's.
        session = OnnxSession(spec.path / GRAPH_FILE, device=device, num_threads=1, tf32=True)
        num_workers = (num_threads or os.cpu_count() or 1) if device == "cpu" else 1
        return cls(spec, session, LIMITS[device], num_workers)

    @property
    def kind(self) -> Kind:
        return self.spec.kind

    @property
    def dim(self) -> int:
        return self.spec.dim

    @property
    def fingerprint(self) -> str:
        return self.spec.fingerprint

    @property
    def providers(self) -> tuple[str, ...]:
        """Execution providers that the session runs on."""
        return self._session.providers

    def encode_texts(self, texts: Sequence[str]) -> Floats:
        """Unit vectors of the texts, each cut at the encoder's limit. Shape [n, D]."""
        self._require("text")
        tokens = self._text.tokens(texts)
        lengths = [self._text.padded_length(ids) for ids in tokens]
        batches = length_batches(lengths, max_items=len(texts), max_length=self._limits.tokens)
        return self._encode(batches, lambda batch: self._text.pad([tokens[at] for at in batch]))

    def whole_words(self, words: Sequence[str]) -> frozenset[str]:
        """Those of `words`, in lower case, that are one token: correct words, not misspelled ones."""
        self._require("text")
        return self._text.whole_words(words)

    def encode_images(self, images: Sequence[Image.Image]) -> Floats:
        """Pooled features of RGB pictures. Shape [n, D]."""
        return self.encode_pixels([self.prepare_image(image) for image in images])

    def prepare_image(self, image: Image.Image) -> Pixels:
        """`image` resized and cropped to the graph's input. Shape [height, width, 3]."""
        self._require("image")
        preprocessing = self.spec.preprocessing
        return resize_and_crop(
            image,
            resize=preprocessing["resize"],
            crop=preprocessing["crop"],
            interpolation=preprocessing.get("interpolation", "bicubic"),
            crop_from=preprocessing.get("crop_from", "round"),
        )

    def encode_pixels(self, pixels: Sequence[Pixels]) -> Floats:
        """Pooled features of prepared pictures. Shape [n, D]."""
        self._require("image")
        batches = list(chunks(range(len(pixels)), self._limits.pictures))
        return self._encode(batches, lambda batch: {"pixels": np.stack([pixels[at] for at in batch])})

    def encode_audio(self, waveforms: Sequence[Floats]) -> Floats:
        """Acoustic vectors of waveforms at 16 kHz, of any number and length. Shape [n, D].

        A waveform longer than the encoder's limit (30 seconds for Whisper) is encoded in windows. Its
        vector is the mean of theirs, weighted by their lengths.
        """
        self._require("audio")
        if any(not len(waveform) for waveform in waveforms):
            raise EncoderError("a waveform without samples has no acoustic vector")
        limits = self.spec.preprocessing
        longest, shortest = limits["max_samples"], limits.get("min_samples", _MIN_SAMPLES)
        owned = [(owner, piece) for owner, wave in enumerate(waveforms) for piece in windows(wave, longest)]
        pieces = [piece for _, piece in owned]
        lengths = [len(piece) for piece in pieces]
        max_items = 1 if limits.get("one_by_one") else len(pieces)
        batches = length_batches(lengths, max_items=max_items, max_length=self._limits.samples)

        def inputs(batch: list[int]) -> dict[str, Any]:
            waveform, length = waveform_batch([pieces[at] for at in batch], shortest)
            return {"waveform": waveform, "length": length}

        vectors, weights = self._encode(batches, inputs), np.array(lengths, np.float32)[:, None]
        sums, total = (
            np.zeros((len(waveforms), self.dim), np.float32),
            np.zeros((len(waveforms), 1), np.float32),
        )
        owner = np.array([owner for owner, _ in owned], np.int64)
        np.add.at(sums, owner, vectors * weights)
        np.add.at(total, owner, weights)
        return sums / total

    @cached_property
    def _text(self) -> TextPreprocessor:
        preprocessing = self.spec.preprocessing
        return TextPreprocessor(
            self.spec.path / TOKENIZER_FILE,
            max_tokens=preprocessing["max_tokens"],
            pad_token=preprocessing["pad_token"],
            prefix=preprocessing.get("prefix", ""),
            pad_to_max=preprocessing.get("pad_to_max", False),
            pad_side=preprocessing.get("pad_side", "right"),
        )

    def _encode(
        self, batches: Sequence[list[int]], inputs: Callable[[list[int]], Mapping[str, Any]]
    ) -> Floats:
        """Vectors in the order of the media; `batches` has the index of every medium once."""
        vectors = np.empty((sum(map(len, batches)), self.dim), np.float32)

        def run(batch: list[int]) -> None:
            vectors[batch] = self._run(inputs(batch))

        if self._num_workers == 1 or len(batches) < 2:
            for batch in batches:
                run(batch)
            return vectors
        pool = ThreadPoolExecutor(self._num_workers, thread_name_prefix="encode")
        try:
            for done in [pool.submit(run, batch) for batch in reversed(batches)]:  # the longest first
                done.result()
        finally:
            pool.shutdown(cancel_futures=True)
        return vectors

    def _run(self, inputs: Mapping[str, Any]) -> Floats:
        vectors = self._session.run(inputs)["vector"]
        if not np.isfinite(vectors).all():
            raise EncoderError(f"{self.spec.path}: {self.spec.name} gave a vector that is not finite")
        return vectors

    def _require(self, kind: Kind) -> None:
        if kind != self.kind:
            raise EncoderError(f"{self.spec.path}: an encoder of {self.kind} cannot encode {kind}")


def write_spec(
    path: Path,
    *,
    name: str,
    kind: Kind,
    dim: int,
    source: Mapping[str, str],
    preprocessing: Mapping[str, Any],
    parity: Mapping[str, float],
    space: str | None = None,
) -> None:
    """Write `encoder.toml` into `path`, with the hashes of the other files there."""
    files = {file.name: sha256_file(file) for file in sorted(path.iterdir()) if file.name != SPEC_FILE}
    values = {
        "format": FORMAT_VERSION,
        "name": name,
        "kind": kind,
        "dim": dim,
        **({} if space is None else {"space": space}),
        "source": dict(source),
        "preprocessing": dict(preprocessing),
        "files": files,
        "parity": {key: float(f"{value:.6g}") for key, value in parity.items()},
    }
    _check_values(path / SPEC_FILE, values)
    (path / SPEC_FILE).write_text(tomli_w.dumps(values), "utf-8")


def sha256_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_sha256(path: Path, expected: str, remedy: str) -> None:
    """Raises `EncoderError` naming the file, the expected and the found hash, and `remedy`."""
    if not path.is_file():
        raise EncoderError(f"{path}: the file is missing; {remedy}")
    found = sha256_file(path)
    if found != expected:
        raise EncoderError(f"{path}: altered: sha256 should be {expected}, is {found}; {remedy}")


def _check_values(path: Path, values: Mapping[str, Any]) -> None:
    if values.get("format") != FORMAT_VERSION:
        raise EncoderError(f"{path}: format {values.get('format')!r}; this version reads {FORMAT_VERSION}")
    for key, kind in {"name": str, "kind": str, "dim": int, "source": dict, "files": dict}.items():
        if not isinstance(values.get(key), kind):
            raise EncoderError(f"{path}: {key} = {values.get(key)!r}; a {kind.__name__} is needed")
    if not isinstance(values.get("space", ""), str):
        raise EncoderError(f"{path}: space = {values['space']!r}; a str is needed")
    if values["kind"] not in get_args(Kind):
        raise EncoderError(f"{path}: kind = {values['kind']!r}; known: {', '.join(get_args(Kind))}")
    preprocessing = values.get("preprocessing", {})
    given = {key: of for key, of in _OPTIONAL[values["kind"]].items() if key in preprocessing}
    for key, types in {**_PREPROCESSING[values["kind"]], **given}.items():
        if not isinstance(found := preprocessing.get(key), types):
            needed_type = " or ".join(of.__name__ for of in types)
            raise EncoderError(f"{path}: preprocessing.{key} = {found!r}; a {needed_type} is needed")
    needed = {GRAPH_FILE} | ({TOKENIZER_FILE} if values["kind"] == "text" else set())
    if missing := needed - set(values["files"]):
        raise EncoderError(f"{path}: no sha256 of {', '.join(sorted(missing))} under [files]")
    if values["kind"] == "audio" and not 0 < preprocessing["max_samples"] <= WINDOW_SAMPLES:
        raise EncoderError(f"{path}: preprocessing.max_samples must be within 1 and {WINDOW_SAMPLES}")
    for key, known in _CHOICES.items():
        if key in preprocessing and preprocessing[key] not in known:
            hint = did_you_mean(preprocessing[key], known)
            raise EncoderError(f"{path}: preprocessing.{key} = {preprocessing[key]!r}; {hint}")
