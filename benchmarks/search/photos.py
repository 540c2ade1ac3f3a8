"""How many pictures an import of a photo library reads, and how many an extraction encodes, the second time.

python -m benchmarks.search.photos [--pictures 2000] [--changed 10] [--side 96] [--folder DIR]

Makes a library of generated JPEGs with EXIF, imports and encodes it with the default encoders, does the same
again, changes some pictures, and does it a third time. Prints one line for each time.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from features.dataset import load_dataset
from features.extraction import extract
from features.importers import import_photos
from recsys.config import EncoderConfig

PER_ALBUM = 100


def write_picture(path: Path, seed: int, side: int) -> None:
    """A JPEG of coarse coloured squares, taken `seed` hours after the first of 2019."""
    rng = np.random.default_rng(seed)
    squares = Image.fromarray(rng.integers(0, 256, (6, 6, 3)).astype(np.uint8))
    exif = Image.Exif()
    taken = np.datetime64("2019-01-01T00:00:00") + np.timedelta64(seed, "h")
    text = str(taken).replace("-", ":").replace("T", " ")
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = text
    path.parent.mkdir(parents=True, exist_ok=True)
    squares.resize((side, side), Image.Resampling.BICUBIC).save(path, exif=exif, quality=90)


def measure(label: str, photos: Path, library: Path, cache: Path) -> None:
    start = time.process_time()
    report = import_photos(photos, library)
    after_import = time.process_time()
    vectors = extract(load_dataset(library), EncoderConfig(), cache_dir=cache)
    counts = report.counts
    print(
        f"{label}: {counts['pictures']:,} pictures, new {counts['new']:,}, changed {counts['changed']:,}, "
        f"unchanged {counts['unchanged']:,}; encoded {vectors.encoded['image']:,} pictures and "
        f"{vectors.encoded['title']:,} titles; import {after_import - start:.1f}, extraction "
        f"{time.process_time() - after_import:.1f} CPU seconds",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--changed", type=int, default=10)
    parser.add_argument("--side", type=int, default=96)
    parser.add_argument(
        "--folder", type=Path, help="an empty folder for the files; by default a temporary one"
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = args.folder or Path(temporary)
        photos, library, cache = root / "photos", root / "library", root / "cache"
        names = [f"album {at // PER_ALBUM}/IMG_{at:05}.jpg" for at in range(args.pictures)]
        for seed, name in enumerate(names):
            write_picture(photos / name, seed, args.side)
        measure("first", photos, library, cache)
        measure("again", photos, library, cache)
        for seed, name in enumerate(names[: args.changed]):
            write_picture(photos / name, args.pictures + seed, args.side)
        measure(f"{args.changed} changed", photos, library, cache)


if __name__ == "__main__":
    main()
