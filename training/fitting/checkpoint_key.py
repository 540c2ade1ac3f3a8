"""Keys of kept models: digests of all inputs of the training of the towers, and of parameters."""

import hashlib
from typing import Any

import numpy.typing as npt
import torch
from torch import nn

from recsys.config import Config
from recsys.retrieval import ListSettings
from training.fitting.inputs import FitInputs

# Which processes train, and where the tables lie, does not change what is trained.
BY_WHOM: dict[str, Any] = {"processes": True, "tables": {"id_sharding": True, "category_sharding": True}}


def tower_settings(config: Config) -> str:
    """The part of `config` that the training of the towers reads, as text."""
    after_the_towers: dict[str, Any] = {
        "ranker": True,
        **dict.fromkeys(ListSettings.model_fields, True),
        "cold_start": True,
        "cold_budget": True,
    }
    # The epoch is chosen on lists, which depend on whether seen items are left out.
    seen = "" if config.evaluate.exclude_seen else "seen items are ranked"
    return (
        config.model.model_dump_json(exclude=after_the_towers)
        + config.train.model_dump_json(exclude=BY_WHOM)
        + seen
    )


def digest_of_parameters(*modules: nn.Module) -> str:
    """A hexadecimal SHA-256 of the names and values of all parameters and buffers."""
    digest = hashlib.sha256()
    for module in modules:
        for name, value in module.state_dict().items():
            digest.update(f"{name} {tuple(value.shape)}".encode())
            digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def checkpoint_key(inputs: FitInputs, choices: object) -> str:
    """A hexadecimal SHA-256 of everything that the training of the towers reads.

    A checkpoint with another key is not resumed. `choices` are the choices of an earlier fit, or None.
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
