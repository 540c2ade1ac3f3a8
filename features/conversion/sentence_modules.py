"""What sentence-transformers puts after a transformer: pooling, dense layers, normalisation.

Source: the layout that its `SentenceTransformer.save` writes, `modules.json` and a folder a module.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from recsys.errors import EncoderError, did_you_mean


def mean_tokens(hidden_BLD: Tensor, mask_BL: Tensor) -> Tensor:
    mask_BL1 = mask_BL.unsqueeze(-1).to(hidden_BLD.dtype)
    return (hidden_BLD * mask_BL1).sum(1) / mask_BL1.sum(1).clamp(min=1.0)


def first_token(hidden_BLD: Tensor, mask_BL: Tensor) -> Tensor:
    return hidden_BLD[:, 0]


def last_token(hidden_BLD: Tensor, mask_BL: Tensor) -> Tensor:
    last_B11 = (mask_BL.sum(1) - 1).clamp(min=0)[:, None, None]
    return hidden_BLD.gather(1, last_B11.expand(-1, 1, hidden_BLD.shape[2])).squeeze(1)


POOLINGS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mean": mean_tokens,
    "cls": first_token,
    "last": last_token,
}
_POOLING_KEYS = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_lasttoken": "last",
}
_ACTIVATIONS = ("Identity", "Tanh", "ReLU", "GELU", "Sigmoid", "SiLU")


class Normalize(nn.Module):
    def forward(self, x_BD: Tensor) -> Tensor:
        return nn.functional.normalize(x_BD, dim=-1)


def read_modules(directory: Path) -> tuple[str, nn.Sequential] | None:
    """Name of the pooling and the modules after it; None where there is no `modules.json`.

    Raises `EncoderError` for a module or a pooling that is not supported.
    """
    path = directory / "modules.json"
    if not path.is_file():
        return None
    pooling, after = "mean", nn.Sequential()
    for entry in json.loads(path.read_text("utf-8"))[1:]:
        folder, name = directory / entry["path"], entry["type"].rpartition(".")[2]
        if name == "Pooling":
            pooling = _read_pooling(folder / "config.json")
        elif name == "Dense":
            after.append(_read_dense(folder))
        elif name == "Normalize":
            after.append(Normalize())
        elif name != "Dropout":
            raise EncoderError(f"{path}: module {name!r}; supported: Pooling, Dense, Normalize, Dropout")
    return pooling, after


def _read_pooling(path: Path) -> str:
    values = json.loads(path.read_text("utf-8"))
    modes = {
        _POOLING_KEYS.get(key, key) for key, on in values.items() if key.startswith("pooling_mode_") and on
    }
    if said := values.get("pooling_mode"):
        modes |= {
            "last" if mode == "lasttoken" else mode for mode in ([said] if isinstance(said, str) else said)
        }
    if len(modes) != 1 or not modes <= set(POOLINGS):
        raise EncoderError(f"{path}: pooling {sorted(modes)}; one is supported of {', '.join(POOLINGS)}")
    return modes.pop()


def _read_dense(folder: Path) -> nn.Sequential:
    values = json.loads((folder / "config.json").read_text("utf-8"))
    activation = values.get("activation_function", "Tanh").rpartition(".")[2]
    if activation not in _ACTIVATIONS:
        hint = did_you_mean(activation, _ACTIVATIONS)
        raise EncoderError(f"{folder / 'config.json'}: activation_function {activation!r}; {hint}")
    linear = nn.Linear(values["in_features"], values["out_features"], bias=values.get("bias", True))
    state = _read_state(folder)
    linear.load_state_dict({key.removeprefix("linear."): value.float() for key, value in state.items()})
    return nn.Sequential(linear, getattr(nn, activation)())


def _read_state(folder: Path) -> dict[str, Any]:
    if (folder / "model.safetensors").is_file():
        return load_file(folder / "model.safetensors")
    state: dict[str, Any] = torch.load(folder / "pytorch_model.bin", map_location="cpu", weights_only=True)
    return state
