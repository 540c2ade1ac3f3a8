"""scripts/project finds the Python that has the requirements, and says what to do where there is none."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# Says who it is instead of running a command; has every requirement; installs as the test wants.
FAKE_PYTHON = """#!/usr/bin/env bash
case "$1 ${{2:-}}" in
    "- ") exit 0 ;;
    "-m pip") echo "pip $*" >> {log}; exit {code} ;;
    *) echo "{name}: $*" ;;
esac
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A checkout with the script and the pinned requirements alone."""
    root = tmp_path / "a project"
    (root / "scripts").mkdir(parents=True)
    (root / "requirements").mkdir()
    shutil.copy(ROOT / "scripts" / "project", root / "scripts")
    for name in ("cpu.txt", "gpu.txt"):
        (root / "requirements" / name).write_text(f"{name}==1\n")
    return root


def fake_python(environment: Path, name: str, code: int = 0) -> Path:
    """An environment with a Python in it; returns the file in which pip's calls are written down."""
    (environment / "bin").mkdir(parents=True, exist_ok=True)
    log = environment / "pip.log"
    python = environment / "bin" / "python"
    python.write_text(FAKE_PYTHON.format(name=name, log=log.as_posix(), code=code))
    python.chmod(0o755)
    return log


def run(project: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"} | variables
    command = ["bash", str(project / "scripts" / "project"), "check", "a dataset", "--cache", ""]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_the_environment_beside_mlproject(project: Path) -> None:
    fake_python(project / ".venv", "beside")
    done = run(project)
    assert done.stdout == "beside: -m recsys.cli.project check a dataset --cache \n"


def test_an_environment_that_mlflow_made_gets_the_requirements_once(project: Path, tmp_path: Path) -> None:
    fake_python(project / ".venv", "beside")
    made = tmp_path / "envs" / "mlflow-0123"
    log = fake_python(made, "made")
    for _ in range(2):
        assert run(project, VIRTUAL_ENV=str(made)).stdout.startswith("made: -m recsys.cli.project check")
    requirements, package = log.read_text().splitlines()
    assert "--no-deps" in requirements
    assert requirements.endswith("requirements/cpu.txt")
    assert package.endswith(f"--editable {project}")
    assert run(project, VIRTUAL_ENV=str(made), RECSYS_EXTRA="gpu").returncode == 0
    (project / "requirements" / "gpu.txt").write_text("another==2\n")
    assert run(project, VIRTUAL_ENV=str(made), RECSYS_EXTRA="gpu").returncode == 0
    ends = [line.rpartition("/")[2] for line in log.read_text().splitlines() if "-r " in line]
    assert ends == ["cpu.txt", "gpu.txt", "gpu.txt"], "changed requirements are installed again"


def test_an_installation_that_fails_says_what_to_do(project: Path, tmp_path: Path) -> None:
    made = tmp_path / "mlflow-0123"
    fake_python(made, "made", code=1)
    done = run(project, VIRTUAL_ENV=str(made))
    assert done.returncode == 1
    assert "could not be installed" in done.stderr
    assert "make setup && mlflow run . --env-manager local" in done.stderr
    assert done.stdout == ""


def test_without_any_python_that_fits(project: Path, tmp_path: Path) -> None:
    """The Python of the tests is an ancestor of the script, so it is made to miss every package."""
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util\nimportlib.util.find_spec = lambda *_: None\n"
    )
    done = run(project, PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert "no Python here has the requirements of recsys" in done.stderr
    assert "make setup" in done.stderr


def test_the_python_that_runs_mlflow(project: Path, tmp_path: Path) -> None:
    """With nothing on the PATH that fits: the Python of the tests runs the script, as mlflow's would."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("bash", "dirname", "tr", "head", "awk", "readlink", "cat"):
        found = shutil.which(tool)
        assert found is not None
        (tools / tool).symlink_to(found)
    (project / "recsys" / "cli").mkdir(parents=True)
    (project / "recsys" / "__init__.py").touch()
    (project / "recsys" / "cli" / "__init__.py").touch()
    (project / "recsys" / "cli" / "project.py").write_text("import sys\nprint(sys.prefix, sys.argv[1:])\n")
    done = run(project, PATH=str(tools), PYTHONPATH="")
    assert done.stdout == f"{sys.prefix} {['check', 'a dataset', '--cache', '']}\n", done.stderr
