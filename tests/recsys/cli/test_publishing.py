"""`versions`, `rollback`, `prune`, and the commands that take a store in place of a bundle."""

import shutil
from pathlib import Path

import polars as pl
import pytest
from bundle_parts import ITEMS, write_histories, write_tiny_bundle
from polars.testing import assert_frame_equal
from publish_parts import make_run
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
    moves = answer.out.partition("Last moves, of 2")[2]
    assert moves.index(second) < moves.index(first)


def test_a_roll_back_is_one_command(store: tuple[Path, list[str]]) -> None:
    root, (first, second, _) = store
    answer = recsys("rollback", root, "--reason", "clicks fell")
    assert answer.out.strip() == f"{root} serves version {first}; the previous one is now {second}."
    move = Store.open(root).pointer.moves[-1]
    assert (move.action, move.reason) == ("rollback", "clicks fell")
    assert "has no version 'x'" in refused("rollback", root, "--to", "x")


def test_a_damaged_pointer_hides_no_version_and_is_written_anew(store: tuple[Path, list[str]]) -> None:
    root, (first, second, third) = store
    (root / "pointer.json").write_text("")
    answer = recsys("versions", root)
    assert answer.code == 1
    assert all(version in answer.out for version in (first, second, third))
    for message in (answer.err, refused("rollback", root), refused("prune", root), refused("show", root)):
        assert "pointer.json is damaged (Invalid JSON: EOF" in message
        assert f"write a new one with: recsys rollback '{root}' --to VERSION" in message
    repaired = recsys("rollback", root, "--to", first)
    assert repaired.code == 0
    assert f"{root} serves version {first}; there is no previous one." in repaired.out
    assert "written anew: the history of its moves is lost" in repaired.out + repaired.err
    assert "current" in recsys("versions", root).out


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


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run, and one of a worse model."""
    root = tmp_path_factory.mktemp("runs")
    return make_run(root / "usual").path, make_run(root / "worse [x]", skill=0.2).path


BUDGETS = ("--set", "publish.max_latency_ratio=50", "--set", "publish.latency_users=5", "--registry", "none")


def test_publish_prints_the_gate_and_serves_what_passes(runs: tuple[Path, Path], tmp_path: Path) -> None:
    answer = recsys("publish", runs[0], "--store", tmp_path / "store", *BUDGETS)
    assert answer.code == 0, answer.err
    version = Bundle.open(runs[0] / "bundle").version
    assert answer.out.splitlines()[0] == f"version {version} is stored in {tmp_path / 'store'}"
    assert "audit of leaks" in answer.out
    assert answer.out.endswith(f"serves version {version} now.\n")
    again = recsys("publish", runs[0], "--store", tmp_path / "store", *BUDGETS)
    assert again.out.endswith(f"serves version {version}, as before.\n")


def test_publish_names_the_bars_that_failed_and_exits_with_an_error(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    store = tmp_path / "store"
    recsys("publish", runs[0], "--store", store, *BUDGETS)
    message = refused("publish", runs[1], "--store", store, *BUDGETS)
    first, second = (Bundle.open(run / "bundle").version for run in runs)
    lines = message.splitlines()
    assert f"version {second} does not pass; {store} still serves {first}" in lines[0]
    assert lines[1].startswith("  - ndcg@10, warm: 0.")
    assert "against 0." in lines[1]
    assert "; required: the upper end of the interval at least -0.0000; missed by 0." in lines[1]
    assert "--force needs the reason" in refused("publish", runs[1], "--store", store, "--force", " ")
    forced = recsys("publish", runs[1], "--store", store, *BUDGETS, "--force", "a recall")
    assert forced.code == 0
    assert f"serves version {second} now, by force although 2 bars failed; back to {first}" in forced.out
    assert recsys("rollback", store).code == 0
    assert Store.open(store).pointer.current == first


def test_an_error_after_the_version_was_stored_says_what_is_served(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    store, damaged = tmp_path / "store", tmp_path / "run"
    shutil.copytree(runs[0], damaged)
    (damaged / "predictions.parquet").unlink()
    version = Bundle.open(damaged / "bundle").version
    nothing = refused("publish", damaged, "--store", store, *BUDGETS)
    assert f"version {version} is stored, not published; {store} serves nothing yet" in nothing
    served = Bundle.open(runs[1] / "bundle").version
    recsys("publish", runs[1], "--store", store, *BUDGETS)
    message = refused("publish", damaged, "--store", store, *BUDGETS)
    assert "predictions.parquet" in message
    assert f"version {version} is stored, not published; {store} still serves {served}" in message


def test_a_damaged_pointer_is_found_before_anything_is_stored(
    runs: tuple[Path, Path], tmp_path: Path
) -> None:
    store = tmp_path / "store"
    recsys("publish", runs[0], "--store", store, *BUDGETS)
    (store / "pointer.json").write_text("")
    answer = recsys("publish", runs[1], "--store", store, *BUDGETS)
    assert answer.code == 1
    assert "stored" not in answer.out
    assert f"recsys rollback {store} --to VERSION" in answer.err
    assert len(Store.open(store).versions()) == 1


def test_what_cannot_be_published(tmp_path: Path, runs: tuple[Path, Path]) -> None:
    assert "contains no run" in refused("publish", tmp_path, "--store", tmp_path / "store")
    answer = refused("publish", runs[0], "--store", runs[1], *BUDGETS)
    assert "is not empty and no store; name another --store" in answer
    unknown = refused("publish", runs[0], "--store", tmp_path / "s", "--set", 'publish.slices=["wram"]')
    assert "unknown view or slice 'wram'; did you mean 'warm'?" in unknown
