"""A catalogue whose texts, pictures and sounds are noisy linear images of the same hidden causes."""

from collections.abc import Mapping

import numpy as np

from recsys.arrays import Bools, Floats

WIDTHS = {"title": 24, "text": 24, "image": 40, "review_audio": 16}


def linear_catalogue(
    names: tuple[str, ...] = ("text", "image"),
    *,
    num_items: int = 500,
    num_causes: int = 8,
    noise: float = 0.05,
    present: Mapping[str, float] | None = None,
    seed: int = 0,
) -> dict[str, tuple[Floats, Bools]]:
    """Vectors of each modality, A_kind z + noise, of a share `present` of the items (default: of all)."""
    rng = np.random.default_rng(seed)
    cause = rng.standard_normal((num_items, num_causes))
    maps = {width: rng.standard_normal((num_causes, width)) + 0.0 for width in sorted(set(WIDTHS.values()))}
    vectors = {}
    for name in names:
        clean = cause @ maps[WIDTHS[name]] + 3.0
        values = clean + noise * rng.standard_normal(clean.shape)
        has = rng.random(num_items) < (present or {}).get(name, 1.0)
        vectors[name] = (np.where(has[:, None], values, 0.0).astype(np.float32), has)
    return vectors
