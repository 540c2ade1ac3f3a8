"""What is known of the items: unit vectors by modality, and which items have them.

Legend: N items, R rows that are asked for, D width of a modality.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from recsys.arrays import Bools, Floats, Ints, unit


@dataclass(frozen=True, kw_only=True)
class Observed:
    """Vectors of the modalities of N items."""

    vectors: Mapping[str, Floats]  # modality -> [N, D], unit rows where present
    present: Mapping[str, Bools]  # modality -> [N]

    @classmethod
    def of(cls, vectors: Mapping[str, tuple[Floats, Bools]]) -> "Observed":
        """`vectors` has vectors [N, D] of any length, and which items have one [N]."""
        return cls(
            vectors={
                name: np.where(has_N[:, None], unit(array.astype(np.float32)), np.float32(0))
                for name, (array, has_N) in vectors.items()
            },
            present={name: has_N for name, (_, has_N) in vectors.items()},
        )

    @cached_property
    def means(self) -> dict[str, Floats]:
        """The mean of the present unit vectors of each modality. [D]."""
        return {
            name: self.vectors[name][has_N].mean(0) if has_N.any() else self.vectors[name].sum(0)
            for name, has_N in self.present.items()
        }

    def others(self, name: str) -> tuple[str, ...]:
        return tuple(other for other in self.vectors if other != name)

    def has_other(self, name: str) -> Bools:
        """Which items have another modality than `name`. Shape [N]."""
        found: Bools = np.zeros(len(self.present[name]), np.bool_)
        for other in self.others(name):
            found = found | self.present[other]
        return found

    def patterns(self, name: str, rows: Ints) -> Iterator[tuple[tuple[str, ...], Ints]]:
        """The sets of other modalities that items of `rows` have, and the positions in `rows` of each set."""
        others = self.others(name)
        if not others:
            return
        has_RM = np.stack([self.present[other][rows] for other in others], axis=1)
        for pattern in np.unique(has_RM, axis=0):
            at = np.flatnonzero((has_RM == pattern).all(1))
            yield tuple(other for other, has in zip(others, pattern, strict=True) if has), at
