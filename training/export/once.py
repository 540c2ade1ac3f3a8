"""An export that is not repeated where its bundle is there already."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import recsys
from features.dataset import Dataset
from recsys.bundle import Bundle
from recsys.config import Config
from recsys.errors import BundleError
from recsys.files import replace_text
from recsys.history import History
from recsys.progress import Progress, silent
from training.export.bundle import Provenance, export_bundle
from training.export.search_part import Searchable
from training.fitting import Fitted


def export_once(
    target: Path,
    fitted: Fitted,
    dataset: Dataset,
    config: Config,
    provenance: Provenance,
    check_on: Sequence[History],
    *,
    reviewers: Sequence[str | None] | None = None,
    record: Path,
    searchable: Searchable | None = None,
    progress: Progress = silent,
) -> Bundle:
    """The bundle in `target` if it was exported from the same inputs, else a new one of `export_bundle`.

    `record` is a JSON file with the key of the inputs and the version of the bundle. A bundle that is
    damaged or of another version is exported again.
    """
    key = export_key(fitted, config, provenance, reviewers)
    if (bundle := _finished(target, record, key)) is not None:
        return bundle
    record.unlink(missing_ok=True)
    bundle = export_bundle(
        target,
        fitted,
        dataset,
        config,
        provenance,
        check_on,
        reviewers=reviewers,
        searchable=searchable,
        progress=progress,
    )
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
