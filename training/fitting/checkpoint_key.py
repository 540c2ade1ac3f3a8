"""What a checkpoint of the towers belongs to: a digest of all that their training reads."""

import hashlib
from typing import Any

import numpy.typing as npt

from recsys.config import Config
from recsys.retrieval import ListSettings
from training.fitting.inputs import FitInputs


def tower_settings(config: Config) -> str:
    """What the towers' training reads of `config`: the same text trains the same towers."""
    after_the_towers: dict[str, Any] = {
        "ranker": True,
        **dict.fromkeys(ListSettings.model_fields, True),
        "cold_start": True,
    }
    # The epoch is chosen by lists that leave seen items out or not.
    seen = "" if config.evaluate.exclude_seen else "seen items are ranked"
    return config.model.model_dump_json(exclude=after_the_towers) + config.train.model_dump_json() + seen


def checkpoint_key(inputs: FitInputs, choices: object) -> str:
    """Changes with anything that the towers' training reads, so that a stale checkpoint is never resumed.

    `choices` are those of an earlier fit, None where this one makes its own.
    """
    features = inputs.features
    settings = [tower_settings(inputs.config), choices]
    digest = hashlib.sha256(repr([settings, features.item_ids.external]).encode())
    for user, items in inputs.ground_truth.items():
        digest.update(user.encode())
        digest.update(items.tobytes())
    content: dict[str, npt.NDArray[Any]] = {**features.dense, **features.categories}
    content |= {f"{name} as new": array for name, array in features.dense_as_cold.items()}
    for name, array in content.items():
        digest.update(f"{name} {array.shape}".encode())
        digest.update(array.tobytes())
    for user, sequence in inputs.sequences.items():
        digest.update(user.encode())
        digest.update(sequence.target.tobytes())
        for name, array in sequence.history.to_arrays().items():
            digest.update(name.encode())
            digest.update(array.tobytes())
    return digest.hexdigest()
