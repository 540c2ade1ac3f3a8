"""The version of the code, as tags of MLflow."""

import getpass
import os
import subprocess
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def code_tags(root: Path = ROOT) -> dict[str, str]:
    """Version of the package, user, and the commit of the checkout in `root`, where it is one."""
    tags = {"mlflow.source.name": "recsys", "mlflow.source.type": "LOCAL", "recsys.version": _version()}
    try:
        tags["mlflow.user"] = getpass.getuser()
    except (OSError, KeyError):  # a user without a name, as in a container
        tags["mlflow.user"] = str(os.getuid())
    commit = _git(root, "rev-parse", "HEAD")
    if commit:
        tags["mlflow.source.git.commit"] = commit
        is_changed = bool(_git(root, "status", "--porcelain", "--untracked-files=no"))
        tags["recsys.uncommitted_changes"] = str(is_changed).lower()
    return tags


def _version() -> str:
    try:
        return metadata.version("recsys")
    except metadata.PackageNotFoundError:
        return "not installed"


def _git(root: Path, *arguments: str) -> str | None:
    """The output of git in `root`; None if `root` is not the top of a checkout, or git fails."""
    if not (root / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
