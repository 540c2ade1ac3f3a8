"""The champion evaluated anew, on the test of a run that was trained on newer data of the same dataset.

Shape suffixes: U users that are compared, K ranks, N items of the champion.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import polars as pl

from features.dataset import IdMaps
from features.inputs import HistoryBuilder, ReviewVectors
from features.splits import GROUND_TRUTH
from recsys.arrays import Ints
from recsys.bundle import Bundle, compose_bundle
from recsys.columns import Columns
from recsys.ids import NUM_RESERVED, PAD, UNKNOWN
from recsys.metrics import IdLists
from training.evaluation import MODEL, Predictions, System
from training.pipeline import Run
from training.publishing.champion import Champion
from training.publishing.quality import Comparison, parts_of, popularity_of


class NotComparableError(Exception):
    """Why two models cannot be compared; the message is for the table of bars."""


def on_newer_data(run: Run, bundle: Bundle, predictions: Predictions, champion: Champion) -> Comparison:
    """Both models on the test users of `run` whose test events are all later than what the champion can know.

    The champion may have been trained on every event up to its newest one, so that only later events are a
    test for it. It reads the histories of the run's split, as the run's own model does, and answers with the
    items that both catalogues have. Raises `NotComparableError`.
    """
    _check_datasets(bundle, champion)
    with run.directory.locked():  # the split may be written anew
        return _compared(run, bundle, predictions, champion)


def _compared(run: Run, bundle: Bundle, predictions: Predictions, champion: Champion) -> Comparison:
    users = _later_users(run, champion)
    rows = np.array([at for at, user in enumerate(predictions.users) if user in users], np.int64)
    if not len(rows):
        raise NotComparableError(
            "the champion was trained on another state of the dataset, and every test event of this run is "
            f"older than {_day(champion)}, up to which the champion may know all; train with "
            "split.protocol = 'global_temporal' on data that go on beyond that day"
        )
    kept = _of_rows(predictions, rows)
    known = set(champion.bundle.item_ids.external)
    wanted = np.unique(np.concatenate([kept.warm.ids, kept.cold.ids]))
    if not any(bundle.item_ids.external[item - NUM_RESERVED] in known for item in wanted.tolist()):
        raise NotComparableError("no item of the test is in the catalogue of the champion")
    return Comparison(
        challenger_UK=kept.models[MODEL],
        champion_UK=_lists_of(champion.bundle, run, bundle, kept),
        parts=parts_of(kept, popularity_of(run.directory, bundle.item_ids)),
    )


def _check_datasets(bundle: Bundle, champion: Champion) -> None:
    challenger, served = bundle.manifest, champion.bundle.manifest
    if challenger.dataset.name != served.dataset.name:
        raise NotComparableError(
            f"the champion is of the dataset {served.dataset.name!r}, this bundle of "
            f"{challenger.dataset.name!r}; publish it into a store of its own"
        )
    if not bundle.sequence_schema.has_clock or champion.version.newest_event is None:
        raise NotComparableError(
            "the champion was trained on another state of the dataset, and which events it has learned is "
            "unknown without times or the histories of its run; train its settings on these data to compare"
        )
    for kind, width in (
        ("text", champion.bundle.sequence_schema.review_text_dim),
        ("audio", champion.bundle.sequence_schema.review_audio_dim),
    ):
        if width and _encoder(bundle, kind) != _encoder(champion.bundle, kind):
            raise NotComparableError(f"the champion reads reviews by another {kind} encoder")


def _encoder(bundle: Bundle, kind: str) -> list[tuple[str, str]]:
    folder = bundle.manifest.encoders.get(kind)
    files = sorted(bundle.manifest.files.items())
    return [pair for pair in files if folder and pair[0].startswith(f"{folder}/")]


def _later_users(run: Run, champion: Champion) -> set[str]:
    truth = pl.scan_parquet(run.directory.split / GROUND_TRUTH, glob=False)
    first = truth.group_by(Columns.USER).agg(pl.col(Columns.TIMESTAMP).min())
    later = first.filter(pl.col(Columns.TIMESTAMP) > champion.version.newest_event).collect()
    return set(later[Columns.USER].to_list())


def _day(champion: Champion) -> str:
    assert champion.version.newest_event is not None
    return datetime.fromtimestamp(champion.version.newest_event / 1e6, UTC).isoformat(timespec="seconds")


def _of_rows(predictions: Predictions, rows: Ints) -> Predictions:
    """The predictions of these users alone."""

    def some(lists: IdLists) -> IdLists:
        every = lists.to_lists()
        return IdLists.from_lists([every[row] for row in rows])

    return Predictions(
        users=tuple(predictions.users[row] for row in rows),
        num_seen=predictions.num_seen[rows],
        warm=some(predictions.warm),
        cold=some(predictions.cold),
        models={name: lists_UK[rows] for name, lists_UK in predictions.models.items()},
    )


def _lists_of(champion: Bundle, run: Run, bundle: Bundle, kept: Predictions) -> Ints:
    """The champion's lists for the users of `kept`, in the ids of `bundle`. Shape [U, K]."""
    columns = {field: f"{Columns.CATEGORY_PREFIX}{field}" for field in champion.profile_ids}
    missing = [field for field, column in columns.items() if column not in run.dataset.users]
    if missing:
        raise NotComparableError(f"the champion reads fields of users that are gone: {missing}")
    schema = champion.sequence_schema
    has_reviews = schema.review_text_dim or schema.review_audio_dim
    builder = HistoryBuilder(
        run.dataset,
        item_ids=champion.item_ids,
        maps=IdMaps(kinds=champion.event_ids, profiles=dict(champion.profile_ids)),
        reviews=ReviewVectors.of(run.vectors) if has_reviews else None,
        allowed_reviews=run.split.reviews if has_reviews else None,
    )
    histories = run.split.testing(set(kept.users)).before_test(builder)
    system = System(
        "champion",
        compose_bundle(champion)[0],
        histories,
        empty=builder.empty,
        exclude_seen=run.config.evaluate.exclude_seen,
        owners=champion.owners.names,
    )
    ours_N = _ids_of(champion.item_ids.external, bundle)
    width = kept.models[MODEL].shape[1]
    return ours_N[system.recommend(kept.users, width, allowed=ours_N > UNKNOWN)]


def _ids_of(names: Sequence[str], bundle: Bundle) -> Ints:
    """Ids in `bundle` by id of the champion, `UNKNOWN` for an item that only the champion has. Shape [N]."""
    return np.concatenate([[PAD, UNKNOWN], bundle.item_ids.encode(names)]).astype(np.int64)
