"""The options of an ablation, and options that change nothing."""

from pathlib import Path

import pytest
from ablation_parts import run_of_a_log

from features.inputs.item_features import build_item_features
from recsys.config import Config, build_config, changed
from recsys.errors import ConfigError
from training.experiments.options import NEEDS, OPTIONS, choose_options, names_in, offered


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_changes_a_configuration(name: str) -> None:
    fusion = "gated" if name != "gated-fusion" else "mean"
    views = {"weight": 0.3 if "views" in name else 0.0}
    base = build_config({"model": {"item": {"fusion": fusion}}, "train": {"auxiliary": {"views": views}}})
    (option,), left_out = choose_options([name], base, NEEDS)
    assert not left_out
    assert changed(base, option.settings) != base


def test_by_default_all_that_change_something() -> None:
    options, left_out = choose_options(None, Config(), NEEDS)
    there = "it is configured so already"
    assert left_out == {"attention-fusion": there, "self-supervised-views": there}
    assert [option.name for option in options] == [name for name in OPTIONS if name not in left_out]


def test_what_the_data_lack_is_left_out_with_the_reason() -> None:
    options, left_out = choose_options(None, Config(), {"content", "id", "kinds", "values", "profiles"})
    assert left_out["no-event-time"] == "the data have no clock"
    assert left_out["no-event-reviews"] == "there are no reviews"
    assert "no-event-value" in [option.name for option in options]


def test_a_setting_is_an_option_by_itself() -> None:
    options, _ = choose_options(["train.epochs=3", "mean-fusion", "mean-fusion"], Config(), NEEDS)
    assert [(each.name, dict(each.settings)) for each in options] == [
        ("train.epochs=3", {"train.epochs": 3}),
        ("mean-fusion", {"model.item.fusion": "mean"}),
    ]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mean-fuson", "unknown option 'mean-fuson'; did you mean 'mean-fusion'"),
        ("train.epoch=3", "did you mean 'train.epochs'"),
        ("train.epochs=0", "train.epochs = 0"),
        ("attention-fusion", "option 'attention-fusion': it is configured so already"),
        ("no-event-time", "option 'no-event-time': the data have no clock"),
    ],
)
def test_a_name_that_cannot_be_taken_is_refused(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        choose_options([name], Config(), {"content"})


def test_what_data_and_configuration_offer(tmp_path: Path) -> None:
    run = run_of_a_log(tmp_path)
    facts = run.split.statistics
    items = build_item_features(run.dataset, run.vectors, train=facts, reviews=run.split.reviews)
    there = offered(run.dataset, run.vectors, facts, items, run.config)
    # One kind of event, no value, no user fields; titles and reviews, and fewer items than are sampled.
    assert there == {"content", "vectors", "two modalities", "id", "clock", "reviews"}
    blind = changed(run.config, OPTIONS["no-content"].settings)
    assert offered(run.dataset, run.vectors, facts, items, blind) == {"id", "clock", "reviews"}
    fewer = changed(run.config, {"model.item.modalities": ["title", "categories"]})
    assert offered(run.dataset, run.vectors, facts, items, fewer) == there - {"two modalities"}
    fields = changed(run.config, {"model.item.modalities": ["colour"]})
    assert offered(run.dataset, run.vectors, facts, items, fields) == there - {"two modalities", "vectors"}
    sampled = changed(run.config, {"train.sampled_above": 3})
    assert "sampled" in offered(run.dataset, run.vectors, facts, items, sampled)


def test_a_comma_in_brackets_belongs_to_a_setting() -> None:
    text = 'mean-fusion, model.item.modalities=["title","text"] ,train.epochs=3,evaluate.k=[5, 10]'
    assert names_in(text) == [
        "mean-fusion",
        'model.item.modalities=["title","text"]',
        "train.epochs=3",
        "evaluate.k=[5, 10]",
    ]
