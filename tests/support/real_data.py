"""The folder of real data, named by the environment variable `RECSYS_DATA`."""

import os
from pathlib import Path


def real_data() -> Path:
    """The folder that `RECSYS_DATA` names; a folder that does not exist where the variable is not set."""
    return Path(os.environ.get("RECSYS_DATA") or "RECSYS_DATA is not set")
