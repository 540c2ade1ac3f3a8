"""The shared space of a catalogue: several ways of fitting it, of which validation items choose one."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import permutations, product
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
from training.alignment.closed_form import CanonicalCorrelation, ridge_into
from training.alignment.evaluate import ranks_of_own
from training.alignment.heads import Head, HeadGraph, IdentityHead, LinearHead, project
from training.alignment.views import ModalityVectors, Views
from training.onnx_graph import Graph, differences, write_graph

logger = logging.getLogger(__name__)

Heads = Mapping[EncoderKind, Head]
MIN_ITEMS: Final = 10  # items with two kinds of media; a space from fewer is noise
TOLERANCE: Final = 1e-4  # largest difference of a coordinate between a graph and torch
RIDGES: Final = (0.3, 1.0, 3.0, 10.0, 30.0)
POWERS: Final = (0.5, 1.0, 2.0)
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
    if len(paired) < MIN_ITEMS and not _common_space(views, spaces):
        return FittedAlignment({}, {}, AlignmentRecord(method="none", reason=_nothing(views, len(paired))))
    return _Fit(views, config, seed, spaces, progress).fitted()


@dataclass(frozen=True, kw_only=True)
class _Candidate:
    """One way of fitting the space, with its heads from the training items and their validation score."""

    method: str
    score: float
    heads: Heads
    settings: Mapping[str, float] = field(default_factory=dict)


class _Fit:
    """The candidates of one catalogue, and the chosen one fitted again on all items."""

    def __init__(
        self,
        views: Views,
        config: AlignmentConfig,
        seed: int,
        spaces: Mapping[EncoderKind, str | None] | None,
        progress: Progress,
    ) -> None:
        self.views, self.config, self.seed, self.progress = views, config, seed, progress
        self.common = _common_space(views, spaces)
        self.paired = views.paired_items()

    def fitted(self) -> FittedAlignment:
        """The best candidate, fitted on all items."""
        if len(self.paired) < MIN_ITEMS:
            reason = (
                "the encoders have a common space, and too few items have two kinds of media to improve on it"
            )
            return self._result(
                self._common_heads(self.views, RIDGES[0]), AlignmentRecord(method="encoders", reason=reason)
            )
        training, validation = self.views.split(self.config.validation_fraction, self.seed)
        candidates = self._candidates(training, validation)
        # The first of equal ones: the encoders' own space before the closed form before trained heads.
        best = max(candidates, key=lambda each: each.score)
        record = AlignmentRecord(
            method=best.method,
            reason="best on validation items" if len(candidates) > 1 else "the only method",
            num_items=len(self.paired),
            num_validation_items=len(validation.items),
            scores={each.method: each.score for each in candidates},
            settings=best.settings,
        )
        logger.info("shared space: %s (%s)", record.method, record.scores)
        return self._result(self._refit(best), record)

    def _candidates(self, training: Views, validation: Views) -> list[_Candidate]:
        found = [self._best_common(training, validation)] if self.common else []
        found.append(self._best_closed_form(training, validation))
        return found

    def _best_common(self, training: Views, validation: Views) -> _Candidate:
        given = [
            (ridge, self._common_heads(training, ridge))
            for ridge in (RIDGES if set(training.aligned_kinds) - set(self.common) else RIDGES[:1])
        ]
        scored = [(validation_score(heads, validation), ridge, heads) for ridge, heads in given]
        score, ridge, heads = max(scored, key=lambda each: each[0])
        return _Candidate(method="encoders", score=score, heads=heads, settings={"ridge": ridge})

    def _best_closed_form(self, training: Views, validation: Views) -> _Candidate:
        analysis = CanonicalCorrelation(training, self.config.dim)
        best = None
        for done, (ridge, power) in enumerate(product(RIDGES, POWERS), start=1):
            heads = _linear_heads(analysis, ridge, power)
            score = validation_score(heads, validation)
            if best is None or score > best.score:
                settings = {"ridge": ridge, "power": power}
                best = _Candidate(method="closed_form", score=score, heads=heads, settings=settings)
            self.progress("align", done, len(RIDGES) * len(POWERS), "closed form")
        assert best is not None
        return best

    def _refit(self, chosen: _Candidate) -> Heads:
        if chosen.method == "encoders":
            return self._common_heads(self.views, chosen.settings["ridge"])
        analysis = CanonicalCorrelation(self.views, self.config.dim)
        return _linear_heads(analysis, chosen.settings["ridge"], chosen.settings["power"])

    def _common_heads(self, views: Views, ridge: float) -> Heads:
        """Identity for kinds of the common space; the others by ridge regression into it."""
        dim = max(self.common.values())
        heads: dict[EncoderKind, Head] = {kind: IdentityHead(dim) for kind in self.common}
        for kind in views.kinds:
            if kind not in heads and (linear := ridge_into(views, kind, self.common, ridge)) is not None:
                heads[kind] = LinearHead(linear)
        return heads

    def _result(self, heads: Heads, record: AlignmentRecord) -> FittedAlignment:
        examples = {kind: _example(self.views, kind) for kind in heads}
        return FittedAlignment(heads, examples, record)


def validation_score(heads: Heads, views: Views) -> float:
    """Mean of 1 / log2(1 + rank) of the own item, over the ordered pairs of modalities of `views`.

    NDCG with one relevant item. It varies less than a Recall on few items. 0 where no pair has heads.
    """
    projected: dict[str, Floats] = {}
    scores = []
    for pair, rows in views.pairs().items():
        if not all(views.kind_of[name] in heads for name in pair):
            scores += [0.0, 0.0]
            continue
        for name in pair:
            if name not in projected:
                projected[name] = project(heads[views.kind_of[name]], views.vectors[name][views.items])
        places = np.searchsorted(views.items, rows)
        for query, item in permutations(pair):
            ranks = ranks_of_own(projected[query][places], projected[item][places])
            scores.append(float((1.0 / np.log2(1.0 + ranks)).mean()))
    return float(np.mean(scores)) if scores else 0.0


def _linear_heads(analysis: CanonicalCorrelation, ridge: float, power: float) -> Heads:
    return {kind: LinearHead(linear) for kind, linear in analysis.heads(ridge=ridge, power=power).items()}


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
