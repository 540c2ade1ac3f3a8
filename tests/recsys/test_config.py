"""Configuration: ranges, errors for unknown keys, and a round trip through TOML."""

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from recsys.config import (
    PRESETS,
    Config,
    build_config,
    dump_config,
    flatten,
    load_config,
    microseconds_of,
)
from recsys.errors import ConfigError


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_presets_are_valid_and_round_trip(tmp_path: Path, preset: str) -> None:
    config = load_config(preset=preset)
    dump_config(config, tmp_path / "config.toml")
    assert load_config(tmp_path / "config.toml") == config


def test_a_preset_changes_a_few_fields() -> None:
    fast = load_config(preset="fast")
    assert fast.model.dim == PRESETS["fast"]["model"]["dim"] != Config().model.dim
    assert fast.model.user.num_heads == Config().model.user.num_heads


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("model.dim=50", "model.dim = 50 is no multiple of model.user.num_heads = 4"),
        ("model.item.sentiment=true", "configuration key 'model.item.sentiment' was removed; delete it"),
        ("model.item.num_heads=6", "model.dim = 64 is no multiple of model.item.num_heads = 6"),
        ("model.user.max_length=1", "model.user.max_length = 1"),
        ("model.temperature=2.0", "model.temperature = 2.0"),
        ("model.temperature=0.001", "model.temperature = 0.001"),
        ('model.ranker.sources=["as"]', "model.ranker.sources names 'as'; did you mean 'als'?"),
    ],
)
def test_what_no_model_can_be_made_of_is_refused(setting: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_config(overrides=[setting])


def test_heads_of_the_item_tower_count_only_where_it_has_any() -> None:
    config = load_config(overrides=["model.item.num_heads=6", "model.item.fusion=mean"])
    assert config.model.item.num_heads == 6


def test_using_a_preset_leaves_it_as_it_was() -> None:
    load_config(preset="fast", overrides=["model.dim=8"])
    assert load_config(preset="fast").model.dim == PRESETS["fast"]["model"]["dim"] != 8


def test_the_file_wins_over_the_preset_and_the_command_line_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text("[train]\nepochs = 4\nseed = 5\n[model]\ndim = 32\n", "utf-8")
    config = load_config(path, preset="fast", overrides=["train.epochs=3"])
    assert (config.train.epochs, config.train.seed, config.model.dim) == (3, 5, 32)


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("encoders.text=my-encoder", "my-encoder"),
        ('encoders.text="my-encoder"', "my-encoder"),
        ("encoders.text=runs/x/text", "runs/x/text"),
        ("encoders.text=a=b", "a=b"),
    ],
)
def test_a_bare_word_is_a_string(override: str, value: str) -> None:
    assert load_config(overrides=[override]).encoders.text == value


def test_lists_and_booleans_on_the_command_line() -> None:
    config = load_config(overrides=["evaluate.k=[5, 50]", "train.refit=false", "evaluate.baselines=[]"])
    assert (config.evaluate.k, config.train.refit, config.evaluate.baselines) == ((5, 50), False, ())


def test_an_override_without_a_value_says_how_to_write_it() -> None:
    with pytest.raises(ConfigError, match=r"write it as name=value"):
        load_config(overrides=["train.epochs"])


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("train.epoch", "train.epochs"),
        ("model.user.max_len", "model.user.max_length"),
        ("trian.seed", "train"),
    ],
)
def test_an_unknown_key_names_the_nearest(key: str, near: str) -> None:
    with pytest.raises(ConfigError, match=f"{key.split('.')[0]}.*did you mean '{near}'"):
        load_config(overrides=[f"{key}=3"])


def test_an_unknown_key_near_to_none_names_its_neighbours() -> None:
    with pytest.raises(ConfigError, match=r"'index\.zzzzzzzz'; known: index\.kind$"):
        load_config(overrides=["index.zzzzzzzz=3"])


def test_an_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'fast'"):
        load_config(preset="fsat")


@pytest.mark.parametrize(
    "override",
    [
        "train.epochs=0",
        "train.epochs=2.5",
        "train.device=tpu",
        "model.temperature=0",
        "model.item.dropout=1.5",
        "train.weight_decay=nan",
        "model.cold_ranks=[3, 21]",
        "model.cold_ranks=[10, 3]",
        "evaluate.k=[0]",
    ],
)
def test_a_value_out_of_range_is_named_with_its_key(override: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(overrides=[override])
    assert str(caught.value).startswith(override.partition("=")[0])


def test_all_wrong_values_are_reported_together() -> None:
    with pytest.raises(ConfigError) as caught:
        build_config({"train": {"epochs": 0, "patience": -1}, "nonsense": 1})
    assert len(str(caught.value).splitlines()) == 3


def test_a_missing_file_and_bad_toml_are_configuration_errors(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no configuration file"):
        load_config(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("[train", "utf-8")
    with pytest.raises(ConfigError, match="is not TOML"):
        load_config(tmp_path / "bad.toml")


def test_a_section_given_a_plain_value_is_refused() -> None:
    with pytest.raises(ConfigError, match="train = 3"):
        load_config(overrides=["train=3"])


def test_the_configuration_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Config().train.epochs = 3  # type: ignore[misc]


def test_flatten() -> None:
    nested = {"train": {"epochs": 3, "user": {"dim": 4}}, "k": [1]}
    assert flatten(nested) == {"train.epochs": 3, "train.user.dim": 4, "k": [1]}


def test_a_replaced_value_is_refused_with_the_new_one() -> None:
    with pytest.raises(ConfigError, match=r"split\.protocol = 'given' was renamed; write 'predefined'"):
        build_config({"split": {"protocol": "given"}})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["split.test_start=2024-01-01"], 'need protocol = "global_temporal"'),
        (["split.protocol=global_temporal", "split.test_start=2024-01-01"], "are set together"),
        (
            [
                "split.protocol=global_temporal",
                "split.test_start=2024-01-01",
                "split.validation_start=2024-02-01",
            ],
            "validation_start is later than",
        ),
        (["data.until=1.2.2024"], r"'1\.2\.2024' is not a time; write 2020-09-23"),
    ],
)
def test_times_of_a_split(settings: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(overrides=settings)


def test_a_time_is_in_utc_unless_it_has_a_zone() -> None:
    noon = 1_704_110_400_000_000  # date -u -d "2024-01-01 12:00" +%s
    assert microseconds_of("2024-01-01T12:00") == microseconds_of("2024-01-01T14:00:00+02:00") == noon
    assert microseconds_of("2024-01-01T12:00:00.000005") == noon + 5
    assert load_config(overrides=["data.until=2024-01-01"]).data.until == "2024-01-01"
