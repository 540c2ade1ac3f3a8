"""What is made once for the tests of several files."""

from typing import Any

import pytest
from dataset_parts import ODD
from walk_parts import Walk, every_ranker_helps, take_walk

WALKERS = (
    "tests/test_walk.py",
    "tests/test_tracked_walk.py",
    "tests/test_served_lists.py",
    "tests/training/export/test_export.py",
    "tests/training/report/test_page.py",
    "tests/training/report/test_plots.py",
    "tests/training/report/test_browser.py",
)


@pytest.fixture(scope="session")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Walk:
    """A tiny shop, walked from raw tables to a bundle. Nothing may be changed in it.

    Dataset, cache and run lie in a folder whose name has brackets, blanks, a star, a question mark and
    characters beyond ASCII. The walk takes half a minute, so the files of its tests stand in `WALKERS`.
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
    """The system in the bundle of `walk`, made again from its checkpoint."""
    with every_ranker_helps():
        return walked_run._refit(walked_run.fitted)[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """One worker takes all tests of `WALKERS`; every other test goes to whoever is free."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "walk" if nodeid.startswith(WALKERS) else nodeid

    return Scheduling(config, log)
