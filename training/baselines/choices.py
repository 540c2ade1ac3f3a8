"""baselines.json: the settings chosen for each baseline."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from recsys.files import replacing
from training.baselines.table import Chosen


def save_choices(path: Path, chosen: Iterable[Chosen]) -> None:
    """Write baselines.json, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps([asdict(each) for each in chosen], indent=2) + "\n", "utf-8")


def read_choices(path: Path) -> list[Chosen]:
    """Reads what `save_choices` wrote; empty where there is no such file."""
    return [Chosen(**values) for values in json.loads(path.read_text("utf-8"))] if path.exists() else []


def settings_words(chosen: Chosen) -> str:
    """Settings in words, "factors 64, alpha 1"; those that are off or of the seed are left out."""
    values = dict(chosen.settings)
    weights = values.pop("weights", None)
    values = weights if weights is not None else values
    words = []
    for name, value in values.items():
        if name == "seed" or value is False:
            continue
        spelled = name.replace("_", " ")
        if value is None:
            words.append(f"{spelled}: all" if name == "last" else f"no {spelled}")
        else:
            words.append(spelled if value is True else f"{spelled} {value:g}")
    return ", ".join(words) or "nothing to choose"
