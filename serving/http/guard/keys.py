"""API keys: a JSON file that has their hashes, never the keys.

{"keys": [{"name": "shop", "sha256": "9f86d0...", "scopes": ["recommend"], "created_at": "2026-03-01T12Z"}]}

A key has 256 random bits, so that a plain SHA-256 of it cannot be searched through.
"""

import hashlib
import hmac
import json
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, get_args

from recsys.errors import ConfigError, DataError
from recsys.files import exclusive, replacing

Scope = Literal["recommend", "write", "admin"]
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
PREFIX: Final = "rk_"  # so that a scanner for leaked secrets knows a key


@dataclass(frozen=True, kw_only=True)
class Key:
    """A key without its secret."""

    name: str
    sha256: str
    scopes: tuple[Scope, ...]
    created_at: str


class KeyFile:
    """The keys of a file, read again where the file has changed; safe to use from many threads."""

    def __init__(self, path: Path) -> None:
        """Raises `DataError` for a file that has no keys or cannot be read."""
        self._path, self._read = path, (0, tuple[Key, ...]())
        if not self.keys():
            raise DataError(f"{path} has no key; add one with: recsys key {path} NAME")

    def keys(self) -> tuple[Key, ...]:
        """All keys. Raises `DataError`."""
        try:
            changed = self._path.stat().st_mtime_ns
        except OSError as error:
            raise DataError(
                f"{self._path}: cannot be read: {error.strerror}; add a key with: recsys key FILE NAME"
            ) from None
        if changed != self._read[0]:
            self._read = (changed, tuple(read_keys(self._path)))
        return self._read[1]

    def find(self, token: str) -> Key | None:
        """The key of this secret, in a time that does not tell how much of it is right."""
        digest = _digest(token)
        found = [key for key in self.keys() if hmac.compare_digest(key.sha256, digest)]
        return found[0] if found else None


def read_keys(path: Path) -> list[Key]:
    """The keys of the file; raises `DataError` with the place of what is wrong."""
    try:
        entries = json.loads(path.read_text("utf-8"))["keys"]
        return [_key(entry, f"{path}: keys.{at}") for at, entry in enumerate(entries)]
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f'{path}: is no file of keys, {{"keys": [...]}}: {error!r}') from None


def add_key(path: Path, name: str, scopes: Sequence[str]) -> str:
    """A new key of this name, added to the file, which is made where it is missing; the only copy of it.

    Raises `ConfigError` for an unknown scope, an empty name or the name of another key.
    """
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown or not scopes:
        raise ConfigError(f"scopes {unknown or list(scopes)}: must be of {', '.join(SCOPES)}")
    if not name.strip():
        raise ConfigError("a key needs a name")
    with exclusive(path):
        keys = read_keys(path) if path.exists() else []
        if any(key.name == name for key in keys):
            raise ConfigError(f"{path}: there is a key {name!r}; remove it first, or choose another name")
        token = PREFIX + secrets.token_urlsafe(32)
        created = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        ordered = tuple(scope for scope in SCOPES if scope in scopes)
        _write(path, [*keys, Key(name=name, sha256=_digest(token), scopes=ordered, created_at=created)])
    return token


def remove_key(path: Path, name: str) -> None:
    """Remove the key of this name; raises `ConfigError` where there is none."""
    with exclusive(path):
        keys = read_keys(path)
        kept = [key for key in keys if key.name != name]
        if len(kept) == len(keys):
            known = ", ".join(key.name for key in keys) or "none"
            raise ConfigError(f"{path}: there is no key {name!r}; there are: {known}")
        _write(path, kept)


def _write(path: Path, keys: Sequence[Key]) -> None:
    with replacing(path) as unfinished:
        unfinished.write_text(json.dumps({"keys": [asdict(key) for key in keys]}, indent=2) + "\n", "utf-8")
        unfinished.chmod(0o600)


def _key(entry: Any, place: str) -> Key:
    try:
        key = Key(**{**entry, "scopes": tuple(entry["scopes"])})
    except (TypeError, KeyError, AttributeError) as error:
        raise DataError(f"{place}: needs name, sha256, scopes and created_at: {error}") from None
    unknown = [scope for scope in key.scopes if scope not in SCOPES]
    if unknown:
        raise DataError(f"{place}.scopes: {unknown[0]!r} is none of {', '.join(SCOPES)}")
    return key


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
