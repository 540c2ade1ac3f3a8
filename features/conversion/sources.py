"""Sources of encoders that are not embedded: model directories, models of the hub, torchvision models.

`NAME?option=value&option=value`; the options are those of `OPTIONS`. No torch here.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from features.encoders import Kind, sha256_file
from recsys.errors import EncoderError, MissingExtraError, did_you_mean

TORCHVISION = "torchvision:"
OPTIONS: Mapping[str, str] = {
    "prefix": "written before every text, such as 'query: '",
    "pooling": "text: mean, cls or last; image: pooler, cls or mean",
    "max_tokens": "where a longer text is cut",
    "revision": "branch, tag or commit on the hub",
}
# Ends of hub or directory names of E5 models; E5 models for instructions take no prefix.
_E5 = re.compile(r"(^|[-/_])e5-(small|base|large)(-v2|-unsupervised)?$")
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_TABLES = ("*.json", "*.txt", "*.model")
# The first two patterns are of the weights. A dense layer may be .bin beside .safetensors.
_FORMATS = (
    ("*.safetensors", "0_*/*.safetensors", "*/*.safetensors", "[1-9]_*/*.bin"),
    ("*.bin", "0_*/*.bin", "*/*.bin"),
)


@dataclass(frozen=True, kw_only=True)
class Source:
    """Available weights, and the module that converts them."""

    name: str  # without options
    kind: Kind
    path: Path | None  # a model directory or a state dict; None: torchvision's default weights
    origin: str  # written to encoder.toml, so it has no path of this machine
    revision: str
    converter: str
    options: Mapping[str, str] = field(default_factory=dict)

    def describe(self) -> dict[str, str]:
        options = {f"option_{name}": value for name, value in self.options.items()}
        return {"origin": self.origin, "revision": self.revision, **options}

    def labels(self, *, is_dual: bool = False) -> dict[str, Any]:
        """The arguments of `write_encoder` that describe the source.

        With `is_dual` the encoder is one side of a model with a shared space, whose sides all name it alike.
        """
        space = f"{self.origin}@{self.revision}" if is_dual else None
        return {"name": self.origin, "kind": self.kind, "source": self.describe(), "space": space}

    def cache_name(self, version: int) -> str:
        """A folder name that depends on name, content, kind and options."""
        key = repr((self.kind, self.origin, self.revision, sorted(self.options.items())))
        digest = hashlib.sha256(key.encode()).hexdigest()[:12]
        return f"{re.sub(r'[^A-Za-z0-9.]+', '-', self.origin)}-{self.kind}-{digest}-v{version}"


def resolve(name: str, kind: Kind | None, embedded: Mapping[str, object]) -> Source:
    """The source that `name` means; a model of the hub is downloaded if it is not in the local cache.

    Raises `EncoderError` if there is no such source, it cannot be downloaded, or a required `kind` is None.
    """
    name, options = _split(name)
    if name.startswith(TORCHVISION):
        return _torchvision(name, kind, options)
    path = Path(name)
    if not path.is_dir() and not _HUB_NAME.fullmatch(name):
        raise EncoderError(
            f"{name!r} is neither a directory, a hub name (owner/model), {_others(name, embedded)}"
        )
    if kind is None:
        raise EncoderError(f"{name!r}: say which kind of encoder is wanted: text, image or audio")
    if path.is_dir():
        if "revision" in options:
            raise EncoderError(f"{name!r}: a local directory has no revision; leave the option out")
        _require_config(path)
        origin, revision = path.resolve().name, _fingerprint(path)
    else:
        path = _download(name, options.get("revision"))
        _require_config(path)
        origin, revision = name, path.name
    converter = f"features.conversion.huggingface.{kind}_model"
    return Source(
        name=name,
        kind=kind,
        path=path,
        origin=origin,
        revision=revision,
        converter=converter,
        options=options,
    )


def _others(name: str, embedded: Mapping[str, object]) -> str:
    return f"'{TORCHVISION}NAME' nor an embedded encoder; {did_you_mean(name, embedded)}"


def _split(name: str) -> tuple[str, dict[str, str]]:
    name, _, query = name.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    for option in options:
        if option not in OPTIONS:
            raise EncoderError(f"{name!r}: unknown option {option!r}; {did_you_mean(option, OPTIONS)}")
    return name, options


def _torchvision(name: str, kind: Kind | None, options: dict[str, str]) -> Source:
    if kind not in (None, "image"):
        raise EncoderError(f"{name!r} is an image model; it cannot encode {kind}")
    if options:
        raise EncoderError(f"{name!r}: a torchvision model takes no options, {', '.join(options)} was given")
    model, _, state = name.removeprefix(TORCHVISION).partition(":")
    path = Path(state) if state else None
    if path is not None and not path.is_file():
        raise EncoderError(f"{name!r}: there is no state dict at {path}")
    return Source(
        name=name,
        kind="image",
        path=path,
        origin=f"torchvision:{model}" + (f":{path.name}" if path else ""),
        revision=sha256_file(path) if path else "default weights",
        converter="features.conversion.huggingface.torchvision_model",
    )


def e5_prefix(origin: str) -> str:
    """The prefix that E5's authors advise for symmetric tasks; empty for every other model."""
    return "query: " if _E5.search(origin.lower()) else ""


def _require_config(path: Path) -> None:
    if not (path / "config.json").is_file() and not (path / "modules.json").is_file():
        raise EncoderError(f"{path}: no model directory, there is neither encoder.toml nor config.json in it")


def _fingerprint(directory: Path) -> str:
    """Hash of the content of all files that a conversion may read."""
    patterns = [*_TABLES, *(f"*/{pattern}" for pattern in _TABLES), *_FORMATS[0], *_FORMATS[1]]
    files = sorted({path for pattern in patterns for path in directory.glob(pattern) if path.is_file()})
    listing = [f"{path.relative_to(directory).as_posix()} {sha256_file(path)}" for path in files]
    return hashlib.sha256("\n".join(listing).encode()).hexdigest()


def _download(name: str, revision: str | None) -> Path:
    """The hub's snapshot of `name`, cached or downloaded; safetensors are preferred."""
    try:
        from huggingface_hub import snapshot_download
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "huggingface_hub", "cpu") from error
    tables = [*_TABLES, *(f"[0-9]_*/{pattern}" for pattern in _TABLES)]
    try:
        for formats in _FORMATS:
            wanted = [*tables, *formats]
            path = _snapshot(snapshot_download, name, revision, wanted, formats[:2])
            if any(any(path.glob(pattern)) for pattern in formats[:2]):
                return path
    except Exception as error:  # the hub's client raises errors of its own, of httpx and OSError
        raise EncoderError(
            f"{name!r} is not in the hub's cache on this machine and could not be downloaded "
            f"({type(error).__name__}); on a machine with a network download it with "
            f"`hf download {name} --local-dir DIR`, copy DIR here and give its path"
        ) from error
    raise EncoderError(f"{name!r} has no weights as .safetensors or .bin")


def _snapshot(
    download: object, name: str, revision: str | None, wanted: list[str], weights: tuple[str, ...]
) -> Path:
    assert callable(download)
    ignored = ["onnx/*", "openvino/*", "tf_*", "flax_*", "training_args.bin"]
    given = {"revision": revision, "allow_patterns": wanted, "ignore_patterns": ignored}
    try:
        path = Path(download(name, local_files_only=True, **given))
        if any(any(path.glob(pattern)) for pattern in weights):
            return path
    except FileNotFoundError:
        pass  # not in the cache: LocalEntryNotFoundError is one
    return Path(download(name, **given))
