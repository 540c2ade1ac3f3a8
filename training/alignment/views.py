"""What the heads learn from: vectors by modality, the items that have two kinds of media, and pairs of both.

A *view* of an item is its vector of one modality. Several modalities may have one kind of encoder: titles and
descriptions are texts, and one head serves both.

Legend: N items of the catalogue, P pairs, D width of an encoder.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Self

import numpy as np

from recsys.arrays import Bools, Floats, Ints
from recsys.errors import DataError
from recsys.modalities import BY_NAME, EncoderKind

ModalityVectors = Mapping[str, tuple[Floats, Bools]]  # modality -> vectors [N, D], present [N]


@dataclass(frozen=True, kw_only=True)
class Views:
    """Views of the items `items`; `vectors` and `present` have the rows of the whole catalogue."""

    vectors: Mapping[str, Floats]  # modality -> [N, D]
    present: Mapping[str, Bools]  # modality -> [N]
    kind_of: Mapping[str, EncoderKind]
    items: Ints  # ascending

    @classmethod
    def of(
        cls,
        vectors: ModalityVectors,
        items: Ints | None = None,
        kinds: Mapping[str, EncoderKind] | None = None,
    ) -> Self:
        """Raises `DataError` for vectors that are not finite, or whose shape does not fit the others."""
        kind_of = modality_kinds(vectors, kinds)
        problems = list(_problems(vectors, kind_of))
        if problems:
            raise DataError("the vectors cannot be aligned:", problems)
        present = {name: np.asarray(vectors[name][1], bool) for name in kind_of}
        size = len(next(iter(present.values()))) if present else 0
        return cls(
            vectors={name: np.asarray(vectors[name][0], np.float32) for name in kind_of},
            present=present,
            kind_of=kind_of,
            items=np.arange(size, dtype=np.int64)
            if items is None
            else np.unique(np.asarray(items, np.int64)),
        )

    def only(self, items: Ints) -> Self:
        """The same views of other items."""
        return replace(self, items=items)

    @property
    def kinds(self) -> tuple[EncoderKind, ...]:
        """Kinds with at least one vector, in the order of the modalities."""
        return tuple(dict.fromkeys(self.kind_of[name] for name in self.kind_of if len(self.rows(name))))

    @property
    def aligned_kinds(self) -> tuple[EncoderKind, ...]:
        """Kinds that share an item with another kind."""
        found = {self.kind_of[name] for pair in self.pairs() for name in pair}
        return tuple(kind for kind in self.kinds if kind in found)

    def of_kind(self, kind: EncoderKind) -> tuple[str, ...]:
        """The modalities of `kind`."""
        return tuple(name for name, of in self.kind_of.items() if of == kind)

    def width(self, kind: EncoderKind) -> int:
        """Width D of the encoder of `kind`."""
        return int(self.vectors[self.of_kind(kind)[0]].shape[1])

    def rows(self, name: str) -> Ints:
        """The items with a vector of the modality."""
        rows: Ints = self.items[self.present[name][self.items]]
        return rows

    def pairs(self) -> dict[tuple[str, str], Ints]:
        """Modalities of different kinds -> the items that have both; without pairs that no item has."""
        found = {}
        for one, other in combinations(self.kind_of, 2):
            rows = self.items[self.present[one][self.items] & self.present[other][self.items]]
            if self.kind_of[one] != self.kind_of[other] and len(rows):
                found[one, other] = rows
        return found

    def paired_items(self) -> Ints:
        """The items that have two kinds of media."""
        pairs = self.pairs().values()
        return np.unique(np.concatenate(list(pairs))) if pairs else np.empty(0, np.int64)

    def stacked(self, kind: EncoderKind) -> Floats:
        """All vectors of one kind, of every modality and item. Shape [P, D]."""
        return np.concatenate([self.vectors[name][self.rows(name)] for name in self.of_kind(kind)])

    def split(self, fraction: float, seed: int) -> tuple[Self, Self]:
        """Training and validation views: `fraction` of the items with two kinds of media, drawn at random."""
        paired = self.paired_items()
        num_validation = min(max(round(fraction * len(paired)), 1), len(paired) - 1)
        validation = np.sort(np.random.default_rng(seed).permutation(paired)[:num_validation])
        return self.only(np.setdiff1d(self.items, validation)), self.only(validation)


def modality_kinds(
    vectors: ModalityVectors, kinds: Mapping[str, EncoderKind] | None = None
) -> dict[str, EncoderKind]:
    """Modality -> kind of its encoder, without modalities that have none. `kinds` adds to the registry."""
    registry = {name: BY_NAME[name].encoder for name in vectors if name in BY_NAME}
    named = {name: kind for name, kind in {**registry, **(kinds or {})}.items() if kind is not None}
    return {name: named[name] for name in vectors if name in named}


def _problems(vectors: ModalityVectors, kind_of: Mapping[str, EncoderKind]) -> list[str]:
    widths: dict[EncoderKind, Counter[int]] = {}
    found, size = [], None
    for name, kind in kind_of.items():
        values, present = (np.asarray(each) for each in vectors[name])
        if values.ndim != 2 or present.shape != values.shape[:1]:
            found.append(
                f"{name}: vectors {values.shape} and present {present.shape}; [N, D] and [N] are needed"
            )
            continue
        size = len(values) if size is None else size
        if len(values) != size:
            found.append(
                f"{name}: {len(values):,} rows, the modality before it has {size:,}; all have one catalogue"
            )
        elif not (finite := np.isfinite(values[present]).all(1)).all():
            row = np.flatnonzero(present)[~finite][0]
            found.append(
                f"{name}: the vector of row {row} is not finite; encode the medium again or mark it missing"
            )
        widths.setdefault(kind, Counter())[values.shape[1]] += 1
    for kind, seen in widths.items():
        if len(seen) > 1:
            found.append(
                f"{kind}: vectors of widths {sorted(seen)}; all vectors of a kind come from one encoder"
            )
    return found
