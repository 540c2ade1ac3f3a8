"""The section `evaluate`: metrics, baselines with the settings that are tried for them, and knock-outs."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from recsys.config.fields import Count, NotNegative, Positive, Section
from recsys.config.model import ALSConfig, EASEConfig, ItemItemConfig
from recsys.errors import did_you_mean
from recsys.modalities import MODALITIES


def content_baseline(label: str) -> str:
    """Name of the baseline of content neighbours by the modality with this `label`."""
    return f"content ({label})"


# In the order of the table of results.
BASELINES: tuple[str, ...] = (
    "popularity", "als", "bpr", "item_item", "ease",
    *(content_baseline(each.label) for each in MODALITIES),
    content_baseline("categories"), content_baseline("fusion"),
)  # fmt: skip


def _known_baseline(name: str) -> str:
    if name not in BASELINES:
        raise ValueError(f"unknown baseline {name!r}; {did_you_mean(name, BASELINES)}")
    return name


BaselineName = Annotated[str, AfterValidator(_known_baseline)]
KnockoutKind = Literal["absent", "shuffled", "noise"]  # the ways to remove the information of a modality


def _with_verdicts(kinds: tuple[KnockoutKind, ...]) -> tuple[KnockoutKind, ...]:
    if len(set(kinds)) < len(kinds) or not {"absent", "shuffled"} <= set(kinds):
        raise ValueError(f"{list(kinds)} must name absent and shuffled, which verdicts compare, each once")
    return kinds


class BPRCandidate(Section):
    """Settings of matrix factorisation with the BPR loss (Rendle et al. 2009)."""

    factors: Count = 64
    learning_rate: Positive = 0.05
    regularization: NotNegative = 0.01


class GridConfig(Section):
    """The settings that are tried for each baseline. The best by NDCG@10 on validation is evaluated."""

    # Half-lives of an event's weight, in days; popularity without a half-life is tried as well. On
    # MovieLens-small half a year to a year is best.
    popularity_half_life_days: tuple[Positive, ...] = (2000, 1000, 365, 180, 90, 30, 7, 1)
    # Alpha 10 is for data with repeated events. On MovieLens-small and 1M, regularization 100, 256 factors
    # and alpha 10 were worse.
    als: Annotated[tuple[ALSConfig, ...], Field(min_length=1)] = (
        *(
            ALSConfig(factors=factors, regularization=regularization)
            for factors in (64, 128)
            for regularization in (0.01, 1.0, 10.0)
        ),
        ALSConfig(alpha=10.0),
    )
    # The first is best on MovieLens-small, the second on 1M.
    bpr: Annotated[tuple[BPRCandidate, ...], Field(min_length=1)] = (
        BPRCandidate(learning_rate=0.02),
        BPRCandidate(factors=128),
    )
    # Each BPR fit is validated after these numbers of epochs; ascending.
    bpr_epochs: Annotated[tuple[Count, ...], Field(min_length=1)] = (10, 20, 40, 80)
    item_item: Annotated[tuple[ItemItemConfig, ...], Field(min_length=1)] = (
        ItemItemConfig(),
        ItemItemConfig(k1=0.2, b=0.5),
        ItemItemConfig(k1=0.2, b=0.75),
        ItemItemConfig(b=0.0),
        ItemItemConfig(b=0.5),
        ItemItemConfig(k1=100.0),
        ItemItemConfig(k1=100.0, b=0.5),
    )
    # Numbers of neighbours that are tried with the best of `item_item`.
    item_item_neighbors: tuple[Count, ...] = (20, 50, 200, 500)
    ease: Annotated[tuple[EASEConfig, ...], Field(min_length=1)] = tuple(
        EASEConfig(regularization=regularization) for regularization in (30.0, 100.0, 300.0, 1000.0)
    )
    # Newest events of a history that content neighbours read; the whole history is tried as well.
    content_last: tuple[Count, ...] = (30, 10, 3)
    # Weights of each further modality in the sum of content neighbours, "content (fusion)".
    fusion_weights: Annotated[tuple[Positive, ...], Field(min_length=1)] = (0.25, 0.5, 1.0, 2.0)

    @model_validator(mode="after")
    def _epochs_ascend(self) -> Self:
        if list(self.bpr_epochs) != sorted(set(self.bpr_epochs)):
            raise ValueError(f"evaluate.grids.bpr_epochs = {list(self.bpr_epochs)} must ascend")
        return self


class EvaluateConfig(Section):
    k: tuple[Count, ...] = (10, 20)  # list lengths at which metrics are reported
    # Baselines to fit; a baseline of a modality that the items lack is left out. (): none.
    baselines: tuple[BaselineName, ...] = BASELINES
    grids: GridConfig = GridConfig()
    # Also train the model on ids alone, to measure the contribution of content; training takes twice as long.
    # None: only where the dataset names the true tastes (`[oracle]`).
    id_only: bool | None = None
    exclude_seen: bool = True  # leave seen items out of the lists. False where users buy the same again
    # Also evaluate towers that are trained on the validation events as well, as many publications do. They
    # are trained for it once more.
    with_validation: bool = False
    knockouts: bool = True  # `recsys run` measures the contribution of each modality
    knockout_users: Count = 500  # test users of the knock-outs, sampled at random
    # Each takes as long as the others. Verdicts compare absent and shuffled, so that noise can be left out.
    knockout_kinds: Annotated[tuple[KnockoutKind, ...], AfterValidator(_with_verdicts)] = (
        "absent",
        "shuffled",
        "noise",
    )
    search_queries: Count = 500  # held-out reviews whose words are queries of search, sampled at random
