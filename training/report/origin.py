"""How to reproduce a run: command, settings, seeds, versions, machine and times."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

import tomli_w

from recsys.config import PRESETS, Config, build_config, flatten
from training.fitting import FitRecord


@dataclass(frozen=True, kw_only=True)
class Origin:
    command: str
    settings: str  # TOML
    seeds: Mapping[str, int]
    versions: Mapping[str, str]
    machine: str
    fingerprint: str
    seconds: Mapping[str, float]

    @property
    def total_seconds(self) -> float:
        return sum(self.seconds.values())


def origin(
    config: Config, fit: FitRecord, *, dataset: str, out: str, fingerprint: str, seconds: Mapping[str, float]
) -> Origin:
    """`dataset` and `out` are names of folders without their parent folders."""
    machine = fit.machine
    return Origin(
        command=command(config, dataset=dataset, out=out),
        settings=tomli_w.dumps(_public(config)),
        seeds={"split.seed": config.split.seed, "train.seed": config.train.seed},
        versions=fit.versions,
        machine=f"{machine['cores']} cores, {machine['processor']}, {machine['system']}",
        fingerprint=fingerprint,
        seconds=seconds,
    )


def command(config: Config, *, dataset: str, out: str) -> str:
    """`recsys run` with the preset that needs the fewest `--set` options."""
    changes = {name: _changes(config, build_config(values)) for name, values in PRESETS.items()}
    preset = min(changes, key=lambda name: len(changes[name]))
    words = ["recsys", "run", dataset, "--out", out]
    words += ["--preset", preset] if preset != "default" else []
    for setting in changes[preset]:
        words += ["--set", setting]
    return shlex.join(words)


def _changes(config: Config, base: Config) -> list[str]:
    old, new = (flatten(_public(each)) for each in (base, config))
    return [f"{name}={_toml(value)}" for name, value in new.items() if value != old.get(name)]


def _public(config: Config) -> dict[str, Any]:
    """All settings without the tracker's, whose address may hold a password; of a folder only its name."""
    values = config.model_dump(mode="json", exclude_none=True, exclude={"track"})
    without_folders: dict[str, Any] = _without_folders(values)
    return without_folders


def _without_folders(value: Any) -> Any:
    """`value` with every absolute path shortened to its last part, in nested values too."""
    match value:
        case dict():
            return {key: _without_folders(inner) for key, inner in value.items()}
        case str() if PurePosixPath(value).is_absolute() or PureWindowsPath(value).is_absolute():
            return f"…/{PureWindowsPath(value).name}"
    return value


def _toml(value: Any) -> str:
    """A value in the form that `--set` reads: a string as it is, any other value as TOML."""
    if isinstance(value, str):
        return value
    match value:
        case list():
            return (
                f"[{', '.join(json.dumps(each) if isinstance(each, str) else _toml(each) for each in value)}]"
            )
        case dict():
            return f"{{{', '.join(f'{name} = {_toml(each)}' for name, each in value.items())}}}"
    return json.dumps(value)
