"""Candidate sources on disk: the folder `sources/` of a bundle.

sources.json    name, kind and settings of each source, in the order in which the ranker reads them
<name>/         the arrays of a source, or its index
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recsys.errors import BundleError
from recsys.retrieval.candidate_sources.contract import CandidateSource
from recsys.retrieval.candidate_sources.factors import FactorSource
from recsys.retrieval.candidate_sources.item_neighbors import ItemNeighborSource
from recsys.retrieval.candidate_sources.popularity import PopularitySource
from recsys.retrieval.candidate_sources.recent import RecentSource

SOURCES_FILE = "sources.json"
Kind = type[ItemNeighborSource] | type[FactorSource] | type[PopularitySource] | type[RecentSource]
KINDS: dict[str, Kind] = {
    kind.kind: kind for kind in (ItemNeighborSource, FactorSource, PopularitySource, RecentSource)
}


def save_sources(sources: Sequence[CandidateSource], directory: Path) -> None:
    """Write the sources into `directory`, which is made."""
    directory.mkdir(parents=True)
    entries = []
    for source in sources:
        folder = directory / source.name
        folder.mkdir()
        entries.append({"name": source.name, "kind": source.kind, "settings": source.save(folder)})
    (directory / SOURCES_FILE).write_text(json.dumps(entries, indent=2) + "\n", "utf-8")


def load_sources(directory: Path) -> tuple[CandidateSource, ...]:
    """The sources that `save_sources` wrote; raises `BundleError` where the folder holds anything else."""
    try:
        entries = json.loads((directory / SOURCES_FILE).read_text("utf-8"))
        return tuple(_load(directory, entry) for entry in entries)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{directory}: the candidate sources cannot be read: {error}") from None


def _load(directory: Path, entry: dict[str, Any]) -> CandidateSource:
    name, settings = entry["name"], entry["settings"]
    return KINDS[entry["kind"]].load(directory / name, name=name, **settings)
