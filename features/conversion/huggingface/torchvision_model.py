"""Classification backbones of torchvision, up to the input of their last linear layer.

`torchvision:NAME` has torchvision's default weights, `torchvision:NAME:FILE` the state dict in FILE. The
preprocessing is that of torchvision's weights with the same file name, else of the first ones in its list.
"""

from pathlib import Path
from typing import Any

import torch
import torchvision
from PIL import Image
from torch import nn

from features.conversion.huggingface.image_model import ImageEncoder, Pixels, write_images
from features.conversion.sources import TORCHVISION, Source
from recsys.arrays import Floats
from recsys.errors import EncoderError, did_you_mean

WITH_AUXILIARIES = ("googlenet", "inception_v3")


def convert(source: Source, directory: Path) -> None:
    """Write the encoder directory's files; raises `EncoderError` if the encoder differs from the original."""
    name = source.name.removeprefix(TORCHVISION).partition(":")[0]
    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        raise EncoderError(
            f"{source.name!r}: torchvision has no classification model {name!r}; {did_you_mean(name, known)}"
        )
    published = torchvision.models.get_model_weights(name)
    weights = _weights(published, source.path)
    state = torch.load(source.path or _default_file(source, weights), map_location="cpu", weights_only=True)
    backbone = load_backbone(source, name, state, published=_is_published(published, source.path))
    transforms = weights.transforms()

    def original(picture: Image.Image) -> Floats:
        return backbone(transforms(picture)[None])[0].numpy()

    preprocessing = {
        "resize": transforms.resize_size[0],
        "crop": [transforms.crop_size[0]] * 2,
        "interpolation": transforms.interpolation.value,
    }
    prepare = Pixels(1 / 255, list(transforms.mean), list(transforms.std))
    write_images(source.labels(), directory, ImageEncoder(prepare, backbone), preprocessing, original)


def load_backbone(source: Source, name: str, state: dict[str, Any], *, published: bool) -> nn.Module:
    """The model without its last linear layer; every other weight is loaded, and none is missing.

    With `published` weights, torchvision sets `transform_input` of GoogLeNet and Inception, which undoes
    ImageNet's normalisation. With other weights it does not. This function does the same.
    """
    arguments: dict[str, Any] = {}
    if name in WITH_AUXILIARIES:
        arguments = {"aux_logits": False, "init_weights": False, "transform_input": published}
    model = torchvision.models.get_model(name, weights=None, **arguments)
    for key in ("state_dict", "model"):
        state = state.get(key, state)
    state = {key.removeprefix("module."): value for key, value in state.items()}
    head = _drop_head(model)
    state = {
        key: value for key, value in state.items() if not key.startswith((f"{head}.", "aux", "AuxLogits."))
    }
    try:
        model.load_state_dict(state, strict=True)
    except RuntimeError as error:
        message = " ".join(str(error).split())[:300]
        raise EncoderError(f"{source.name!r}: the state dict does not fit {name}: {message}") from error
    return model.eval()


def _drop_head(model: nn.Module) -> str:
    """Replace the last linear layer, or SqueezeNet's convolution, and return its name."""
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    name, place = (linear[-1], nn.Identity()) if linear else ("classifier", nn.AdaptiveAvgPool2d(1))
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, place)
    return name


def _weights(published: Any, path: Path | None) -> Any:
    """The entry whose transforms are used: that of the file's name, the default, or the first."""
    if path is None:
        return published.DEFAULT
    named = (entry for entry in published if entry.url.endswith(f"/{path.name}"))
    return next(named, next(iter(published)))


def _is_published(published: Any, path: Path | None) -> bool:
    """True for torchvision's own weights: the default ones, or a file of a published name."""
    return path is None or any(entry.url.endswith(f"/{path.name}") for entry in published)


def _default_file(source: Source, weights: Any) -> Path:
    """The default weights in the cache of torch's hub, downloaded if they are missing."""
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    path = folder / weights.url.rpartition("/")[2]
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(weights.url, str(path), progress=False)
        except OSError as error:
            raise EncoderError(
                f"{source.name!r}: its weights could not be downloaded ({error}); download {weights.url} "
                f"on a machine with a network and give the file: {source.name}:{path.name}"
            ) from error
    return path
