"""baselines.json: the settings chosen for each baseline."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from recsys.files import replacing
from training.baselines.table import ChosenSettings


def save_choices(path: Path, chosen: Iterable[ChosenSettings]) -> None:
    """Write baselines.json atomically."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps([asdict(each) for each in chosen], indent=2) + "\n", "utf-8")


def read_choices(path: Path) -> list[ChosenSettings]:
    """Reads the output of `save_choices`; empty where there is no such file."""
    return (
        [ChosenSettings(**values) for values in json.loads(path.read_text("utf-8"))] if path.exists() else []
    )


def settings_words(chosen: ChosenSettings) -> str:
    """Settings in words, such as "factors 64, alpha 1", without the seed and settings that are off."""
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
