"""Vision models of transformers, and the image side of an image-text model: pixels to a vector.

B pictures, H, W pixels, C channels, L patches, D width.
"""

from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from transformers import AutoImageProcessor

from features.conversion.huggingface.architectures import LOCAL_ONLY, is_dual, load_config, load_model
from features.conversion.sources import Source
from features.conversion.verify.parity import Conversion, sample_pictures, write_encoder
from features.conversion.verify.steps import step
from recsys.arrays import Floats
from recsys.errors import EncoderError, did_you_mean

POOLINGS = ("pooler", "cls", "mean")


class Pixels(nn.Module):
    """Bytes [B, H, W, C] to a model's input [B, C, H, W], scaled and normalised."""

    mean: Tensor
    std: Tensor

    def __init__(self, scale: float, mean: list[float], std: list[float]) -> None:
        super().__init__()
        self.scale = scale
        self.register_buffer("mean", torch.tensor(mean)[:, None, None])
        self.register_buffer("std", torch.tensor(std)[:, None, None])

    def forward(self, pixels: Tensor) -> Tensor:
        return (pixels.permute(0, 3, 1, 2).float() * self.scale - self.mean) / self.std


class ImageEncoder(nn.Module):
    def __init__(self, prepare: Pixels, vision: nn.Module) -> None:
        super().__init__()
        self.prepare = prepare
        self.vision = vision

    def forward(self, pixels: Tensor) -> Tensor:
        return self.vision(self.prepare(pixels))


class Vision(nn.Module):
    """A vision model's pooled output."""

    def __init__(self, model: Any, pooling: str) -> None:
        super().__init__()
        self.model = model
        self.pooling = pooling

    def forward(self, pixel_values: Tensor) -> Tensor:
        output = self.model(pixel_values=pixel_values)
        if self.pooling == "pooler":
            return output.pooler_output.flatten(1)
        hidden = output.last_hidden_state
        if hidden.ndim == 4:
            return hidden.mean(dim=(2, 3))
        return hidden[:, 0] if self.pooling == "cls" else hidden.mean(dim=1)


class ImageSide(nn.Module):
    """The image side of a model with a shared space, at unit length."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: Tensor) -> Tensor:
        features = self.model.get_image_features(pixel_values=pixel_values)
        return nn.functional.normalize(features.pooler_output, dim=-1)


def convert(source: Source, directory: Path) -> None:
    """Write the encoder directory's files; raises `EncoderError` if the encoder differs from the original."""
    config = load_config(source)
    with step(
        source.name, "loading its image processor", "preprocessor_config.json must be in its directory"
    ):
        processor = AutoImageProcessor.from_pretrained(source.path, **LOCAL_ONLY)
    preprocessing = describe(source, processor)
    prepare = Pixels(
        processor.rescale_factor if processor.do_rescale else 1.0,
        list(processor.image_mean) if processor.do_normalize else [0.0] * 3,
        list(processor.image_std) if processor.do_normalize else [1.0] * 3,
    )
    model = load_model(source, config)
    vision = (ImageSide(model) if is_dual(config) else Vision(model, _pooling(source, config, model))).eval()

    def original(picture: Image.Image) -> Floats:
        return vision(processor(images=[picture], return_tensors="pt")["pixel_values"])[0].numpy()

    labels = source.labels(is_dual=is_dual(config))
    write_images(labels, directory, ImageEncoder(prepare, vision), preprocessing, original)


def write_images(
    labels: dict[str, Any], directory: Path, module: nn.Module, preprocessing: Any, original: Any
) -> None:
    """Write the encoder of a module that takes pixels [B, H, W, 3]; `labels` are those of its source."""
    height, width = preprocessing["crop"]
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (2, height, width, 3), dtype=torch.uint8, generator=generator)
    conversion = Conversion(
        module=module.eval(),
        example={"pixels": pixels},
        dynamic_shapes={"pixels": {0: torch.export.Dim("batch", min=1, max=4096)}},
        preprocessing=preprocessing,
        original=original,
        samples=sample_pictures(),
    )
    write_encoder(conversion, directory, **labels)


def describe(source: Source, processor: Any) -> dict[str, Any]:
    """The image processor's steps before normalisation, as keys of encoder.toml."""
    size = {key: value for key, value in dict(processor.size or {}).items() if value}
    crop = dict(processor.crop_size) if getattr(processor, "do_center_crop", False) else None
    crop_pct = getattr(processor, "crop_pct", None)
    if getattr(processor, "do_pad", False) or not processor.do_resize:
        raise EncoderError(
            f"{source.name!r}: {type(processor).__name__} pads or does not resize; not supported"
        )
    resize: int | list[int]
    if set(size) == {"height", "width"}:
        resize = [size["height"], size["width"]]
        target = resize
    elif set(size) == {"shortest_edge"} and crop_pct and crop is None:  # ConvNext
        short = size["shortest_edge"]
        resize = int(short / crop_pct) if short < 384 else [short, short]
        target = [short, short]
    elif set(size) == {"shortest_edge"} and crop is not None:
        resize = target = size["shortest_edge"]
    else:
        raise EncoderError(
            f"{source.name!r}: {type(processor).__name__} with size {size} gives pictures of varying shape; "
            "supported: height and width, or shortest_edge with a centre crop"
        )
    target = [crop["height"], crop["width"]] if crop else target
    interpolation = Image.Resampling(int(processor.resample)).name.lower()
    return {"resize": resize, "crop": target, "interpolation": interpolation, "crop_from": "truncate"}


def _pooling(source: Source, config: Any, model: Any) -> str:
    """The option; else the model's own pooler, if it has weights; else the first token."""
    side = getattr(config, "image_size", 224)
    height, width = (side, side) if isinstance(side, int) else side
    with step(source.name, "running it on a black picture"), torch.no_grad():
        output = model(pixel_values=torch.zeros(1, 3, height, width))
    has_pooler = getattr(output, "pooler_output", None) is not None
    first = getattr(getattr(model, "embeddings", None), "cls_token", None)
    default = "pooler" if has_pooler else "mean" if first is None else "cls"
    pooling = source.options.get("pooling", default)
    if pooling not in POOLINGS:
        raise EncoderError(f"{source.name!r}: pooling {pooling!r}; {did_you_mean(pooling, POOLINGS)}")
    if pooling == "pooler" and not has_pooler:
        raise EncoderError(f"{source.name!r}: its weights have no pooler; choose pooling=cls or pooling=mean")
    return pooling
