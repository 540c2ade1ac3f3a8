"""Pictures up to the graph: resized and cropped bytes; normalisation is in the graph."""

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]

_MAX_ASPECT = 8  # beyond it the long side is cut first, so that a 1-pixel-high banner stays small


def resize_and_crop(image: Image.Image, *, resize: int, crop: int) -> Pixels:
    """The centre `crop` x `crop` of `image` with its short side at `resize`. Shape [crop, crop, 3].

    Bicubic with antialiasing, the long side cut down to a whole pixel: what torchvision's
    `Resize(resize)` and `CenterCrop(crop)` do to a Pillow image.
    """
    width, height = image.size
    short = min(width, height)
    if max(width, height) > _MAX_ASPECT * short:
        image = _centre(image, min(width, _MAX_ASPECT * short), min(height, _MAX_ASPECT * short))
        width, height = image.size
    size = (int(resize * width / short), int(resize * height / short))
    resized = image.resize(size, Image.Resampling.BICUBIC)
    return np.asarray(_centre(resized, crop, crop))


def _centre(image: Image.Image, width: int, height: int) -> Image.Image:
    left, top = round((image.width - width) / 2.0), round((image.height - height) / 2.0)
    return image.crop((left, top, left + width, top + height))
