"""Writing a bundle: to a temporary directory beside the target, checked, then renamed.

write_bundle(run / "bundle", fill)      fill(directory) writes the files, returns the manifest's values
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

import recsys
from recsys.bundle.load import Bundle
from recsys.bundle.manifest import FORMAT_VERSION, MANIFEST, Manifest, problems_of
from recsys.checksums import files_below, sha256_of
from recsys.errors import BundleError
from recsys.files import replacing_directory


def write_bundle(target: Path, fill: Callable[[Path], Mapping[str, Any]]) -> Bundle:
    """Write and check a bundle, and rename it to `target`; a former bundle there is replaced at the end.

    `fill` gets an empty directory beside `target`, writes the files into it and returns the manifest's
    values without format_version, recsys_version, created_at and files. If `fill` fails, or its files are
    not a bundle (`BundleError`), `target` is not changed.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing_directory(target) as draft:
        _write_manifest(draft, fill(draft))
        Bundle.open(draft)
    return Bundle.open(target, verify=False)


def _write_manifest(directory: Path, values: Mapping[str, Any]) -> None:
    files = {name: sha256_of(directory / name) for name in files_below(directory)}
    described = dict(values) | {
        "format_version": FORMAT_VERSION,
        "recsys_version": recsys.__version__,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "files": files,
    }
    try:
        manifest = Manifest.model_validate(described)
    except ValidationError as error:
        raise BundleError(f"the manifest is not valid: {problems_of(error)}") from None
    (directory / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", "utf-8")
