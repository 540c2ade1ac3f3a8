"""Preprocessing of pictures outside the graph: resizing and cropping. Normalisation is in the graph."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]

# A longer picture is cut first: its short side is enlarged to `resize`, and the long side with it.
_MAX_ASPECT = 8
CROP_STARTS: Mapping[str, Callable[[float], int]] = {"round": round, "truncate": int}
INTERPOLATIONS = {filter.name.lower(): filter for filter in Image.Resampling}


def resize_and_crop(
    image: Image.Image,
    *,
    resize: int | Sequence[int],
    crop: int | Sequence[int],
    interpolation: str = "bicubic",
    crop_from: str = "round",
) -> Pixels:
    """`image` resized to a short side of `resize`, then its centre of side `crop`. Shape [height, width, 3].

    A pair means height and width; such a `resize` changes the proportions. Equal to torchvision's
    `Resize(resize)` and `CenterCrop(crop)` of a Pillow image: antialiased, the long side rounded down.
    `crop_from` is the start of a crop whose margin is odd: half the margin rounded to even ("round", as in
    torchvision) or rounded down ("truncate", as in transformers). A crop larger than the picture is black
    beyond it.
    """
    resized = _resize(image, resize, interpolation)
    height, width = (crop, crop) if isinstance(crop, int) else crop
    return np.asarray(_centre(resized, width, height, CROP_STARTS[crop_from]))


def _resize(image: Image.Image, resize: int | Sequence[int], interpolation: str) -> Image.Image:
    resample = INTERPOLATIONS[interpolation]
    if not isinstance(resize, int):
        return image.resize((resize[1], resize[0]), resample)
    width, height = image.size
    short = min(width, height)
    if max(width, height) > _MAX_ASPECT * short:
        image = _centre(image, min(width, _MAX_ASPECT * short), min(height, _MAX_ASPECT * short))
        width, height = image.size
    size = (int(resize * width / short), int(resize * height / short))
    return image.resize(size, resample)


def _centre(
    image: Image.Image, width: int, height: int, start: Callable[[float], int] = round
) -> Image.Image:
    left, top = start((image.width - width) / 2.0), start((image.height - height) / 2.0)
    return image.crop((left, top, left + width, top + height))
