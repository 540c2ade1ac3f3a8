"""The champion, the version of a store that is served, and the files of a run that a version keeps."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from recsys.bundle import Bundle, Store, Version
from recsys.columns import Columns
from recsys.errors import DataError
from recsys.ids import IdMap
from training.evaluation import MODEL, Evaluation, Predictions
from training.run_directory import RunDirectory

HISTORIES: Final = "histories.parquet"
PREDICTIONS: Final = "predictions.parquet"  # of the model alone, without its competitors


@dataclass(frozen=True, kw_only=True)
class Champion:
    """The current version, its bundle, and its lists in the evaluation of its own run."""

    version: Version
    bundle: Bundle
    predictions: Path

    @classmethod
    def of(cls, store: Store) -> "Champion | None":
        """The champion of `store`, None where nothing is served yet.

        Raises `BundleError` where its files are damaged.
        """
        current = store.pointer.current
        if current is None:
            return None
        return cls(
            version=store.version(current),
            bundle=Bundle.open(store.bundle_path(current)),
            predictions=store.directory(current) / PREDICTIONS,
        )


def kept_files(run: RunDirectory, bundle: Bundle, folder: Path, *, histories: bool) -> dict[str, Path]:
    """Files of `run` to keep beside its bundle, by name; the lists of the model are written to `folder`."""
    kept = {HISTORIES: run.histories} if histories and run.histories.is_file() else {}
    if run.predictions.is_file():
        kept[PREDICTIONS] = folder / PREDICTIONS
        of_model(run.predictions, bundle.item_ids).save(kept[PREDICTIONS], bundle.item_ids)
    return kept


def of_model(path: Path, item_ids: IdMap) -> Predictions:
    """The ground truth and the lists of the model alone. Raises `DataError` where `path` cannot be read."""
    try:
        found = Predictions.load(path, item_ids)
        lists_UK = found.models[MODEL]
    except (OSError, LookupError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{path} cannot be read: {error}; make it again with: recsys evaluate RUN") from None
    return Predictions(
        users=found.users,
        num_seen=found.num_seen,
        warm=found.warm,
        cold=found.cold,
        models={MODEL: lists_UK},
    )


def evaluation_of(run: RunDirectory) -> Evaluation:
    """The evaluation of `run`. Raises `DataError` where its file cannot be read."""
    try:
        return Evaluation.from_json(run.metrics.read_text("utf-8"))
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise DataError(
            f"{run.metrics} cannot be read: {error}; make it again with: recsys evaluate RUN"
        ) from None


def newest_event(histories: Path, bundle: Bundle) -> int | None:
    """Time of the newest event in `histories`, in microseconds; None without a clock or histories."""
    if not bundle.sequence_schema.has_clock or not histories.is_file():
        return None
    newest = pl.scan_parquet(histories, glob=False).select(pl.col(Columns.TIMESTAMP).list.max().max())
    found = newest.collect().item()
    return None if found is None else int(found)
