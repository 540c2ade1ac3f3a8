"""Fixtures for the tests of several files, and the distribution of tests over workers."""

import gc
import os
import sys
from collections.abc import Generator, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from dataset_parts import ODD
from walk_parts import Walk, every_ranker_helps, take_walk

ROOT = Path(__file__).resolve().parents[1]
WALKERS = (
    "tests/test_walk.py",
    "tests/test_tracked_walk.py",
    "tests/test_served_lists.py",
    "tests/benchmarks/gpu/test_pieces.py",
    "tests/training/backtest/test_backtest.py",
    "tests/training/export/test_export.py",
    "tests/training/export/test_search_part.py",
    "tests/training/report/test_page.py",
    "tests/training/report/test_plots.py",
    "tests/training/report/test_browser.py",
    "tests/training/publishing/test_walked_run.py",
)
# They parse every file of the project; a file is parsed once in a process.
PARSERS = ("tests/test_architecture.py", "tests/test_structure.py")


@pytest.fixture(scope="session")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Walk:
    """A tiny shop, walked from raw tables to a bundle. Nothing may be changed in it.

    Dataset, cache and run lie in a folder whose name has brackets, blanks, a star, a question mark and
    characters beyond ASCII. The walk takes half a minute, so the files of its tests are listed in `WALKERS`.
    """
    root = tmp_path_factory.mktemp("walk") / ODD
    root.mkdir()
    return take_walk(root)


@pytest.fixture(scope="session")
def walked_run(walk: Walk) -> Any:
    """The run of `walk`, opened again."""
    from training.pipeline import Run

    return Run.open(walk.run)


@pytest.fixture(scope="session")
def refitted(walked_run: Any) -> Any:
    """The system in the bundle of `walk`, from the checkpoint."""
    with every_ranker_helps():
        return walked_run._refit(walked_run.fitted)[0]


@pytest.fixture(scope="session", autouse=True)
def _no_wait_for_the_disk() -> Iterator[None]:
    """os.fsync does nothing in this process. It takes time, and only a power cut would show its effect."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def _one_registry_of_operators() -> Iterator[None]:
    """All exports to ONNX read one registry of operators; making it takes a tenth of an export."""
    if "torch" not in sys.modules:
        yield
        return
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ONNXRegistry, "from_torchlib", staticmethod(cache(ONNXRegistry.from_torchlib)))
        yield


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, Any, Any]:
    """Keep the garbage collector from the modules and tests, which live to the end.

    With torch, transformers and mlflow they are so many that collections take a tenth of the tests' time.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse a file that takes a walk and is not in `WALKERS`: the other worker would walk a second time."""
    for item in items:
        path = item.nodeid.partition("::")[0]
        if "walk" in getattr(item, "fixturenames", ()) and path not in WALKERS:
            raise pytest.UsageError(f"{path} uses the fixture `walk`; add it to WALKERS in tests/conftest.py")


@cache
def _has_shared_fixtures(path: str) -> bool:
    """Whether the file has fixtures that are made once for all of its tests."""
    return 'scope="module"' in (ROOT / path).read_text("utf-8")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Distribute single tests, but keep those together that share a fixture of `WALKERS` or of a file."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            path = nodeid.partition("::")[0]
            if path in WALKERS:
                return "walk"
            if path in PARSERS:
                return "parsed"
            return path if _has_shared_fixtures(path) else nodeid

    return Scheduling(config, log)
