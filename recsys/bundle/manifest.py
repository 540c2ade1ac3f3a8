"""The manifest of a bundle, written and read as manifest.json."""

import json
from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

import recsys
from recsys.errors import BundleError
from recsys.history import SequenceSchema
from recsys.retrieval import RecommenderSettings
from recsys.search import SearchSettings

FORMAT_VERSION: Final = 4
MANIFEST: Final = "manifest.json"
REMEDY: Final = "copy the bundle again from its source, or export it again"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DatasetInfo(_Frozen):
    name: str
    fingerprint: str  # hash of the tables that the model was fitted on


class TensorInfo(_Frozen):
    dtype: str
    shape: tuple[int | str | None, ...]  # a dynamic axis is a name or None


class GraphSignature(_Frozen):
    inputs: Mapping[str, TensorInfo]
    outputs: Mapping[str, TensorInfo]


class Manifest(_Frozen):
    """Configuration, schema, metrics, graphs and hashes of a bundle.

    A bundle has a recommender, a search part or both. One of items alone has no `sequence_schema` and no
    `recommender`, and no graphs of towers.
    """

    format_version: int
    recsys_version: str
    created_at: str  # UTC, ISO 8601
    config: Mapping[str, Any]
    dataset: DatasetInfo
    refit: bool  # True: trained once more on all events after the evaluation
    refit_description: str
    metrics: Mapping[str, Any]  # of the model before the refit
    sequence_schema: SequenceSchema | None = None
    modalities: tuple[str, ...]  # token names, the order of the axis T
    # Kind, or "transcriber" -> directory in the bundle.
    encoders: Mapping[str, str] = Field(default_factory=dict)
    graphs: Mapping[str, GraphSignature]
    recommender: RecommenderSettings | None = None
    search: SearchSettings | None = None
    parity: Mapping[str, float]  # largest differences between torch and the graphs, by output
    files: Mapping[str, str]  # relative path -> sha256

    @model_validator(mode="after")
    def _answers_something(self) -> Self:
        if (self.recommender is None) != (self.sequence_schema is None):
            raise ValueError("recommender and sequence_schema: a bundle has both or none")
        if self.recommender is None and self.search is None:
            raise ValueError("a bundle needs a recommender or a search part")
        return self


def read_manifest(path: Path) -> Manifest:
    """The manifest of the bundle in `path`; raises `BundleError` for a missing, malformed or older one."""
    file = path / MANIFEST
    try:
        values = json.loads(file.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise BundleError(f"{path} is no bundle: {MANIFEST} is missing{_hint(path)}") from None
    except OSError as error:
        raise BundleError(f"{file} cannot be read: {error.strerror}") from None
    except (
        ValueError,
        RecursionError,
    ) as error:  # bad JSON, bad UTF-8, numbers too long, lists nested too deep
        raise BundleError(f"{file} is not JSON: {error}; {REMEDY}") from None
    version = values.get("format_version") if isinstance(values, dict) else None
    # The version is checked first, since a manifest of another version has other fields.
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise BundleError(
            f"{file}: format version {version}; this recsys {recsys.__version__} reads "
            f"{FORMAT_VERSION}. Upgrade recsys, or export the bundle again with this version"
        )
    if isinstance(version, int) and version < FORMAT_VERSION:
        raise BundleError(
            f"{file}: format version {version}; this recsys {recsys.__version__} reads {FORMAT_VERSION}. "
            "Export the bundle again from its run: recsys export RUN"
        )
    try:
        return Manifest.model_validate(values)
    except ValidationError as error:
        raise BundleError(f"{file}: {problems_of(error)}") from None


def _hint(path: Path) -> str:
    """What `path` is in place of a bundle, and the command that makes one; empty where neither is known."""
    if (path / "dataset.toml").is_file():
        return f"; it is a dataset: make a bundle with: recsys run {quote(str(path))} --out RUN, and name RUN"
    if (path / "config.toml").is_file() and (path / "dataset.json").is_file():
        return f"; it is a run without a bundle: make one with: recsys export {quote(str(path))}"
    return "" if path.exists() else "; there is no such folder"


def problems_of(error: ValidationError) -> str:
    """The wrong fields, each with its error."""
    return "; ".join(
        ": ".join(filter(None, (".".join(map(str, each["loc"])), each["msg"]))) for each in error.errors()
    )
