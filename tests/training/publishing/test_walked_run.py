"""A run of `recsys run` passes the gate; a champion of older data is evaluated anew on the run's test."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from walk_parts import Walk

from recsys.bundle import Bundle, Store, Version, now, write_bundle
from recsys.config import PublishConfig
from training.evaluation import MODEL
from training.publishing import Published, publish
from training.run_directory import RunDirectory

CONFIG = PublishConfig(latency_users=5, max_latency_ratio=50.0, min_users=2, max_loss=1.0)


def test_a_run_as_it_comes_out_of_the_walk_passes(walk: Walk, tmp_path: Path) -> None:
    published = publish(RunDirectory.open(walk.run), tmp_path / "store", CONFIG)
    assert published.failed == []
    assert "clean: main, test, refit" in [bar.found for bar in published.bars]
    served = Bundle.open(Store.open(tmp_path / "store").bundle_path(published.version.version))
    assert served.version == Bundle.open(walk.bundle).version
    assert published.version.newest_event is not None


def beside_a_champion(
    walk: Walk, walked_run: Any, root: Path, *, name: str | None = None, newest_event: int | None
) -> Published:
    """The walk's run is published where an older state of the same data made the champion."""
    bundle = Bundle.open(walk.bundle)
    dataset = {"name": name or bundle.manifest.dataset.name, "fingerprint": "an older state"}

    def fill(directory: Path) -> dict[str, Any]:
        shutil.copytree(bundle.path, directory, dirs_exist_ok=True)
        (directory / "manifest.json").unlink()
        return {each: getattr(bundle.manifest, each) for each in KEPT} | {"dataset": dataset}

    def record(opened: Bundle) -> Version:
        return Version(
            version=opened.version,
            published_at=now(),
            run="before",
            dataset=opened.manifest.dataset.name,
            dataset_fingerprint=opened.manifest.dataset.fingerprint,
            created_at=opened.manifest.created_at,
            size_bytes=1,
            newest_event=newest_event,
        )

    older = write_bundle(root / "older", fill)
    store = Store.create(root / "store")
    with store.writing():
        store.point_to(store.add(older.path, record).version, action="publish")
    run = RunDirectory.open(walk.run)
    return publish(run, root / "store", CONFIG, open_run=lambda: walked_run)


KEPT = (
    "config", "refit", "refit_description", "metrics", "sequence_schema", "modalities", "encoders", "graphs",
    "recommender", "parity",
)  # fmt: skip


def test_a_champion_of_older_data_is_compared_on_the_later_events(
    walk: Walk, walked_run: Any, tmp_path: Path
) -> None:
    published = beside_a_champion(walk, walked_run, tmp_path, newest_event=0)
    warm = json.loads((walk.run / "metrics.json").read_text())["views"]["warm"]
    bar = next(bar for bar in published.bars if bar.name == "ndcg@10, warm")
    assert bar.found.startswith(f"{warm['models'][MODEL]['ndcg@10']['value']:.4f} against ")
    assert bar.found.endswith(f"{warm['num_users']} users")
    assert published.promoted


@pytest.mark.parametrize(
    ("name", "newest_event", "reason"),
    [
        (None, 4_000_000_000_000_000, "every test event of this run is older than 2096-10-02T07:06:40"),
        (None, None, "which events it has learned is unknown"),
        ("films", 0, "the champion is of the dataset 'films', this bundle of"),
    ],
)
def test_a_champion_that_cannot_be_compared(
    walk: Walk, walked_run: Any, tmp_path: Path, name: str | None, newest_event: int | None, reason: str
) -> None:
    published = beside_a_champion(walk, walked_run, tmp_path, name=name, newest_event=newest_event)
    assert [bar.name for bar in published.failed] == ["quality"]
    assert reason in published.failed[0].found
    assert not published.promoted
