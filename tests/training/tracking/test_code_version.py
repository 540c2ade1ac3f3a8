"""The tags that say which code made a run: with a checkout and without."""

import subprocess
from importlib import metadata
from pathlib import Path

import pytest

from training.tracking.code_version import code_tags

GIT = ("git", "-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")


def test_the_commit_of_a_checkout_and_whether_it_was_changed(tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text("a = 1\n")
    for arguments in (("init", "-q"), ("add", "."), ("commit", "-q", "-m", "first")):
        subprocess.run([*GIT, *arguments], cwd=tmp_path, check=True)
    commit = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=tmp_path, text=True).strip()
    tags = code_tags(tmp_path)
    assert tags["mlflow.source.git.commit"] == commit
    assert tags["recsys.uncommitted_changes"] == "false"
    (tmp_path / "code.py").write_text("a = 2\n")
    assert code_tags(tmp_path)["recsys.uncommitted_changes"] == "true"


def test_an_installed_package_has_its_version_alone(tmp_path: Path) -> None:
    tags = code_tags(tmp_path)
    assert "mlflow.source.git.commit" not in tags
    assert tags["recsys.version"] == metadata.version("recsys")
    assert tags["mlflow.user"]


def test_without_git_there_is_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".git").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "mlflow.source.git.commit" not in code_tags(tmp_path)
