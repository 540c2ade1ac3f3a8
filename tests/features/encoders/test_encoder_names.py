"""Names of encoders: each syntax, options, the folder of the conversion, and errors with a remedy."""

import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import huggingface_hub
import pytest
from tiny_encoders import write_tiny_text

from features.conversion import EMBEDDED, ensure_encoder
from features.conversion.sources import Source, e5_prefix, resolve
from features.conversion.verify.report import convert_encoder
from features.encoders.encoder import Encoder
from recsys.errors import EncoderError


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A directory with the files of a transformers model."""
    directory = tmp_path / "mine"
    (directory / "1_Dense").mkdir(parents=True)
    for name in ("config.json", "model.safetensors", "tokenizer.json", "1_Dense/model.safetensors"):
        (directory / name).write_text(name)
    return directory


@pytest.fixture
def converter(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Replaces the converter of text models; `sources` records its arguments."""
    module = ModuleType("features.conversion.huggingface.text_model")
    module.sources = []  # type: ignore[attr-defined]

    def convert(source: Source, directory: Path) -> None:
        module.sources.append(source)  # type: ignore[attr-defined]
        write_tiny_text(directory, name=source.origin)

    module.convert = convert  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


def test_a_local_model_is_converted_once(model: Path, converter: ModuleType, tmp_path: Path) -> None:
    directory = ensure_encoder(str(model), tmp_path / "cache", kind="text")
    assert ensure_encoder(str(model), tmp_path / "cache", kind="text") == directory
    assert Encoder.load(directory).spec.name == "mine"
    (source,) = converter.sources
    assert (source.origin, source.path, source.kind) == ("mine", model, "text")
    assert str(tmp_path) not in repr(source.describe())


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "1_Dense/model.safetensors"])
def test_another_content_is_another_encoder(
    model: Path, converter: ModuleType, tmp_path: Path, name: str
) -> None:
    first = ensure_encoder(str(model), tmp_path / "cache", kind="text")
    (model / name).write_text("changed")
    assert ensure_encoder(str(model), tmp_path / "cache", kind="text") != first
    assert len(converter.sources) == 2


def test_the_same_content_elsewhere_is_the_same_encoder(
    model: Path, converter: ModuleType, tmp_path: Path
) -> None:
    moved = shutil.copytree(model, tmp_path / "elsewhere" / "mine")
    cache = tmp_path / "cache"
    assert ensure_encoder(str(model), cache, kind="text") == ensure_encoder(str(moved), cache, kind="text")


def test_options_are_part_of_the_encoder(model: Path, converter: ModuleType, tmp_path: Path) -> None:
    names = [str(model), f"{model}?pooling=cls", f"{model}?prefix=query: &max_tokens=64"]
    assert len({ensure_encoder(name, tmp_path / "cache", kind="text") for name in names}) == 3
    assert [dict(source.options) for source in converter.sources] == [
        {},
        {"pooling": "cls"},
        {"prefix": "query: ", "max_tokens": "64"},
    ]
    assert converter.sources[2].describe()["option_prefix"] == "query: "


def test_a_hub_model_is_looked_for_in_the_cache_and_then_downloaded(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, bool, str | None]] = []

    def download(name: str, *, local_files_only: bool = False, revision: str | None, **_: Any) -> str:
        asked.append((name, local_files_only, revision))
        if local_files_only:
            raise FileNotFoundError
        return str(model)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    source = resolve("intfloat/e5?revision=main", "text", EMBEDDED)
    assert asked == [("intfloat/e5", True, "main"), ("intfloat/e5", False, "main")]
    assert (source.origin, source.revision, source.path) == ("intfloat/e5", "mine", model)


def test_a_hub_model_without_a_network_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def download(name: str, **_: Any) -> str:
        raise FileNotFoundError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    with pytest.raises(EncoderError, match=r"hf download owner/model --local-dir DIR.* give its path"):
        ensure_encoder("owner/model", kind="text")


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("minilm-l7", "text", r"neither a directory.* did you mean 'minilm-l6'\?"),
        ("minilm-l6", "image", "'minilm-l6' is an encoder of text; it cannot encode image"),
        ("owner/model", None, "say which kind of encoder is wanted"),
        ("owner/model?poling=cls", "text", r"unknown option 'poling'; did you mean 'pooling'\?"),
        ("torchvision:resnet18", "audio", "is an image model; it cannot encode audio"),
        ("torchvision:resnet18:nowhere.pth", "image", r"there is no state dict at nowhere\.pth"),
        ("torchvision:resnet18?pooling=cls", "image", "takes no options, pooling was given"),
    ],
)
def test_a_name_that_cannot_be(name: str, kind: Any, message: str) -> None:
    with pytest.raises(EncoderError, match=message):
        ensure_encoder(name, kind=kind)


@pytest.mark.parametrize(
    ("origin", "prefix"),
    [
        ("intfloat/e5-small", "query: "),
        ("intfloat/multilingual-e5-large", "query: "),
        ("intfloat_E5-base-v2", "query: "),
        ("intfloat/multilingual-e5-large-instruct", ""),
        ("intfloat/e5-mistral-7b-instruct", ""),
        ("owner/type5-small", ""),
        ("owner/mine-e5-like", ""),
    ],
)
def test_the_prefix_of_e5_is_of_its_own_names_alone(origin: str, prefix: str) -> None:
    assert e5_prefix(origin) == prefix


def test_a_directory_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match=r"neither encoder\.toml nor config\.json"):
        ensure_encoder(str(tmp_path), kind="text")


def test_a_local_directory_has_no_revision(model: Path) -> None:
    with pytest.raises(EncoderError, match="has no revision"):
        ensure_encoder(f"{model}?revision=main", kind="text")


def test_report_and_copy(model: Path, converter: ModuleType, tmp_path: Path) -> None:
    report = convert_encoder(str(model), "text", tmp_path / "cache", tmp_path / "copy")
    assert report.path == tmp_path / "copy"
    assert Encoder.load(report.path).dim == report.spec.dim == 2
    assert report.num_bytes == sum(file.stat().st_size for file in report.path.iterdir())
    assert "before every text" not in report.shown()
    prefixed = replace(report.spec, preprocessing={"prefix": "query: "})
    assert replace(report, spec=prefixed).shown()["before every text"] == "'query: '"
    assert report.shown()["cosine with the original"] == "not measured"
    with pytest.raises(EncoderError, match="copy exists; give a new folder"):
        convert_encoder(str(model), "text", tmp_path / "cache", tmp_path / "copy")


def test_a_directory_of_another_kind_is_refused(tmp_path: Path) -> None:
    directory = write_tiny_text(tmp_path / "text")
    with pytest.raises(EncoderError, match="is an encoder of text; it cannot encode image"):
        convert_encoder(str(directory), "image", tmp_path / "cache")
