"""A bundle that is searched and recommends nothing: of a dataset's items, without training towers."""

from pathlib import Path
from typing import Any

from features.dataset import Dataset, MediaVectors
from features.inputs import build_item_features
from recsys.bundle import Bundle, write_bundle
from recsys.config import Config
from recsys.progress import Progress, silent
from training.export.catalogue import write_catalogue, write_encoders
from training.export.search_part import write_search_part
from training.imputation import with_imputed
from training.search import Searchable


def index_items(
    target: Path,
    dataset: Dataset,
    vectors: MediaVectors,
    config: Config,
    *,
    progress: Progress = silent,
) -> Bundle:
    """Write the search bundle of all items of `dataset`; a former bundle in `target` is replaced at the end.

    All reviews are read. Where the dataset has interactions, the popularity of items counts them.
    """
    vectors = with_imputed(dataset, vectors, config)
    features = build_item_features(dataset, vectors, train=dataset.interactions, reviews=dataset.reviews)

    def fill(directory: Path) -> dict[str, Any]:
        write_catalogue(directory, dataset, features, None)
        encoders = write_encoders(directory, features.dense, config)
        searchable = Searchable(dataset, features, vectors, dataset.reviews)
        search, parity = write_search_part(directory, searchable, config, encoders, progress=progress)
        return {
            "config": config.model_dump(mode="json", exclude={"track"}),
            "dataset": {"name": dataset.name, "fingerprint": dataset.fingerprint()},
            "refit": False,
            "refit_description": "Items alone: nothing was trained on events.",
            "metrics": {},
            "modalities": tuple(features.dense),
            "encoders": encoders,
            "graphs": {},
            "search": search,
            "parity": parity,
        }

    return write_bundle(target, fill)
