"""What is made once for the tests of several files."""

import pytest
from walk_parts import Walk, take_walk


@pytest.fixture(scope="session")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Walk:
    """A tiny shop, walked from raw tables to a bundle. Nothing may be changed in it.

    Its tests are marked `xdist_group("walk")`, so that one worker makes it for all of them.
    """
    return take_walk(tmp_path_factory.mktemp("walk"))
