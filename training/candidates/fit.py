"""Fitting of the configured candidate sources.

A source named `x` is the section `sources.x` of the configuration (`SourcesConfig`) and the
module training/candidates/x.py, whose `fit(interactions, settings, options)` returns a `CandidateSource` of
that name, or several ("content": one for each modality). Saving, loading, the ranker and the reports know
sources by their names alone.
"""

from collections.abc import Sequence
from importlib import import_module
from typing import Any, Protocol, cast

from recsys.config import SourcesConfig
from recsys.retrieval import CandidateSource
from training.candidates.interactions import FitOptions, Interactions


class FitSource(Protocol):
    """`fit` of a source's module; `settings` is the source's section of the configuration."""

    def __call__(
        self, interactions: Interactions, settings: Any, options: FitOptions, /
    ) -> CandidateSource | tuple[CandidateSource, ...]: ...


def fit_function(name: str) -> FitSource:
    """The function that fits the source of this name, a field of `SourcesConfig`."""
    return cast(FitSource, import_module(f"training.candidates.{name}").fit)


def fit_sources(
    names: Sequence[str], interactions: Interactions, config: SourcesConfig, options: FitOptions
) -> tuple[CandidateSource, ...]:
    """The named sources in their order, none where training has no positive event."""
    if not len(interactions.user_items):
        return ()
    found = [fit_function(name)(interactions, getattr(config, name), options) for name in names]
    return tuple(source for each in found for source in (each if isinstance(each, tuple) else (each,)))
