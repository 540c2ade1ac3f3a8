"""An export that is not repeated where its bundle is there already."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import recsys
from recsys.bundle import Bundle
from recsys.config import Config
from recsys.errors import BundleError
from recsys.files import replace_text
from training.export.bundle import Provenance
from training.fitting import Fitted


def export_once(target: Path, record: Path, key: str, export: Callable[[], Bundle]) -> Bundle:
    """The bundle in `target` if it was exported with the same `key`, else a new one of `export`.

    `record` is a JSON file with the key and the version of the bundle. A bundle that is damaged or of another
    version is exported again.
    """
    if (bundle := _finished(target, record, key)) is not None:
        return bundle
    record.unlink(missing_ok=True)
    bundle = export()
    replace_text(record, json.dumps({"key": key, "version": bundle.version}, indent=2) + "\n")
    return bundle


def export_key(
    fitted: Fitted, config: Config, provenance: Provenance, reviewers: Sequence[str | None] | None
) -> str:
    """A hexadecimal SHA-256 of everything that a bundle is made of.

    Settings of tracking and of publication are not part of a bundle's contents.
    """
    settings = config.model_dump(mode="json", exclude={"track", "publish"})
    read = (recsys.__version__, fitted.digest(), settings, provenance, reviewers)
    return hashlib.sha256(repr(read).encode()).hexdigest()


def _finished(target: Path, record: Path, key: str) -> Bundle | None:
    try:
        known = json.loads(record.read_text("utf-8"))
        bundle = Bundle.open(target)
    except (OSError, ValueError, BundleError):
        return None
    return bundle if known == {"key": key, "version": bundle.version} else None
