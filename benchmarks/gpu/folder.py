"""The prepared folder: what `prepare` writes on a CPU machine and the pieces read.

inputs.json    configuration, schema, names, versions, and the size of every file
arrays.npz     items' features, training sequences, and the arrays that serving reads
towers.pt      the towers' parameters; ranker.pt beside it where there is a ranker
bundle/        the run's bundle without its encoders
encoder/       an image encoder; weights.pt has its parameters where torch can run it, too
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recsys.config import Config
from recsys.history import History, SequenceSchema
from recsys.ids import IdMap
from recsys.item_features import ItemArrays, ItemFeatures
from training.sequences import TrainingSequence

FORMAT = 1
INPUTS, ARRAYS, TOWERS, RANKER = "inputs.json", "arrays.npz", "towers.pt", "ranker.pt"
BUNDLE, ENCODER, WEIGHTS = "bundle", "encoder", "weights.pt"
OF_ITEMS = ("dense", "present", "categories", "dense_as_cold", "present_as_cold")  # arrays by name
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A folder that was read."""

    path: Path
    facts: Mapping[str, Any]  # inputs.json
    config: Config
    features: ItemFeatures
    schema: SequenceSchema
    sequences: dict[str, TrainingSequence]
    items: ItemArrays  # of the bundle

    @property
    def histories(self) -> list[History]:
        """The users' histories."""
        return [sequence.history for sequence in self.sequences.values()]


def write_inputs(
    path: Path,
    *,
    config: Config,
    features: ItemFeatures,
    schema: SequenceSchema,
    sequences: Mapping[str, TrainingSequence],
    items: ItemArrays,
    facts: Mapping[str, Any],
) -> None:
    """Write inputs.json and arrays.npz."""
    arrays = {f"{part}/{name}": array for part in OF_ITEMS for name, array in getattr(features, part).items()}
    arrays |= {f"items/{name}": array for name, array in vars(items).items() if array is not None}
    arrays |= {"trained": features.trained, "popularity": features.popularity}
    for number, sequence in enumerate(sequences.values()):
        of_user = sequence.history.to_arrays() | {"target": sequence.target}
        arrays |= {f"user/{number}/{name}": array for name, array in of_user.items()}
    np.savez_compressed(path / ARRAYS, **arrays)
    content = {
        "format": FORMAT,
        **facts,
        "config": config.model_dump(mode="json"),
        "schema": asdict(schema),
        "item_ids": list(features.item_ids.external),
        "category_ids": {name: list(ids.external) for name, ids in features.category_ids.items()},
        "num_users": len(sequences),
    }
    (path / INPUTS).write_text(json.dumps(content), "utf-8")


def read(path: Path) -> Prepared:
    """The folder at `path`. Raises ValueError for a folder of another format."""
    facts = json.loads((path / INPUTS).read_text("utf-8"))
    if facts.get("format") != FORMAT:
        raise ValueError(f"{path / INPUTS}: format {facts.get('format')!r}, not {FORMAT}; prepare it again")
    with np.load(path / ARRAYS, allow_pickle=False) as file:
        arrays: Arrays = dict(file)
    return Prepared(
        path=path,
        facts=facts,
        config=Config.model_validate(facts["config"]),
        features=ItemFeatures(
            item_ids=IdMap(facts["item_ids"]),
            category_ids={name: IdMap(ids) for name, ids in facts["category_ids"].items()},
            trained=arrays["trained"],
            popularity=arrays["popularity"],
            **{part: _below(arrays, part) for part in OF_ITEMS},
        ),
        schema=schema_of(facts["schema"]),
        sequences=_sequences(arrays),
        items=ItemArrays(**_below(arrays, "items")),
    )


def schema_of(values: Mapping[str, Any]) -> SequenceSchema:
    """A schema from JSON."""
    scales = {name: tuple(scale) for name, scale in values["number_scales"].items()}
    return SequenceSchema(**{**values, "number_scales": scales})


def _below(arrays: Arrays, prefix: str) -> Arrays:
    """The arrays whose names begin with `prefix`, without it."""
    return {
        name.removeprefix(f"{prefix}/"): array
        for name, array in arrays.items()
        if name.startswith(f"{prefix}/")
    }


def _sequences(arrays: Arrays) -> dict[str, TrainingSequence]:
    """The sequence of each user, in the order in which they were written."""
    by_user: dict[int, Arrays] = {}
    for name, array in _below(arrays, "user").items():
        number, _, field = name.partition("/")
        by_user.setdefault(int(number), {})[field] = array
    return {
        f"u{number}": TrainingSequence(target=found.pop("target"), history=History.from_arrays(found))
        for number, found in sorted(by_user.items())
    }
