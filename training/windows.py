"""Training sequences: windows that cover every history, packed into batches of about equal length."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from recsys.batches import Bools, History


@dataclass(frozen=True, kw_only=True)
class Sequence:
    """One user's events that may be trained on; `target[i]` says that event i may be predicted."""

    history: History
    target: Bools


@dataclass(frozen=True, kw_only=True)
class Window:
    """Events [start, stop) of a sequence; of a later window the first event is read, never predicted."""

    history: History
    target: Bools  # [stop - start]


def slice_history(history: History, start: int, stop: int) -> History:
    """Events [start, stop) with their reviews."""
    return History(
        item=history.item[start:stop],
        timestamp=history.timestamp[start:stop],
        event=history.event[start:stop],
        value=history.value[start:stop],
        review_text={at - start: v for at, v in history.review_text.items() if start <= at < stop},
        review_audio={at - start: v for at, v in history.review_audio.items() if start <= at < stop},
        profile=history.profile,
    )


class WindowSampler:
    """Yields an epoch's batches; each epoch cuts long histories at other places."""

    def __init__(
        self, sequences: Mapping[str, Sequence], *, max_length: int, batch_tokens: int, seed: int
    ) -> None:
        self.sequences = [sequence for sequence in sequences.values() if sequence.target.any()]
        self.max_length, self.batch_tokens, self.seed = max_length, batch_tokens, seed

    def epoch(self, number: int) -> list[list[Window]]:
        """Batches of epoch `number`; the same number gives the same batches."""
        rng = np.random.default_rng([self.seed, number])
        windows = [window for sequence in self.sequences for window in self._cut(sequence, rng)]
        rng.shuffle(windows)
        windows.sort(key=lambda window: -len(window.target))
        batches = list(self._pack(windows))
        rng.shuffle(batches)
        return batches

    def _cut(self, sequence: Sequence, rng: np.random.Generator) -> Iterator[Window]:
        """Windows that overlap by one event, so that each event is a target of exactly one."""
        length, stride = len(sequence.target), max(1, self.max_length - 1)
        offset = int(rng.integers(2, self.max_length + 1)) if length > self.max_length else length
        edges = [*range(offset, length, stride), length]
        for start, stop in zip([0, *(edge - 1 for edge in edges)], edges, strict=False):
            target = sequence.target[start:stop].copy()
            target[0] &= start == 0
            if target.any():
                yield Window(history=slice_history(sequence.history, start, stop), target=target)

    def _pack(self, windows: list[Window]) -> Iterator[list[Window]]:
        """Rows of falling length; rows times the longest stays within `batch_tokens`."""
        start = 0
        while start < len(windows):
            rows = max(1, self.batch_tokens // max(1, len(windows[start].target)))
            yield windows[start : start + rows]
            start += rows
