"""Which sources are fitted: the configured ones, on positive training events, in memory or on disk."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from fitting_parts import config, log, source_arrays
from prepared_parts import CONFIGS, nasty, streamed

from features.dataset.load import load_dataset
from features.inputs.user_items import UserItems
from features.splits.make import make_split
from features.splits.split import InMemorySplit, Split
from features.splits.streamed import StreamedSplit
from recsys.columns import Columns
from recsys.config import SourcesConfig, load_config
from recsys.errors import ConfigError
from recsys.ids import IdMap
from recsys.retrieval.candidate_sources import FactorSource
from recsys.retrieval.index.faiss import FaissIndex
from training.candidates.fit import fit_function, fit_sources
from training.candidates.interactions import FitOptions, Interactions

NAMES = tuple(SourcesConfig.model_fields)
ONE_THREAD = FitOptions(num_threads=1)


def interactions_of(train: pl.DataFrame) -> Interactions:
    data = log()
    whole = make_split(data, config().split)
    assert isinstance(whole, InMemorySplit)
    split = replace(whole, train=train)
    item_ids = IdMap(data.items[Columns.ITEM].to_list())
    return interactions_before(split, item_ids)


def interactions_before(split: Split, item_ids: IdMap) -> Interactions:
    user_items = UserItems.of(split.positive_training(item_ids), with_times=True)
    return Interactions(user_items=user_items, num_items=item_ids.size)


def train() -> pl.DataFrame:
    return make_split(log(), config().split).train


def test_every_section_has_a_module_that_fits_the_source_of_its_name() -> None:
    interactions = interactions_of(train())
    for name in NAMES:
        fitted = fit_function(name)(interactions, getattr(SourcesConfig(), name), ONE_THREAD)
        if name == "content":  # a source for each modality, none without content
            assert fitted == ()
        elif name == "recent":
            assert [source.name for source in fitted] == ["recent_30", "recent_365", "new"]
        else:
            assert fitted.name == name


def test_sources_come_in_the_order_of_their_names() -> None:
    names = ("popularity", "als")
    found = fit_sources(names, interactions_of(train()), SourcesConfig(), ONE_THREAD)
    assert tuple(source.name for source in found) == names


def test_without_a_positive_event_there_is_no_source() -> None:
    assert fit_sources(NAMES, interactions_of(train().clear()), SourcesConfig(), ONE_THREAD) == ()


def test_the_configuration_is_read() -> None:
    settings = load_config(
        overrides=[
            "sources.als.factors=3",
            "sources.transitions.neighbors=2",
            "sources.item_item.neighbors=4",
        ]
    ).sources
    als, item_item, transitions = fit_sources(NAMES[:3], interactions_of(train()), settings, ONE_THREAD)
    assert source_arrays(als)["factor"].shape[1] == 3
    assert source_arrays(item_item)["neighbor"].shape[1] == 4
    assert source_arrays(transitions)["neighbor"].shape[1] == 2


def test_factors_are_found_by_the_configured_index() -> None:
    pytest.importorskip("faiss")
    options = replace(ONE_THREAD, index_kind="faiss")
    (als,) = fit_sources(("als",), interactions_of(train()), SourcesConfig(), options)
    assert isinstance(als, FactorSource)
    assert isinstance(als.index, FaissIndex)


@pytest.mark.parametrize(
    ("names", "message"),
    [('["as"]', r"model\.ranker\.sources names 'as'; did you mean 'als'"), ('["als", "als"]', "'als' twice")],
)
def test_an_unknown_or_repeated_source_is_refused(names: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(overrides=[f"model.ranker.sources={names}"])


@pytest.mark.parametrize("protocol", CONFIGS)
def test_a_log_on_disk_gives_the_sources_of_a_log_in_memory(tmp_path: Path, protocol: str) -> None:
    root = nasty(tmp_path, 3)
    data, on_disk = load_dataset(root), streamed(root)
    whole = make_split(data, CONFIGS[protocol])
    parts = make_split(on_disk, CONFIGS[protocol], root / "split")
    assert isinstance(parts, StreamedSplit)
    item_ids = IdMap(data.items[Columns.ITEM].to_list())
    fitted = [
        fit_sources(NAMES, interactions_before(split, item_ids), SourcesConfig(), ONE_THREAD)
        for split in (whole, parts)
    ]
    assert not {"train", "validation", "context"} & set(vars(parts)), "the events were never whole in memory"
    assert len(fitted[0]) == len(NAMES) + 1  # "content" has none without content, "recent" three
    for first, second in zip(*fitted, strict=True):
        for name, array in source_arrays(first).items():
            assert array.any()
            np.testing.assert_array_equal(source_arrays(second)[name], array, err_msg=f"{first.name} {name}")
