"""`versions`, `rollback`, `prune`, and the commands that take a store in place of a bundle."""

from pathlib import Path

import polars as pl
import pytest
from bundle_parts import ITEMS, write_histories, write_tiny_bundle
from polars.testing import assert_frame_equal
from walk_parts import recsys, refused

from recsys.bundle import Bundle, Store, Version, now
from serving.engine import Engine


def add(root: Path, bundle: Path, *beside: Path, failed: tuple[str, ...] = ()) -> str:
    store = Store.create(root)

    def record(opened: Bundle) -> Version:
        return Version(
            version=opened.version,
            published_at=now(),
            run="shop/run",
            dataset="zoo",
            dataset_fingerprint="f00d" * 4,
            created_at=opened.manifest.created_at,
            size_bytes=2_500_000,
            metrics={"warm ndcg@10": 0.25},
            failed=failed,
        )

    with store.writing():
        version = store.add(bundle, record, {path.name: path for path in beside}).version
        if not failed:
            store.point_to(version, action="publish")
    return version


@pytest.fixture
def store(tmp_path: Path) -> tuple[Path, list[str]]:
    """A store of three versions, the last of which did not pass."""
    root = tmp_path / "store [b]"
    bundles = [write_tiny_bundle(tmp_path / f"bundle{seed}", seed=seed).path for seed in range(3)]
    failed = [(), (), ("latency",)]
    return root, [add(root, bundle, failed=bars) for bundle, bars in zip(bundles, failed, strict=True)]


def test_versions_are_listed_with_their_place_and_gate(store: tuple[Path, list[str]]) -> None:
    root, (first, second, third) = store
    answer = recsys("versions", root)
    assert answer.code == 0
    lines = {line[2:14]: line for line in answer.out.splitlines()}
    assert "previous" in lines[first]
    assert "current" in lines[second]
    assert "failed: latency" in lines[third].replace("│", "")
    assert "current" not in lines[third]
    assert "2.5" in lines[first]
    assert "warm ndcg@10 0.2500" in answer.out


def test_a_roll_back_is_one_command(store: tuple[Path, list[str]]) -> None:
    root, (first, second, _) = store
    answer = recsys("rollback", root, "--reason", "clicks fell")
    assert answer.out.strip() == f"{root} serves version {first}; the previous one is now {second}."
    move = Store.open(root).pointer.moves[-1]
    assert (move.action, move.reason) == ("rollback", "clicks fell")
    assert "has no version 'x'" in refused("rollback", root, "--to", "x")


def test_prune_says_what_it_removed(store: tuple[Path, list[str]]) -> None:
    root, (_, _, third) = store
    answer = recsys("prune", root, "--keep", 0)
    assert answer.out.startswith(f"Removed 1 versions ({third}) and 0.0 MB; 2 left.")
    assert "--keep -1: at least 0" in refused("prune", root, "--keep", -1)


def test_a_folder_that_is_no_store(tmp_path: Path) -> None:
    for command in ("versions", "rollback", "prune"):
        assert "is no store: store.json is missing" in refused(command, tmp_path)


def test_recommend_takes_a_store_and_keeps_the_state_in_it(tmp_path: Path) -> None:
    """The current version answers; an erasure holds for the versions that come later."""
    histories = tmp_path / "histories.parquet"
    write_histories(histories, {"ann": ITEMS[:1], "bob": ITEMS[1:2]})
    bundles = [write_tiny_bundle(tmp_path / f"bundle{seed}", seed=seed).path for seed in range(2)]
    root, out = tmp_path / "store", tmp_path / "out.parquet"
    add(root, bundles[0], histories)
    assert recsys("recommend", root, "--out", out).code == 0
    assert set(pl.read_parquet(out, glob=False)["user_id"]) == {"ann", "bob"}
    assert (root / "state.sqlite").exists()
    with Engine.open(Store.open(root).bundle_path(Store.open(root).pointer.current or "")) as engine:
        assert engine.state.delete_user("bob")
    add(root, bundles[1], histories)
    assert recsys("recommend", root, "--out", out).code == 0
    lists = pl.read_parquet(out, glob=False)
    assert set(lists["user_id"]) == {"ann"}
    direct = tmp_path / "direct.parquet"
    assert recsys("recommend", bundles[1], "--histories", histories, "--out", direct).code == 0
    assert_frame_equal(lists, pl.read_parquet(direct, glob=False).filter(pl.col("user_id") == "ann"))
