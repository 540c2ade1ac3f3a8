"""The importers by the name of their layout, for the command line."""

from collections.abc import Callable, Mapping
from inspect import signature
from pathlib import Path
from typing import Any

from features.importers.amazon import import_amazon
from features.importers.folder import ImportReport
from features.importers.hm import import_hm
from features.importers.movielens import import_movielens
from features.importers.photos import import_photos
from recsys.errors import ConfigError, did_you_mean
from recsys.progress import Progress, silent

LAYOUTS: Mapping[str, Callable[..., ImportReport]] = {
    "movielens": import_movielens,
    "amazon-2023": import_amazon,
    "hm": import_hm,
    "photos": import_photos,
}


def import_layout(
    layout: str, source: Path, out: Path, options: Mapping[str, Any], progress: Progress = silent
) -> ImportReport:
    """Run the importer of `layout`. For an option that is None the importer uses its default.

    Raises `ConfigError` where `layout` is unknown or its importer does not have one of the options.
    """
    if layout not in LAYOUTS:
        raise ConfigError(f"unknown layout {layout!r}; {did_you_mean(layout, LAYOUTS)}")
    importer = LAYOUTS[layout]
    given = {name: value for name, value in options.items() if value is not None}
    accepted = [name for name in options if name in signature(importer).parameters]
    for name in given:
        if name not in accepted:
            known = ", ".join(map(_flag, accepted)) or "no option"
            raise ConfigError(f"{_flag(name)} does not fit the layout {layout!r}, which has {known}")
    return importer(source, out, progress=progress, **given)


def _flag(option: str) -> str:
    return "--" + option.replace("_", "-")
