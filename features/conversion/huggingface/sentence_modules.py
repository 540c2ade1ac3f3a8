"""The modules that sentence-transformers puts after a transformer: pooling, dense layers, normalisation.

Source: the layout of `SentenceTransformer.save`, with `modules.json` and a folder for each module.
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


class Truncate(nn.Module):
    """The first `dim` values, as sentence-transformers' `truncate_dim` cuts after all modules."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x_BD: Tensor) -> Tensor:
        return x_BD[:, : self.dim]


class Normalize(nn.Module):
    def forward(self, x_BD: Tensor) -> Tensor:
        return nn.functional.normalize(x_BD, dim=-1)


def read_json(path: Path) -> Any:
    """The content of a JSON file, {} if it does not exist. Raises `EncoderError` if it is not valid JSON."""
    try:
        return json.loads(path.read_text("utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise EncoderError(f"{path}: no JSON: {error}; download or save the model again") from error


def transformer_folder(directory: Path) -> Path:
    """The transformer's directory: `directory`, or `0_Transformer` in it as in older layouts."""
    if not (modules := read_json(directory / "modules.json")):
        return directory
    if (name := modules[0]["type"].rpartition(".")[2]) != "Transformer":
        raise EncoderError(f"{directory / 'modules.json'}: begins with {name!r}; supported: Transformer")
    return directory / modules[0]["path"]


def read_modules(directory: Path, prompt: str) -> tuple[str, nn.Sequential] | None:
    """The name of the pooling and the modules after it; None if there is no `modules.json`.

    Raises `EncoderError` for a module or a pooling that is not supported, and where `prompt` is not empty
    and the pooling leaves its tokens out.
    """
    path = directory / "modules.json"
    if not path.is_file():
        return None
    pooling, after = "mean", nn.Sequential()
    for entry in read_json(path)[1:]:
        folder, name = directory / entry["path"], entry["type"].rpartition(".")[2]
        if name == "Pooling":
            pooling = _read_pooling(folder / "config.json", prompt)
        elif name == "Dense":
            after.append(_read_dense(folder))
        elif name == "Normalize":
            after.append(Normalize())
        elif name != "Dropout":
            raise EncoderError(f"{path}: module {name!r}; supported: Pooling, Dense, Normalize, Dropout")
    if truncate_dim := read_json(directory / "config_sentence_transformers.json").get("truncate_dim"):
        after.append(Truncate(int(truncate_dim)))
    return pooling, after


def _read_pooling(path: Path, prompt: str) -> str:
    values = read_json(path)
    if prompt and not values.get("include_prompt", True):
        raise EncoderError(
            f"{path}: include_prompt is false: the tokens of the prompt {prompt!r} would be left out of the "
            "pooling, which is not supported; the option ?prefix= with nothing after it encodes without it"
        )
    modes = {
        _POOLING_KEYS.get(key, key) for key, on in values.items() if key.startswith("pooling_mode_") and on
    }
    if named := values.get("pooling_mode"):
        modes |= {
            "last" if mode == "lasttoken" else mode for mode in ([named] if isinstance(named, str) else named)
        }
    if len(modes) != 1 or not modes <= set(POOLINGS):
        raise EncoderError(f"{path}: pooling {sorted(modes)}; one is supported of {', '.join(POOLINGS)}")
    return modes.pop()


def _read_dense(folder: Path) -> nn.Sequential:
    values = read_json(folder / "config.json")
    names = {values.get("module_input_name"), values.get("module_output_name")}
    if values.get("use_residual") or not names <= {None, "sentence_embedding"}:
        raise EncoderError(
            f"{folder / 'config.json'}: use_residual and other inputs and outputs than sentence_embedding "
            "are not supported"
        )
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
