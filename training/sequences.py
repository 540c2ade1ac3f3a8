"""Training sequences: windows that cover every history, in batches of windows of similar length.

Legend: B windows of a batch, L events of the longest window.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
import torch
from torch import Tensor

from recsys.arrays import Bools
from recsys.history import History


@dataclass(frozen=True, kw_only=True)
class TrainingSequence:
    """One user's training events; `target[i]` is True where event i may be predicted."""

    history: History
    target: Bools


class Sequences(Mapping[str, TrainingSequence]):
    """Training sequences by user, each built on access."""

    def __init__(self, histories: Mapping[str, History], target: Callable[[str], Bools]) -> None:
        self._histories, self.target = histories, target

    def __getitem__(self, user: str) -> TrainingSequence:
        return TrainingSequence(history=self._histories[user], target=self.target(user))

    def __iter__(self) -> Iterator[str]:
        return iter(self._histories)

    def __len__(self) -> int:
        return len(self._histories)


@dataclass(frozen=True, kw_only=True)
class Window:
    """Events [start, stop) of a sequence; the first event of a later window is input only."""

    history: History
    target: Bools  # [stop - start]


Span = tuple[int, int, int]  # index of the user, start and stop of the window


class WindowSampler:
    """The batches of an epoch. Every epoch divides long histories at other positions.

    Only the targets are in memory. A history is read when one of its windows is. `part` is (rank, number of
    ranks): the ranks divide the windows of each batch among them.
    """

    def __init__(
        self,
        sequences: Mapping[str, TrainingSequence],
        *,
        max_length: int,
        batch_tokens: int,
        seed: int,
        part: tuple[int, int] = (0, 1),
    ) -> None:
        self._sequences, self._part = sequences, part
        target_of = sequences.target if isinstance(sequences, Sequences) else lambda at: sequences[at].target
        targets = ((user, target_of(user)) for user in sequences)
        self._targets = [(user, target) for user, target in targets if target.any()]
        self.max_length, self.batch_tokens, self.seed = max_length, batch_tokens, seed

    def epoch(self, number: int) -> Sequence[list[Window]]:
        """This rank's part of the batches of epoch `number`; the same number gives the same batches."""
        rng = np.random.default_rng([self.seed, number])
        spans = [span for place in range(len(self._targets)) for span in self._cut(place, rng)]
        rng.shuffle(spans)
        spans.sort(key=lambda span: span[1] - span[2])
        batches = list(self._pack(spans))
        rng.shuffle(batches)
        rank, num_ranks = self._part
        return _Epoch(self, [batch[rank::num_ranks] for batch in batches])

    def window(self, span: Span) -> Window:
        place, start, stop = span
        history = self._sequences[self._targets[place][0]].history
        return Window(history=history.slice(start, stop), target=self._target(span))

    def _cut(self, place: int, rng: np.random.Generator) -> Iterator[Span]:
        """Windows that overlap by one event, so that each event is a target of exactly one window."""
        length, stride = len(self._targets[place][1]), max(1, self.max_length - 1)
        offset = int(rng.integers(2, self.max_length + 1)) if length > self.max_length else length
        edges = [*range(offset, length, stride), length]
        for start, stop in zip([0, *(edge - 1 for edge in edges)], edges, strict=False):
            if self._target((place, start, stop)).any():
                yield place, start, stop

    def _target(self, span: Span) -> Bools:
        place, start, stop = span
        target = self._targets[place][1][start:stop].copy()
        target[0] &= start == 0
        return target

    def _pack(self, spans: list[Span]) -> Iterator[list[Span]]:
        """Batches of `spans`, which are sorted by falling length.

        Their number times the longest length is at most `batch_tokens`; a batch has at least one window.
        """
        start = 0
        while start < len(spans):
            _, first, stop = spans[start]
            rows = max(1, self.batch_tokens // max(1, stop - first))
            yield spans[start : start + rows]
            start += rows


class _Epoch(Sequence[list[Window]]):
    """Batches whose windows are made on access."""

    def __init__(self, sampler: WindowSampler, batches: list[list[Span]]) -> None:
        self._sampler, self._batches = sampler, batches

    def __len__(self) -> int:
        return len(self._batches)

    @overload
    def __getitem__(self, at: int) -> list[Window]: ...
    @overload
    def __getitem__(self, at: slice) -> list[list[Window]]: ...
    def __getitem__(self, at: int | slice) -> list[Window] | list[list[Window]]:
        if isinstance(at, slice):
            return [self[place] for place in range(*at.indices(len(self)))]
        return [self._sampler.window(span) for span in self._batches[at]]


def target_mask(windows: list[Window], width: int) -> Tensor:
    """True where an event is predicted. Shape [B, L]."""
    mask = np.zeros((len(windows), width), np.bool_)
    for row, window in enumerate(windows):
        mask[row, : len(window.target)] = window.target
    return torch.from_numpy(mask)
