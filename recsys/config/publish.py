"""The section `publish`: the bars that a bundle has to pass before `recsys publish` lets it be served."""

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from recsys.config.fields import Count, Fraction, NotNegative, Positive, Section
from recsys.errors import did_you_mean
from recsys.metrics import METRICS

# Views and slices of an evaluation that can be compared from the lists that a run keeps.
PARTS: Final = (
    "warm", "cold_full",
    "items/hot", "items/warm", "items/tail", "items/cold",
    "users/no history", "users/new", "users/light", "users/heavy",
)  # fmt: skip


def _known_metric(name: str) -> str:
    kind, _, k = name.partition("@")
    if kind not in METRICS or not k.isdecimal() or int(k) < 1:
        raise ValueError(f"metric {name!r}: write it as ndcg@10; {did_you_mean(kind, METRICS)}")
    return name


def _known_part(name: str) -> str:
    if name not in PARTS:
        raise ValueError(f"unknown view or slice {name!r}; {did_you_mean(name, PARTS)}")
    return name


class PublishConfig(Section):
    """The gate; docs/publishing.md has its rules."""

    # Metrics that are compared with those of the champion, the version that is served.
    metrics: Annotated[tuple[Annotated[str, AfterValidator(_known_metric)], ...], Field(min_length=1)] = (
        "ndcg@10",
        "recall@10",
    )
    # Views and slices of the test in which each metric is compared: "warm", "cold_full", "items/tail" ...
    slices: Annotated[tuple[Annotated[str, AfterValidator(_known_part)], ...], Field(min_length=1)] = (
        "warm",
        "cold_full",
    )
    # Loss that is allowed, as a fraction of the champion's value.
    max_loss: Fraction = 0.0
    # "difference" refuses a bundle whose whole 95% interval of the paired difference lies below the allowed
    # loss. "non_inferiority" refuses a bundle unless the whole interval lies above the allowed loss.
    test: Literal["difference", "non_inferiority"] = "difference"
    min_users: Count = 30  # a slice with fewer users is not compared
    min_agreement: Fraction = 0.999  # of the top-10 lists of torch and ONNX Runtime, as a share of places
    max_score_difference: NotNegative = 1e-3  # of a final score between the two
    max_output_difference: NotNegative = 1e-4  # of an output of one graph between the two
    max_latency_ratio: Positive = 1.5  # median latency of one user's list, relative to the champion's
    max_latency_ms: Positive | None = None  # the same in milliseconds, on the machine that publishes
    latency_users: Count = 100  # users whose lists are timed
    max_size_ratio: Positive = 2.0  # size of the bundle, relative to the champion's
    max_size_mb: Positive | None = None
    registered_model: str | None = None  # name in the registry. None: "recsys-" and the name of the dataset
