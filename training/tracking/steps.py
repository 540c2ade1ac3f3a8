"""Steps of a run as tracked methods, and what every run tells a tracker of its inputs."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from features.dataset import Dataset
from recsys.config import Config, flatten
from training.tracking.tracker import Tracker

P = ParamSpec("P")
R = TypeVar("R")


class HasSteps(Protocol):
    """What `step` decorates methods of."""

    def step(self, name: str) -> AbstractContextManager[None]:
        """Lasts while the step `name` runs."""
        ...


S = TypeVar("S", bound=HasSteps)


def step(name: str) -> Callable[[Callable[Concatenate[S, P], R]], Callable[Concatenate[S, P], R]]:
    """Run the decorated method inside `self.step(name)`."""

    def decorate(function: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
        @wraps(function)
        def call(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
            with self.step(name):
                return function(self, *args, **kwargs)

        return call

    return decorate


def log_inputs(tracker: Tracker, config: Config, dataset: Dataset, source: Path) -> None:
    """The dataset and its fingerprint; the configuration but for `track`, which may hold a password."""
    settings = flatten(config.model_dump(mode="json", exclude={"track"}))
    tracker.log_params(settings | {"dataset": dataset.name})
    tables = {"items": dataset.items, "users": dataset.users, "reviews": dataset.reviews}
    counts = {f"num_{name}": table.height for name, table in tables.items()}
    tracker.log_dataset(dataset.name, dataset.fingerprint(), str(source.resolve()), counts)
