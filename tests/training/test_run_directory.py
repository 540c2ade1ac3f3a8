"""Run directories: creation, refused directories, moving, and the lock."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fitting_parts import config

from recsys.config import Config, load_config
from recsys.errors import ConfigError, LockedError
from training.run_directory import RunDirectory


def create(out: Path, dataset: Path, settings: Config | None = None) -> RunDirectory:
    dataset.mkdir(parents=True, exist_ok=True)
    return RunDirectory.create(out, dataset, settings or config(), cache_dir=out.parent / "cache")


class TestCreate:
    def test_writes_down_what_was_asked_for(self, tmp_path: Path) -> None:
        settings = config(train={"epochs": 7})
        create(tmp_path / "a" / "run", tmp_path / "shop", settings)
        opened = RunDirectory.open(tmp_path / "a" / "run")
        assert opened.config() == settings == load_config(tmp_path / "a" / "run" / "config.toml")
        assert opened.dataset_path() == tmp_path / "shop"
        assert opened.cache_dir() == tmp_path / "a" / "cache"

    def test_the_same_again_goes_on(self, tmp_path: Path) -> None:
        create(tmp_path / "run", tmp_path / "shop").metrics.write_text("{}")
        assert create(tmp_path / "run", tmp_path / "shop").metrics.exists()

    def test_another_way_to_the_same_dataset_is_the_same(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        create(tmp_path / "run", tmp_path / "shop")
        before = (tmp_path / "run" / "dataset.json").read_text()
        monkeypatch.chdir(tmp_path)
        create(tmp_path / "run", Path("shop"))
        assert (tmp_path / "run" / "dataset.json").read_text() == before

    def test_another_configuration_is_refused(self, tmp_path: Path) -> None:
        create(tmp_path / "run", tmp_path / "shop")
        with pytest.raises(ConfigError, match=r"with other settings than train.seed = 1;") as caught:
            create(tmp_path / "run", tmp_path / "shop", config(train={"seed": 1}))
        assert str(tmp_path / "run") in str(caught.value)
        assert load_config(tmp_path / "run" / "config.toml") == config(), "the old one is still there"

    def test_settings_that_no_result_depends_on_may_change(self, tmp_path: Path) -> None:
        create(tmp_path / "run", tmp_path / "shop")
        changed = config(track={"enabled": True, "uri": "http://there"}, evaluate={"knockouts": False})
        assert create(tmp_path / "run", tmp_path / "shop", changed).config() == changed

    def test_one_command_may_change_them_too(self, tmp_path: Path) -> None:
        directory = create(tmp_path / "run", tmp_path / "shop", config(track={"enabled": True}))
        assert not directory.config(["track.enabled=false"]).track.enabled
        assert directory.config().track.enabled
        with pytest.raises(ConfigError, match=r"^train\.epochs = 9 cannot be set for .*with another value"):
            directory.config(["train.epochs=9"])

    def test_another_dataset_is_refused(self, tmp_path: Path) -> None:
        create(tmp_path / "run", tmp_path / "shop")
        with pytest.raises(ConfigError, match=r"shop with other settings than dataset .*other;"):
            create(tmp_path / "run", tmp_path / "other")

    def test_a_folder_of_other_things_is_refused_and_left_alone(self, tmp_path: Path) -> None:
        (tmp_path / "thesis.txt").write_text("years of work")
        with pytest.raises(ConfigError, match="not empty and contains no run"):
            RunDirectory.create(tmp_path, tmp_path / "shop", config(), cache_dir=tmp_path / "cache")
        assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]

    def test_a_file_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "run").write_text("")
        with pytest.raises(ConfigError, match="is a file; name a directory"):
            create(tmp_path / "run", tmp_path / "shop")

    def test_an_empty_folder_is_taken(self, tmp_path: Path) -> None:
        (tmp_path / "run").mkdir()
        assert create(tmp_path / "run", tmp_path / "shop").dataset_file.exists()


class TestOpen:
    def test_what_is_no_run_says_how_to_make_one(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="recsys train DATASET --out"):
            RunDirectory.open(tmp_path / "nothing")

    def test_a_run_of_an_earlier_version_says_what_to_do(self, tmp_path: Path) -> None:
        earlier = {"path": "/data/shop", "cache": "/data/cache"}
        (tmp_path / "dataset.json").write_text(json.dumps(earlier))
        with pytest.raises(ConfigError, match=r"format 1, not 2.*Train again: recsys run DATASET --out"):
            RunDirectory.open(tmp_path)
        with pytest.raises(ConfigError, match="format 1"):
            create(tmp_path, tmp_path.parent / "shop")


class TestMoved:
    def test_nothing_names_an_absolute_path(self, tmp_path: Path) -> None:
        directory = create(tmp_path / "run", tmp_path / "shop")
        for path in (directory.config_file, directory.dataset_file):
            assert str(tmp_path) not in path.read_text()

    def test_a_run_that_moves_with_its_dataset_finds_it(self, tmp_path: Path) -> None:
        create(tmp_path / "here" / "run", tmp_path / "here" / "shop")
        shutil.move(tmp_path / "here", tmp_path / "there")
        moved = RunDirectory.open(tmp_path / "there" / "run")
        assert moved.dataset_path() == tmp_path / "there" / "shop"
        assert moved.cache_dir() == tmp_path / "there" / "cache"

    def test_a_run_that_moves_alone_asks_for_its_dataset(self, tmp_path: Path) -> None:
        create(tmp_path / "run", tmp_path / "shop").check_dataset(tmp_path / "shop", "f00d" * 16)
        shutil.move(tmp_path / "run", tmp_path / "far" / "away")
        moved = RunDirectory.open(tmp_path / "far" / "away")
        with pytest.raises(ConfigError, match=r"'shop' .* with fingerprint f00df00df00d: --dataset FOLDER"):
            moved.dataset_path()
        assert moved.cache_dir() is None
        moved.check_dataset(tmp_path / "shop", "f00d" * 16)
        assert moved.dataset_path() == tmp_path / "shop", "the place is remembered"

    def test_another_dataset_is_known_by_its_fingerprint(self, tmp_path: Path) -> None:
        directory = create(tmp_path / "run", tmp_path / "shop")
        directory.check_dataset(tmp_path / "shop", "a" * 64)
        create(tmp_path / "run", tmp_path / "other")  # which is not read yet, so it may be a copy
        with pytest.raises(
            ConfigError, match=r"fingerprint aaaaaaaaaaaa; .*other has the fingerprint bbbb"
        ) as caught:
            directory.check_dataset(tmp_path / "other", "b" * 64)
        assert f"recsys run {tmp_path / 'other'} --out NEW_DIRECTORY" in str(caught.value)
        assert "another --out" not in str(caught.value), "report, evaluate and export have no --out"
        assert directory.dataset_path() == tmp_path / "shop"


HOLD = """
import sys, time
from pathlib import Path
from training.run_directory import RunDirectory
with RunDirectory.open(Path(sys.argv[1])).locked():
    print("held", flush=True)
    time.sleep(60)
"""


class TestLock:
    def test_a_second_process_gets_an_error_with_the_holder(self, tmp_path: Path) -> None:
        directory = create(tmp_path / "run", tmp_path / "shop")
        with subprocess.Popen(
            [sys.executable, "-c", HOLD, str(directory.path)], stdout=subprocess.PIPE, text=True
        ) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == "held\n"
            with (
                pytest.raises(LockedError, match=rf"in use by process {other.pid} since 20.*another --out"),
                directory.locked(),
            ):
                pass
            with pytest.raises(LockedError, match=f"in use by process {other.pid}"):
                create(tmp_path / "run", tmp_path / "shop")
            other.kill()
            other.wait()
        with directory.locked():  # the lock of a process that died is free
            assert directory.path.joinpath("lock").read_text().startswith(f"process {os.getpid()} ")

    def test_steps_inside_a_step_share_the_lock(self, tmp_path: Path) -> None:
        directory = create(tmp_path / "run", tmp_path / "shop")
        with directory.locked():
            with directory.locked():
                pass
            other = RunDirectory.open(tmp_path / "run")
            with pytest.raises(LockedError, match="in use by"), other.locked():
                pass
        with other.locked():
            pass

    def test_a_lock_alone_is_a_run_that_was_not_written_yet(self, tmp_path: Path) -> None:
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "lock").write_text("")
        assert create(tmp_path / "run", tmp_path / "shop").dataset_file.exists()

    def test_an_error_frees_it(self, tmp_path: Path) -> None:
        directory = create(tmp_path / "run", tmp_path / "shop")
        with pytest.raises(KeyboardInterrupt), directory.locked():
            raise KeyboardInterrupt
        with RunDirectory.open(tmp_path / "run").locked():
            pass


def test_time_of_work_that_was_done_before_is_kept(tmp_path: Path) -> None:
    create(tmp_path / "run", tmp_path / "shop").timings.write_text(json.dumps({"train main": 600.0}))
    directory = RunDirectory.open(tmp_path / "run")
    with directory.timed("train main"):
        pass
    with directory.timed("export"):
        time.sleep(0.01)
    found = directory.seconds()
    assert found["train main"] == 600.0
    assert 0.01 <= found["export"] < 60
    assert directory.seconds_now.keys() == {"train main", "export"}
    assert directory.seconds_now["train main"] < 60


class TestKilled:
    """What a process killed at any moment leaves is gone on with, or removed by the next process."""

    def test_at_the_start(self, tmp_path: Path) -> None:
        """Only the lock and half of dataset.json; then dataset.json without a configuration."""
        run = tmp_path / "run"
        run.mkdir()
        (run / "lock").write_text("process 1", "utf-8")
        (run / "dataset.json.tmp").write_text("{", "utf-8")
        create(run, tmp_path / "shop")
        (run / "config.toml").unlink()
        with pytest.raises(ConfigError, match="killed at its start"):
            RunDirectory.open(run)
        assert create(run, tmp_path / "shop").config() == config()

    def test_unfinished_files_are_removed_by_the_next_owner_of_the_lock(self, tmp_path: Path) -> None:
        directory = create(tmp_path / "run", tmp_path / "shop")
        directory.checkpoints.mkdir()
        half = [directory.path / "metrics.json.tmp", directory.checkpoints / "main.pt.tmp"]
        for path in half:
            path.write_text("half", "utf-8")
        (directory.path / ".bundle.old").mkdir()
        (directory.path / ".bundle.old" / "manifest.json").write_text("{}", "utf-8")
        (directory.path / ".bundle.tmp").mkdir()
        again = RunDirectory.open(directory.path)
        with again.locked():
            assert not any(path.exists() for path in half)
        assert (directory.bundle / "manifest.json").exists(), "the former bundle is back"
        assert not list(directory.path.glob(".bundle*"))
