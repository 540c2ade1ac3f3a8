"""Import and extraction of a photo library: what was encoded once is not encoded again."""

from pathlib import Path

import pytest
from extraction_parts import tiny_config
from photo_parts import imported, save

from features.extraction import extract
from recsys.config import EncoderConfig

NUM_CHANGED = 10


@pytest.fixture
def config(tmp_path: Path) -> EncoderConfig:
    return tiny_config(tmp_path, batch_size=8)


def encoded(source: Path, out: Path, config: EncoderConfig, cache: Path) -> tuple[int, int]:
    """Numbers of pictures and of texts that are encoded after an import of `source`."""
    data, _ = imported(source, out)
    count = extract(data, config, cache_dir=cache).encoded
    return count["image"], count["title"] + count.get("text", 0)


@pytest.mark.parametrize("num_pictures", [40, pytest.param(2000, marks=pytest.mark.long)])
def test_a_second_import_encodes_nothing_and_ten_changes_encode_ten(
    tmp_path: Path, config: EncoderConfig, num_pictures: int
) -> None:
    source, out, cache = tmp_path / "photos", tmp_path / "library", tmp_path / "cache"
    for seed in range(num_pictures):
        save(source / f"{seed % 3}" / f"{seed:03}.png", seed=seed)
    assert encoded(source, out, config, cache) == (num_pictures, num_pictures)
    assert encoded(source, out, config, cache) == (0, 0)
    for seed in range(NUM_CHANGED):
        save(source / f"{seed % 3}" / f"{seed:03}.png", seed=num_pictures + seed)
    assert encoded(source, out, config, cache) == (NUM_CHANGED, 0)
    source.rename(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "0").rename(tmp_path / "elsewhere" / "renamed album")
    assert encoded(tmp_path / "elsewhere", out, config, cache) == (0, 0)
    assert encoded(tmp_path / "elsewhere", tmp_path / "another", config, cache) == (0, 0)
