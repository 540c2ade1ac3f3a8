"""What is made once for the tests of several files."""

from typing import Any

import pytest
from walk_parts import Walk, take_walk

WALKERS = (
    "tests/test_walk.py",
    "tests/training/export/test_export.py",
    "tests/training/report/test_page.py",
    "tests/training/report/test_browser.py",
)


@pytest.fixture(scope="session")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Walk:
    """A tiny shop, walked from raw tables to a bundle. Nothing may be changed in it.

    It takes half a minute, so the files of its tests stand in `WALKERS`.
    """
    return take_walk(tmp_path_factory.mktemp("walk"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """One worker takes all tests of `WALKERS`; every other test goes to whoever is free."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "walk" if nodeid.startswith(WALKERS) else nodeid

    return Scheduling(config, log)
