"""A configuration from a preset, a TOML file and overrides. Unknown keys and wrong values are refused."""

import json
import tomllib
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

import tomli_w
from pydantic import BaseModel, ValidationError

from recsys.config.sections import PRESETS, REPLACED_KEYS, REPLACED_VALUES, Config
from recsys.errors import ConfigError, did_you_mean


def load_config(
    path: Path | None = None, *, preset: str = "default", overrides: Iterable[str] = ()
) -> Config:
    """The preset, then the TOML file, then `section.field=value` overrides, the later winning.

    Raises `ConfigError` naming the key, the value and the nearest known key.
    """
    if preset not in PRESETS:
        raise ConfigError(f"unknown preset {preset!r}; {did_you_mean(preset, PRESETS)}")
    values: dict[str, Any] = json.loads(json.dumps(PRESETS[preset]))
    if path is not None:
        try:
            _merge(values, tomllib.loads(path.read_text("utf-8-sig")))
            build_config(
                values
            )  # before the overrides, so that the error of a value in the file names the file
        except FileNotFoundError:
            raise ConfigError(f"no configuration file at {path}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} is not TOML: {error}") from None
        except ConfigError as error:
            raise ConfigError("\n".join(f"{path}: {line}" for line in str(error).splitlines())) from None
    for override in overrides:
        _set(values, *parse_setting(override))
    return build_config(values)


def changed(config: Config, settings: Mapping[str, Any]) -> Config:
    """`config` with `settings`, by names such as "train.epochs"; raises `ConfigError` as `load_config`."""
    values = config.model_dump(mode="json")
    for name, value in settings.items():
        _set(values, name, value)
    return build_config(values)


def build_config(values: Mapping[str, Any]) -> Config:
    """A `Config` from nested values; raises `ConfigError` listing every value that is wrong."""
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(problem) for problem in error.errors())) from None


def dump_config(config: Config, path: Path) -> None:
    """Write `config` as TOML that `load_config` reads back."""
    path.write_text(tomli_w.dumps(config.model_dump(mode="json", exclude_none=True)), "utf-8")


def flatten(values: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Nested settings as one level: `{"train": {"epochs": 3}}` as `{"train.epochs": 3}`."""
    flat: dict[str, object] = {}
    for name, value in values.items():
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return flat


def _set(into: dict[str, Any], name: str, value: Any) -> None:
    for part in reversed(name.split(".")):
        value = {part: value}
    _merge(into, value)


def _merge(into: dict[str, Any], new: Mapping[str, Any]) -> None:
    for key, value in new.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = dict(value) if isinstance(value, Mapping) else value


def parse_setting(text: str) -> tuple[str, Any]:
    """Name and value of `name=value`, the value written as in TOML; a bare word is a string.

    Raises `ConfigError` without an equals sign.
    """
    name, sign, value = text.partition("=")
    if not sign:
        raise ConfigError(f"--set {text!r}: write it as name=value")
    try:
        return name.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return name.strip(), value


def _explain(problem: Any) -> str:
    location = [str(part) for part in problem["loc"]]
    key = ".".join(location)
    if problem["type"] == "value_error":
        message = str(problem["ctx"]["error"])
        return f"{key}: {message}" if location and isinstance(problem["loc"][-1], int) else message
    if problem["type"] == "extra_forbidden":
        if key in REPLACED_KEYS:
            return f"configuration key {key!r} was removed; {REPLACED_KEYS[key]}"
        known = _known_keys()
        siblings = [name for name in known if name.rpartition(".")[0] == ".".join(location[:-1])]
        hint = did_you_mean(key, get_close_matches(key, known) or siblings)
        return f"unknown configuration key {key!r}; {hint}"
    new = REPLACED_VALUES.get((key, str(problem["input"])))
    if new is not None:
        return f"{key} = {problem['input']!r} was renamed; write {new!r}"
    return f"{key} = {problem['input']!r}: {problem['msg']}"


def _known_keys(section: type[BaseModel] = Config, prefix: str = "") -> list[str]:
    keys: list[str] = []
    for name, field in section.model_fields.items():
        kinds = get_args(field.annotation) or (field.annotation,)
        nested = next(
            (kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None
        )
        keys += [f"{prefix}{name}", *(_known_keys(nested, f"{prefix}{name}.") if nested else ())]
    return keys
