"""The inputs of one fit, and their audit for leaks before the training.

    inputs = FitInputs.of(dataset, vectors, split, config)
    fitted = fit(audit(inputs))

`fit` takes `AuditedInputs`, whose constructor runs the audit, so inputs without an audit cannot be fitted.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from features.dataset import Dataset, MediaVectors
from features.inputs import (
    HistoryBuilder,
    IdMaps,
    ReviewVectors,
    UserItems,
    build_item_features,
    build_maps,
    build_schema,
)
from features.leakage import Audit, audit_fit
from features.splits import CONTEXT, Split, asking
from recsys.arrays import Ints
from recsys.config import Config, RankerConfig
from recsys.history import History, SequenceSchema
from recsys.item_features import ItemFeatures
from training.sequences import Sequences, TrainingSequence


@dataclass(frozen=True, kw_only=True)
class FitInputs:
    """Everything that a fit reads of a dataset and a split."""

    dataset: Dataset
    vectors: MediaVectors
    split: Split
    config: Config
    features: ItemFeatures
    maps: IdMaps
    schema: SequenceSchema
    builder: HistoryBuilder
    sequences: Sequences  # training sequences by user
    before: Mapping[str, History]  # histories before validation, by user
    ground_truth: dict[str, Ints]  # validation items of users in `before`
    ground_truth_without_events: dict[str, Ints]  # validation items of users without a history
    source_items: UserItems | None  # for the candidate sources; None where the configuration has no source

    @classmethod
    def of(cls, dataset: Dataset, vectors: MediaVectors, split: Split, config: Config) -> "FitInputs":
        """The inputs of a fit of `config` on `split`. Nothing is trained."""
        statistics, model = split.statistics, config.model
        features = build_item_features(dataset, vectors, train=statistics, reviews=split.reviews)
        maps = build_maps(dataset, statistics)
        reads_reviews = model.user.use_reviews and model.item.use_content
        reviews = ReviewVectors.of(vectors) if reads_reviews else None
        builder = HistoryBuilder(
            dataset, item_ids=features.item_ids, maps=maps, reviews=reviews, allowed_reviews=split.reviews
        )
        histories, positive = split.training(builder)
        # Without context events the histories before validation hold the training events alone, too.
        if split.counts[CONTEXT]:
            before = split.before_validation(builder)
        else:
            before = asking(split, histories, is_test=False)
        validation = split.validation_items(features.item_ids)
        return cls(
            dataset=dataset,
            vectors=vectors,
            split=split,
            config=config,
            features=features,
            maps=maps,
            schema=build_schema(dataset, statistics, maps, reviews, model.user),
            builder=builder,
            sequences=Sequences(histories, positive),
            before=before,
            ground_truth={user: items for user, items in validation.items() if user in before},
            ground_truth_without_events={
                user: items for user, items in validation.items() if user not in before
            },
            source_items=_source_items(split, features, model.ranker, has_clock=dataset.has_clock),
        )


@dataclass(frozen=True)
class AuditedInputs:
    """Inputs in which the audit found no leak. Constructing one runs the audit.

    Raises `LeakError` for the first input that a fit must not read.
    """

    inputs: FitInputs
    audit: Audit = field(init=False)  # the checks

    def __post_init__(self) -> None:
        inputs = self.inputs
        audit = audit_fit(
            inputs.dataset,
            inputs.vectors,
            inputs.split,
            features=inputs.features,
            maps=inputs.maps,
            schema=inputs.schema,
            builder=inputs.builder,
            sequences=_TrainingHistories(inputs.sequences),
            before=inputs.before,
            targets=inputs.ground_truth,
            source_items=inputs.source_items,
        )
        object.__setattr__(self, "audit", audit)  # how a frozen dataclass sets a derived field


def audit(inputs: FitInputs) -> AuditedInputs:
    """`inputs`, after the audit has found no leak in them. Raises `LeakError` if it finds one."""
    return AuditedInputs(inputs)


def _source_items(
    split: Split, features: ItemFeatures, config: RankerConfig, *, has_clock: bool
) -> UserItems | None:
    if not config.enabled or not config.sources:
        return None
    with_times = has_clock and "recent" in config.sources
    return UserItems.of(split.positive_training(features.item_ids), with_times=with_times)


class _TrainingHistories(Mapping[str, History]):
    """User -> history of the training sequence, made at each look-up."""

    def __init__(self, sequences: Mapping[str, TrainingSequence]) -> None:
        self._sequences = sequences

    def __getitem__(self, user: str) -> History:
        return self._sequences[user].history

    def __iter__(self) -> Iterator[str]:
        return iter(self._sequences)

    def __len__(self) -> int:
        return len(self._sequences)
