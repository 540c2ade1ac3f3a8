"""One fit: from audited inputs to towers, cold start, candidate sources, ranker, and a recommender in torch.

The same function makes the evaluated model, its id-only model and the refit that goes into a bundle.
"""

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from features.inputs import HistoryBuilder, IdMaps
from features.leakage import Audit
from recsys.arrays import Floats
from recsys.history import SequenceSchema
from recsys.item_features import ItemFeatures
from recsys.models import Retriever
from recsys.progress import Progress, silent
from recsys.retrieval import CandidateSource, Recommender
from training.candidates import FitOptions, Interactions, fit_sources
from training.cold_ranker import ColdRankerChoice, choose_cold_ranker, make_cold_ranker
from training.cold_start import (
    ColdItems,
    ContentRegression,
    ValidationUsers,
    cold_items_of,
    fit_cold_start_head,
    pseudo_cold_vectors,
)
from training.fitting.after_towers import AfterTowers, after_towers_key, load_or_fit
from training.fitting.checkpoint_key import checkpoint_key, digest_of_parameters
from training.fitting.inputs import AuditedInputs, FitInputs
from training.fitting.recent_popularity import HalfLife, choose_half_life, decayed_counts
from training.fitting.torch_recommender import make_recommender
from training.fitting.validation import (
    is_ranker_user,
    ranking_task,
    tower_validation,
    validation_users,
    without_ranker_users,
)
from training.fitting.without_events import (
    POPULARITY,
    WithoutEvents,
    choose_cold_ranks,
    choose_without_events,
)
from training.ranker import FittedRanker, fit_ranker
from training.ranks import ONE_RANK, Ranks
from training.runtime import keep_freed_memory
from training.towers import FittedRetriever, fit_retriever

logger = logging.getLogger(__name__)
OnEpoch = Callable[[int, dict[str, float]], None]  # the number of an epoch of the towers, and its results


@dataclass(frozen=True, kw_only=True)
class HeldOutUsers:
    """The users that `includes` names, and a recommender that has not learned their validation events."""

    recommender: Recommender
    includes: Callable[[str], bool]


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A trained system over one catalogue."""

    features: ItemFeatures
    schema: SequenceSchema
    maps: IdMaps
    builder: HistoryBuilder
    retriever: FittedRetriever
    ranker: FittedRanker | None
    recommender: Recommender
    cold_items: ColdItems
    without_events: WithoutEvents  # whether the towers or popularity answer users without events
    cold_ranker: ColdRankerChoice
    audit: Audit  # of the inputs

    def digest(self) -> str:
        """A hexadecimal SHA-256 of the parameters and of the settings of lists, for what is kept of them."""
        modules = [self.retriever.model, *([self.ranker.module] if self.ranker else [])]
        read = (
            digest_of_parameters(*modules),
            self.recommender.settings,
            self.features.item_ids.external,
            self.cold_ranker,
        )
        return hashlib.sha256(repr(read).encode()).hexdigest()

    def held_out(self) -> tuple[HeldOutUsers, ...]:
        """The validation users in groups, each with a recommender that has not learned its validation events.

        The ranker of `recommender` is trained on the validation events of all users. Here the half of the
        users that trains it at first, and the half that chooses its epoch and its blend weight, each have the
        ranker that is trained on the other half. These two choices, the number of epochs of the towers and
        the few weights of the cold ranker are all that a recommender has of the validation events of its
        group. On the other side, half of the lists make a slightly worse ranker. Without a ranker there is
        one group; without cross-fitted rankers, as after a refit, none.
        """
        ranker = self.ranker
        if ranker is None or not ranker.is_used:
            return (HeldOutUsers(recommender=self.recommender, includes=lambda user: True),)
        if ranker.cross_fitted is None:
            return ()
        share = self.retriever.model.config.ranker.target_users
        return (
            HeldOutUsers(
                recommender=self.recommender.with_ranker(ranker.cross_fitted.for_train.rank),
                includes=lambda user: is_ranker_user(user, share),
            ),
            HeldOutUsers(
                recommender=self.recommender.with_ranker(ranker.cross_fitted.for_validation.rank),
                includes=lambda user: not is_ranker_user(user, share),
            ),
        )


@dataclass(frozen=True, kw_only=True)
class FitChoices:
    """Choices of an earlier fit on validation, for a fit without validation events to choose on."""

    epochs: int
    ranker_epochs: int
    blend_weight: float  # of the ranker's output in the score; 0: no ranker
    cold_items: ColdItems = field(default_factory=ColdItems)
    without_events: WithoutEvents = POPULARITY
    cold_ranker: ColdRankerChoice = field(default_factory=ColdRankerChoice)

    @classmethod
    def of(cls, fitted: Fitted) -> "FitChoices":
        """The choices of `fitted`."""
        ranker = fitted.ranker
        return cls(
            epochs=fitted.retriever.best_epoch,
            ranker_epochs=ranker.best_epoch if ranker else 0,
            blend_weight=ranker.blend_weight if ranker else 0.0,
            cold_items=fitted.cold_items,
            without_events=fitted.without_events,
            cold_ranker=fitted.cold_ranker,
        )


def fit(
    audited: AuditedInputs,
    *,
    choices: FitChoices | None = None,
    checkpoint: Path | None = None,
    after_towers: Path | None = None,
    progress: Progress = silent,
    on_epoch: OnEpoch | None = None,
    ranks: Ranks = ONE_RANK,
) -> Fitted:
    """Fit the towers on training events, and the ranker on validation events of some users.

    Without `choices`, early stopping of the towers uses the validation events of all users. Epoch and blend
    weight of the ranker are chosen on users that the ranker is not trained on. With `choices`, nothing is
    chosen. A `checkpoint` of the same inputs is resumed; the directory `after_towers` keeps everything that
    is fitted after the towers, for the next call. The other `ranks` join the fit of the towers by
    `fit_towers`. Raises `TypeError` for inputs that were not audited.
    """
    if not isinstance(audited, AuditedInputs):
        raise TypeError(f"fit takes the result of audit(inputs), not {type(audited).__name__}")
    inputs, config = audited.inputs, audited.inputs.config
    has_validation = _has_validation(inputs, choices)
    retriever = fit_towers(
        inputs, choices, checkpoint=checkpoint, progress=progress, on_epoch=on_epoch, ranks=ranks
    )
    model = retriever.model
    parts = load_or_fit(
        after_towers,
        lambda: after_towers_key(inputs, checkpoint_key(inputs, choices), model),
        model,
        lambda: _fit_after_towers(model, inputs, choices, has_validation, progress),
    )
    model.cold_start_head = parts.head
    model.recent_popularity = _recent_popularity(inputs, parts.without_events.half_life_days)
    return Fitted(
        features=inputs.features,
        schema=inputs.schema,
        maps=inputs.maps,
        builder=inputs.builder,
        retriever=retriever,
        ranker=parts.ranker,
        recommender=make_recommender(
            model,
            config,
            parts.ranker,
            sources=parts.sources,
            without_events=parts.without_events,
            cold_ranker=parts.cold_ranker,
            cold_ranks=parts.cold_items.cold_ranks,
        ),
        cold_items=parts.cold_items,
        without_events=parts.without_events,
        cold_ranker=parts.cold_ranker_choice,
        audit=audited.audit,
    )


def _fit_after_towers(
    model: Retriever,
    inputs: FitInputs,
    choices: FitChoices | None,
    has_validation: bool,
    progress: Progress,
) -> AfterTowers:
    """Everything that the trained towers are completed with; the cold-start head is set in `model`."""
    config, seed = inputs.config, inputs.config.train.seed
    chosen = choices.cold_items if choices else None
    users = validation_users(model, inputs) if has_validation else None
    regression = fit_cold_start_head(model, users, config.model, chosen=chosen, seed=seed)
    of_cold = choices.cold_ranker if choices else _choose_cold_ranker(model, users, regression, inputs)
    sources = _fit_sources(inputs, choices)
    ranker = _fit_ranker(model, sources, inputs, choices, progress)
    if users is not None and ranker is not None:
        users = without_ranker_users(users, inputs, ranker)
    cold_items = cold_items_of(model, users, regression, config.model, chosen=chosen, seed=seed)
    return AfterTowers(
        head=model.cold_start_head,
        sources=sources if ranker is not None and ranker.is_used else (),
        ranker=ranker,
        cold_items=cold_items,
        without_events=(
            choices.without_events if choices else _choose_without_events(model, inputs, cold_items)
        ),
        cold_ranker=make_cold_ranker(inputs.features, of_cold, config.model.cold_start),
        cold_ranker_choice=of_cold,
    )


def fit_towers(
    inputs: FitInputs,
    choices: FitChoices | None,
    *,
    checkpoint: Path | None,
    progress: Progress = silent,
    on_epoch: OnEpoch | None = None,
    ranks: Ranks = ONE_RANK,
) -> FittedRetriever:
    """The towers of `fit`. All `ranks` call it with the same inputs and choices; see `fit_retriever`."""
    config = inputs.config
    keep_freed_memory()  # not before: what the inputs and their audit free would stay beside the training
    return fit_retriever(
        inputs.features,
        inputs.schema,
        inputs.sequences,
        model_config=config.model,
        config=config.train,
        validate=tower_validation(inputs) if _has_validation(inputs, choices) else None,
        epochs=choices.epochs if choices else None,
        index_kind=config.index.kind,
        checkpoint=checkpoint,
        fingerprint=checkpoint_key(inputs, choices),
        progress=progress,
        on_epoch=on_epoch,
        ranks=ranks,
    )


def _has_validation(inputs: FitInputs, choices: FitChoices | None) -> bool:
    return bool(inputs.ground_truth) and choices is None


def _choose_cold_ranker(
    model: Retriever,
    users: ValidationUsers | None,
    regression: ContentRegression | None,
    inputs: FitInputs,
) -> ColdRankerChoice:
    config, reads_content = inputs.config.model.cold_start, inputs.config.model.item.use_content
    if users is None or not config.ranker or not reads_content:
        return ColdRankerChoice()
    vectors = pseudo_cold_vectors(model, regression)
    return choose_cold_ranker(inputs.features, users, vectors, config, seed=inputs.config.train.seed)


def _recent_popularity(inputs: FitInputs, half_life_days: float | None) -> Floats | None:
    if half_life_days is None:
        return None
    return decayed_counts(inputs.sequences, inputs.features.size, half_life_days)


def _choose_without_events(model: Retriever, inputs: FitInputs, cold_items: ColdItems) -> WithoutEvents:
    users = [*inputs.ground_truth, *inputs.ground_truth_without_events]
    nothing, leaves_out = np.empty(0, np.int64), inputs.config.evaluate.exclude_seen
    chosen = HalfLife(reason="the data have no times")
    if inputs.schema.has_clock:
        chosen = choose_half_life(
            model.item_arrays(),
            inputs.sequences,
            [(inputs.ground_truth | inputs.ground_truth_without_events)[user] for user in users],
            [inputs.before[user].seen if leaves_out and user in inputs.before else nothing for user in users],
            inputs.config.model.half_lives_days,
        )
    model.recent_popularity = _recent_popularity(inputs, chosen.days)
    histories = {user: inputs.builder.empty(user) for user in inputs.ground_truth_without_events}
    recommender = make_recommender(model, inputs.config, cold_ranks=cold_items.cold_ranks)
    answer = choose_without_events(recommender, histories, inputs.ground_truth_without_events)
    has_cold_ranks, reason = choose_cold_ranks(recommender, histories, inputs.ground_truth_without_events)
    return replace(
        answer,
        half_life_days=chosen.days,
        half_life_reason=chosen.reason,
        has_cold_ranks=has_cold_ranks,
        cold_reason=reason,
    )


def _has_ranker(inputs: FitInputs, choices: FitChoices | None) -> bool:
    """Whether the configuration has a ranker and no earlier fit gave it the blend weight 0."""
    return inputs.config.model.ranker.enabled and (choices is None or choices.blend_weight > 0.0)


def _fit_sources(inputs: FitInputs, choices: FitChoices | None) -> tuple[CandidateSource, ...]:
    """The candidate sources, fitted on the audited items; none without a ranker."""
    if not _has_ranker(inputs, choices) or inputs.source_items is None:
        return ()
    config = inputs.config
    interactions = Interactions(user_items=inputs.source_items, num_items=inputs.features.size)
    options = FitOptions(
        index_kind=config.index.kind,
        num_threads=config.train.num_threads or 0,
        items=inputs.features if config.model.item.use_content else None,
    )
    return fit_sources(config.model.ranker.sources, interactions, config.sources, options)


def _fit_ranker(
    model: Retriever,
    sources: tuple[CandidateSource, ...],
    inputs: FitInputs,
    choices: FitChoices | None,
    progress: Progress,
) -> FittedRanker | None:
    """The ranker, trained on candidates of towers and `sources`; None without a warm target in any list."""
    if not _has_ranker(inputs, choices):
        return None
    config, settings = inputs.config, inputs.config.model.ranker
    own = [user for user in inputs.ground_truth if is_ranker_user(user, settings.target_users)]
    others = [user for user in inputs.ground_truth if not is_ranker_user(user, settings.target_users)]
    if not own or (choices is None and not others):
        logger.warning(
            "no ranker is fitted: no validation events for its training or the choice of its epoch"
        )
        return None
    return fit_ranker(
        make_recommender(model, config, sources=sources),
        train=ranking_task(inputs, own),
        validation=ranking_task(inputs, others) if choices is None else None,
        config=settings,
        seed=config.train.seed,
        epochs=choices.ranker_epochs if choices else None,
        blend_weight=choices.blend_weight if choices else 1.0,
        cross_fit=config.search.enabled,
        device=model.device,
        progress=progress,
    )
