"""The baselines of a dataset, and the choice of their settings on validation."""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from features.splits import InMemorySplit, Split
from recsys.columns import Columns
from recsys.config import ALSConfig, EASEConfig, GridConfig, ItemItemConfig
from recsys.item_features import ItemFeatures
from recsys.progress import Progress, silent
from training.baselines.collaborative import ALS, BPR, EASE, BPRSettings, ItemItem
from training.baselines.content import (
    CONTENT_NAMES,
    OF_REVIEWS,
    ContentNeighbors,
    ContentSettings,
    content_candidates,
    content_settings,
    modalities_of,
)
from training.baselines.fusion import Fusion, choose_fusion
from training.baselines.known import KnownEvents, Seen
from training.baselines.popularity import Popularity, PopularitySettings, RecentPopularity
from training.baselines.tuning import (
    Choice,
    ValidationTask,
    choose,
    cold_task,
    has_test_events_in_history,
    inner_split,
    training_seen,
    warm_task,
)
from training.evaluation import TopK

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ChosenSettings:
    """The settings chosen for one baseline, and the validation task that they were chosen on."""

    name: str
    settings: Mapping[str, Any]
    validation_ndcg: float | None  # NDCG@10; None: validation has no pair
    task: str  # description of the validation task; empty where there was nothing to choose
    num_candidates: int
    cpu_seconds: float


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """A baseline with its chosen settings."""

    model: TopK
    chosen: ChosenSettings


def choose_baselines(
    names: Collection[str],
    split: Split,
    items: ItemFeatures,
    *,
    seen: Seen,
    has_clock: bool,
    grids: GridConfig | None = None,
    num_threads: int = 0,
    progress: Progress = silent,
) -> list[Baseline]:
    """The baselines among `names` that the data allow, each with the best settings on validation.

    Items of `seen` are left out of the lists at test time; None leaves nothing out. For a streamed log only
    popularity needs no events in memory; it then counts all training events without decay.
    Raises `DataError` where training has no positive event and a matrix model is among the names.
    """
    if not split.is_in_memory:
        if set(names) <= {Popularity.name}:
            return [_counted(split, items, seen)] if names else []
        logger.warning(
            "baselines other than popularity hold all events in memory; "
            'to leave them out, set evaluate.baselines = ["popularity"]'
        )
    chooser = _Chooser(split.in_memory(), items, seen, grids or GridConfig(), num_threads, progress)
    steps: dict[str, Callable[[], Baseline]] = {
        Popularity.name: chooser.popularity if has_clock else lambda: _counted(split, items, seen),
        ALS.name: chooser.als,
        BPR.name: chooser.bpr,
        ItemItem.name: chooser.item_item,
        EASE.name: chooser.ease,
    }
    found = [step() for name, step in steps.items() if name in names]
    return [*found, *chooser.content(names)]


def _counted(split: Split, items: ItemFeatures, seen: Seen) -> Baseline:
    """Popularity without decay, which has no settings."""
    chosen = ChosenSettings(
        name=Popularity.name,
        settings={},
        validation_ndcg=None,
        task="",
        num_candidates=1,
        cpu_seconds=0.0,
    )
    return Baseline(model=Popularity(split, items, seen=seen), chosen=chosen)


class _Chooser:
    def __init__(
        self,
        split: InMemorySplit,
        items: ItemFeatures,
        seen: Seen,
        grids: GridConfig,
        num_threads: int,
        progress: Progress,
    ) -> None:
        self._split, self._items, self._seen = split, items, seen
        self._grids, self._num_threads, self._progress = grids, num_threads, progress
        self._inner = inner_split(split)
        self._inner_seen = None if seen is None else training_seen(split, items)

    @cached_property
    def _known(self) -> KnownEvents:
        return KnownEvents.of(self._split, self._items, seen=self._seen)

    @cached_property
    def _warm(self) -> ValidationTask:
        return warm_task(self._split, self._items, seen=self._inner_seen)

    @cached_property
    def _content(self) -> ValidationTask:
        """The task on cold items if the test has any, since content neighbours can recommend them."""
        tested = self._items.item_ids.encode(self._split.test[Columns.ITEM].unique())
        if self._split.items_before_test(self._items.item_ids)[tested].all():
            return self._warm
        any_time = has_test_events_in_history(self._split)
        return cold_task(self._split, self._items, seen=self._inner_seen, any_time=any_time)

    def popularity(self) -> Baseline:
        tried = [
            PopularitySettings(half_life_days=days) for days in (None, *self._grids.popularity_half_life_days)
        ]

        def candidates(_: Any) -> Iterable[tuple[Any, RecentPopularity]]:
            for settings in tried:
                yield (
                    settings,
                    RecentPopularity(self._inner, self._items, seen=self._inner_seen, settings=settings),
                )

        choice = choose(
            Popularity.name,
            self._warm,
            [candidates],
            num_candidates=len(tried),
            progress=self._progress,
        )
        # Not the model of validation: the test may have one cut-off for all users where validation has none.
        model = RecentPopularity(self._split, self._items, seen=self._seen, settings=choice.settings)
        return self._baseline(model, choice, self._warm)

    def als(self) -> Baseline:
        def candidates(_: Any) -> Iterable[tuple[ALSConfig, ALS]]:
            for settings in self._grids.als:
                yield (
                    settings,
                    ALS(
                        self._inner,
                        self._items,
                        seen=self._inner_seen,
                        settings=settings,
                        num_threads=self._num_threads,
                    ),
                )

        return self._matrix(ALS.name, [candidates], len(self._grids.als))

    def bpr(self) -> Baseline:
        epochs = self._grids.bpr_epochs

        def candidates(_: Any) -> Iterable[tuple[BPRSettings, BPR]]:
            for each in self._grids.bpr:
                settings = BPRSettings(**each.model_dump())
                for model in BPR.snapshots(
                    self._inner, self._items, seen=self._inner_seen, settings=settings, epochs=epochs
                ):
                    yield model.settings, model

        return self._matrix(BPR.name, [candidates], len(self._grids.bpr) * len(epochs))

    def item_item(self) -> Baseline:
        grids = self._grids

        def fitted(settings: ItemItemConfig) -> tuple[ItemItemConfig, ItemItem]:
            return settings, ItemItem(
                self._inner,
                self._items,
                seen=self._inner_seen,
                settings=settings,
                num_threads=self._num_threads,
            )

        def weighted(_: Any) -> Iterable[tuple[ItemItemConfig, ItemItem]]:
            return (fitted(each) for each in grids.item_item)

        def widened(best: ItemItemConfig | None) -> Iterable[tuple[ItemItemConfig, ItemItem]]:
            assert best is not None
            return (
                fitted(best.model_copy(update={"neighbors": number})) for number in grids.item_item_neighbors
            )

        num = len(grids.item_item) + len(grids.item_item_neighbors)
        return self._matrix(ItemItem.name, [weighted, widened], num)

    def ease(self) -> Baseline:
        def candidates(_: Any) -> Iterable[tuple[EASEConfig, EASE]]:
            for settings in self._grids.ease:
                yield settings, EASE(self._inner, self._items, seen=self._inner_seen, settings=settings)

        return self._matrix(EASE.name, [candidates], len(self._grids.ease))

    def content(self, names: Collection[str]) -> list[Baseline]:
        """The content baselines among `names`: single modalities, and the fusion of those with the same task.

        The fusion needs its parts fitted, whether they are among `names` or not.
        """
        fused = Fusion.name in names
        modalities = [name for name in modalities_of(self._items) if fused or CONTENT_NAMES[name] in names]
        choices = {name: self._modality(name) for name in modalities}
        found = [
            self._baseline(choice.model.with_known_events(self._known), choice, self._task(name))
            for name, choice in choices.items()
            if choice.model.name in names
        ]
        parts = [choice for name, choice in choices.items() if self._task(name) is self._content]
        if fused and len(parts) > 1:
            fusion = choose_fusion(
                parts,
                self._content,
                known=self._known,
                further_weights=self._grids.fusion_weights,
                progress=self._progress,
            )
            found.append(self._baseline(fusion.model, fusion, self._content))
        return found

    def _task(self, modality: str) -> ValidationTask:
        """The warm task for review modalities: reviews of an item remain when its events are hidden."""
        return self._warm if modality in OF_REVIEWS else self._content

    def _modality(self, modality: str) -> Choice[ContentSettings, ContentNeighbors]:
        tried = content_settings(self._grids.content_last)
        return choose(
            CONTENT_NAMES[modality],
            self._task(modality),
            [lambda _: content_candidates(self._inner, self._items, modality, tried, seen=self._inner_seen)],
            num_candidates=len(tried),
            progress=self._progress,
        )

    def _matrix(self, name: str, stages: Any, num_candidates: int) -> Baseline:
        choice: Choice[Any, Any] = choose(
            name, self._warm, stages, num_candidates=num_candidates, progress=self._progress
        )
        # Items are fitted on training alone, so the model of validation is also the model of the test.
        return self._baseline(choice.model.with_known_events(self._known), choice, self._warm)

    def _baseline(self, model: TopK, choice: Choice[Any, Any], task: ValidationTask) -> Baseline:
        chosen = ChosenSettings(
            name=model.name,
            settings=dict(vars(choice.settings)),
            validation_ndcg=choice.validation_ndcg,
            task=task.description,
            num_candidates=choice.num_candidates,
            cpu_seconds=round(choice.cpu_seconds, 2),
        )
        if choice.validation_ndcg is None:
            logger.warning("%s: no validation pair to choose on, the first settings are used", model.name)
        return Baseline(model=model, chosen=chosen)
