"""The shared space of a catalogue: several ways of fitting it, of which validation items choose one."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import torch

from recsys.arrays import Floats, Ints
from recsys.config import AlignmentConfig
from recsys.errors import BundleError
from recsys.files import replacing_directory
from recsys.modalities import EncoderKind
from recsys.onnx import OnnxSession
from recsys.progress import Progress, silent
from recsys.search import INPUT, OUTPUT, head_file, no_head
from training.alignment.heads import HeadGraph, project
from training.alignment.methods import (
    RIDGES,
    Candidate,
    Heads,
    closed_form,
    common_heads,
    common_space,
    joint,
    trained,
)
from training.alignment.views import ModalityVectors, Views
from training.onnx_graph import Graph, differences, write_graph

logger = logging.getLogger(__name__)

MIN_ITEMS: Final = 10  # items with two kinds of media; a space from fewer is noise
MIN_VALIDATION: Final = 400  # validation items that choose the closed form, of all draws together
MAX_SPLITS: Final = 5
TOLERANCE: Final = 1e-4  # largest difference of a coordinate between a graph and torch
NUM_CHECKED: Final = 256  # vectors on which graph and torch are compared


@dataclass(frozen=True, kw_only=True)
class AlignmentRecord:
    """What was fitted, and why."""

    method: str  # "none", "encoders", "closed_form", "trained" or "joint"
    reason: str
    num_items: int = 0  # items with two kinds of media
    num_validation_items: int = 0
    scores: Mapping[str, float] = field(default_factory=dict)  # method -> `validation_score`
    settings: Mapping[str, float] = field(default_factory=dict)


class FittedAlignment:
    """Heads in torch; an `AlignmentHeads` that can be exported."""

    def __init__(self, heads: Heads, examples: Mapping[EncoderKind, Floats], record: AlignmentRecord) -> None:
        """`examples` are vectors of each kind, on which the exported graphs are compared with torch."""
        self.heads, self.examples, self.record = dict(heads), dict(examples), record
        self.kinds: tuple[EncoderKind, ...] = tuple(self.heads)
        self.dim = next(iter(self.heads.values())).dim if self.heads else 0

    def project(self, kind: EncoderKind, vectors_BD: Floats) -> Floats:
        """Unit vectors [B, S]; raises `RequestError` for a kind without a head."""
        if kind not in self.heads:
            raise no_head(kind, self.kinds)
        return project(self.heads[kind], vectors_BD)

    def write(self, directory: Path) -> dict[str, float]:
        """Write `<kind>.onnx` of every head; the largest difference between graph and torch by kind.

        Nothing is written where nothing was aligned. Raises `BundleError` where a difference exceeds the
        tolerance; `directory` is then as before.
        """
        if not self.heads:
            return {}
        with replacing_directory(directory) as written:
            return {kind: self._write(kind, written) for kind in self.kinds}

    def _write(self, kind: EncoderKind, directory: Path) -> float:
        example, path = self.examples[kind], head_file(directory, kind)
        graph = Graph(
            module=HeadGraph(self.heads[kind]),
            example={INPUT: torch.from_numpy(example[:2])},
            dynamic={INPUT: ("batch",)},
            outputs=(OUTPUT,),
        )
        write_graph(graph, path)
        inputs = {INPUT: example}
        difference = differences(OnnxSession(path).run(inputs), graph.reference(inputs))[OUTPUT]
        if not difference <= TOLERANCE:
            raise BundleError(
                f"{path.name}: the alignment head differs from torch by {difference:.1e}, "
                f"more than {TOLERANCE:.0e}"
            )
        return difference


def fit_alignment(
    vectors: ModalityVectors,
    config: AlignmentConfig,
    *,
    items: Ints | None = None,
    seed: int = 0,
    spaces: Mapping[EncoderKind, str | None] | None = None,
    kinds: Mapping[str, EncoderKind] | None = None,
    progress: Progress = silent,
) -> FittedAlignment:
    """Heads of all kinds of encoders that share items, fitted on `items` (None: on all rows).

    `vectors` has for each modality its vectors [N, D] and which items have one [N]; modalities without an
    encoder are left out. `spaces` names the space of each kind's encoder (`EncoderSpec.space`): kinds with
    one name are aligned already. `kinds` has the kinds of modalities that the registry does not know. Where
    no two kinds share enough items, the result has no heads, and its record says why. Raises `DataError` for
    vectors that are not finite or do not fit together.
    """
    views = Views.of(vectors, items, kinds)
    paired = views.paired_items()
    common = _common_space(views, spaces)
    if len(paired) >= MIN_ITEMS:
        splits = _splits(views, config.validation_fraction, seed)
        candidates = _candidates(splits, config, common, seed=seed, progress=progress)
        # The first of equal ones: the encoders' own space before the closed form before trained heads.
        best = max(candidates, key=lambda each: each.score)
        record = AlignmentRecord(
            method=best.method,
            reason="best on validation items" if len(candidates) > 1 else "the only method tried",
            num_items=len(paired),
            num_validation_items=len(splits[0][1].items),
            scores={each.method: each.score for each in candidates},
            settings=best.settings,
        )
        heads = best.refit(views)
    elif common:
        reason = "the encoders have a common space; too few items have two kinds of media to improve on it"
        record = AlignmentRecord(method="encoders", reason=reason, num_items=len(paired))
        heads = common_heads(views, common, RIDGES[-1])
    else:
        record = AlignmentRecord(method="none", reason=_nothing(views, len(paired)), num_items=len(paired))
        heads = {}
    logger.info("shared space: %s, %s %s", record.method, record.reason, record.scores)
    return FittedAlignment(heads, {kind: _example(views, kind) for kind in heads}, record)


def _splits(views: Views, fraction: float, seed: int) -> list[tuple[Views, Views]]:
    """Training and validation views; several draws where one has few validation items."""
    first = views.split(fraction, seed)
    count = min(max(MIN_VALIDATION // len(first[1].items), 1), MAX_SPLITS)
    return [first, *(views.split(fraction, seed + at) for at in range(1, count))]


def _candidates(
    splits: Sequence[tuple[Views, Views]],
    config: AlignmentConfig,
    common: Mapping[EncoderKind, int],
    *,
    seed: int,
    progress: Progress,
) -> list[Candidate]:
    training, validation = splits[0]
    found = [common_space(training, validation, common)] if common else []
    num_paired = len(training.paired_items()) + len(validation.items)
    trains = config.method != "closed_form" and num_paired >= config.min_items
    linear = closed_form(splits, config.dim)
    if config.method == "auto" or not trains:
        found.append(linear)
    if trains:
        mlp = trained(training, validation, linear, config, seed=seed, progress=progress)
        found += [mlp, joint(linear, mlp, validation)] if config.method == "auto" else [mlp]
    return found


def _common_space(views: Views, spaces: Mapping[EncoderKind, str | None] | None) -> dict[EncoderKind, int]:
    """The kinds of one common space and its width; the largest group of kinds, empty where none has two."""
    groups: dict[str, dict[EncoderKind, int]] = {}
    for kind, space in (spaces or {}).items():
        if space is not None and kind in views.kinds:
            groups.setdefault(space, {})[kind] = views.width(kind)
    largest = max(groups.values(), key=len, default={})
    return largest if len(largest) > 1 else {}


def _example(views: Views, kind: EncoderKind) -> Floats:
    return np.ascontiguousarray(views.stacked(kind)[:NUM_CHECKED])


def _nothing(views: Views, num_items: int) -> str:
    if len(views.kinds) < 2:
        have = f"all vectors are of {views.kinds[0]}" if views.kinds else "no item has a vector"
        return f"nothing to align: {have}; a shared space needs items with two of text, pictures and sound"
    return f"nothing to align: {num_items} items have two of text, pictures and sound; {MIN_ITEMS} are needed"
