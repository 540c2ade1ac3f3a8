"""Pictures up to the graph: resized and cropped bytes; normalisation is in the graph."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]

_MAX_ASPECT = 8  # beyond it the long side is cut first, so that a 1-pixel-high banner stays small
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
    """The centre of `image`, `crop` large, once its short side is at `resize`. Shape [height, width, 3].

    A pair is height and width: `resize` then changes the proportions. With antialiasing, the long side
    cut down to a whole pixel: what torchvision's `Resize(resize)` and `CenterCrop(crop)` do to a Pillow
    image. `crop_from` says where a crop starts whose middle falls between two pixels: at the even one
    ("round", as torchvision) or without the half ("truncate", as transformers). What a crop holds beyond
    the picture is black.
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
