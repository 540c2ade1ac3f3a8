"""The options by name: the settings that each changes, and its needs of data and configuration."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from features.dataset import Dataset, MediaVectors
from features.splits import TrainStatistics
from recsys.columns import Columns
from recsys.config import Config, changed, parse_setting
from recsys.errors import ConfigError, did_you_mean
from recsys.item_features import ItemFeatures
from recsys.modalities import BY_NAME
from recsys.models import tower_spec

BASE = "as configured"
# Need of an option -> the reason that is given where it is not met.
NEEDS: Mapping[str, str] = {
    "content": "the items have no content that the towers read",
    "vectors": "the items have no vectors",
    "two modalities": "the items have fewer than two modalities to align",
    "sampled": "the softmax is full, so every item is already a negative",
    "id": "the towers read no ids",
    "clock": "the data have no clock",
    "kinds": "all events are of one kind",
    "values": "the events have no values",
    "reviews": "there are no reviews",
    "profiles": "users have no fields",
    "ranker": "towers are measured alone",
}


@dataclass(frozen=True, kw_only=True)
class Option:
    """The configuration with `settings` changed, by names such as "model.item.fusion"."""

    name: str
    settings: Mapping[str, Any]
    needs: tuple[str, ...] = ()  # keys of NEEDS


def _option(name: str, *needs: str, **settings: Any) -> Option:
    """An option from keyword arguments; a dot of a setting's name is written as two underscores."""
    named = {key.replace("__", "."): value for key, value in settings.items()}
    return Option(name=name, settings=named, needs=needs)


OPTIONS: Mapping[str, Option] = {
    option.name: option
    for option in (
        _option("attention-fusion", "content", model__item__fusion="attention"),
        _option("gated-fusion", "content", model__item__fusion="gated"),
        _option("mean-fusion", "content", model__item__fusion="mean"),
        _option("no-id", "content", "id", model__item__use_id=False),
        _option("no-content", "content", model__item__use_content=False, model__item__id_dropout=0.0),
        _option("no-id-dropout", "content", "id", model__item__id_dropout=0.0),
        _option("no-modality-dropout", "content", model__item__modality_dropout=0.0),
        _option("cold-items-by-towers", "content", "id", model__cold_start__content_regression=False),
        _option("cold-items-by-towers-alone", "content", model__cold_start__ranker=False),
        _option("cold-items-last", "content", model__cold_ranks=[]),
        _option("no-weight-average", train__average_epochs=0.0),
        _option("fixed-temperature", model__learn_temperature=False),
        _option("no-event-reviews", "content", "reviews", model__user__use_reviews=False),
        _option("no-event-kind", "kinds", model__user__use_kind=False),
        _option("no-event-value", "values", model__user__use_value=False),
        _option("no-event-time", "clock", model__user__use_time=False),
        _option("no-relative-position", model__user__use_position=False),
        _option("pointwise-attention", model__user__attention="pointwise"),
        _option("no-feed-forward", model__user__feed_forward=False),
        _option("no-user-fields", "profiles", model__user__use_profile=False),
        _option("contrastive-alignment", "two modalities", train__auxiliary__alignment__kind="contrastive"),
        _option("triplet-alignment", "two modalities", train__auxiliary__alignment__kind="triplet"),
        _option("self-supervised-views", "content", train__auxiliary__views__weight=0.1),
        _option("no-self-supervised-views", "content", train__auxiliary__views__weight=0.0),
        _option("adversarial", "vectors", train__auxiliary__adversarial__weight=0.5),
        _option("no-ranker", "ranker", model__ranker__enabled=False),
        _option("hard-negatives", "sampled", train__hard_negatives=0.1),
    )
}


def offered(
    dataset: Dataset, vectors: MediaVectors, statistics: TrainStatistics, items: ItemFeatures, config: Config
) -> set[str]:
    """The needs of `NEEDS` that data and configuration meet."""
    item = config.model.item
    spec = tower_spec(items, config.model)
    encoded = [name for name in spec.dense_dims if BY_NAME[name].encoder is not None]
    has = {
        "content": bool(spec.dense_dims or spec.category_sizes),
        "vectors": bool(spec.dense_dims),
        "two modalities": len(encoded) > 1,
        "sampled": int(items.trained.sum()) > config.train.sampled_above,
        "id": item.use_id or not item.use_content,
        "clock": dataset.has_clock,
        "kinds": len(statistics.kinds) > 1,
        "values": any(scale != (0.0, 1.0) for scale in statistics.number_scales.values()),
        "reviews": bool(vectors.reviews),
        "ranker": config.model.ranker.enabled,
        "profiles": any(name.startswith(Columns.CATEGORY_PREFIX) for name in dataset.users.columns),
    }
    return {name for name, is_met in has.items() if is_met}


def choose_options(
    names: Sequence[str] | None, config: Config, met: Iterable[str]
) -> tuple[tuple[Option, ...], dict[str, str]]:
    """The options `names`, and the reasons for which options are left out.

    `names` is None: all options that change something here. A name may also be a setting, such as
    "train.epochs=3". Raises `ConfigError` for an unknown name, and for a name that would change nothing.
    """
    chosen = (
        [OPTIONS[name] for name in OPTIONS]
        if names is None
        else [_named(name) for name in dict.fromkeys(names)]
    )
    reasons = {option.name: _idle(option, config, set(met)) for option in chosen}
    left_out = {name: reason for name, reason in reasons.items() if reason}
    if names is not None and left_out:
        raise ConfigError("\n".join(f"option {name!r}: {reason}" for name, reason in left_out.items()))
    return tuple(option for option in chosen if option.name not in left_out), left_out


def names_in(text: str) -> list[str]:
    """The names in a list with commas. A comma inside brackets does not separate names."""
    names = re.split(r",(?![^\[]*\])", text)
    return [name.strip() for name in names if name.strip()]


def _named(name: str) -> Option:
    if "=" in name:
        key, value = parse_setting(name)
        return Option(name=name, settings={key: value})
    if name not in OPTIONS:
        raise ConfigError(f"unknown option {name!r}; {did_you_mean(name, OPTIONS)}")
    return OPTIONS[name]


def _idle(option: Option, config: Config, met: set[str]) -> str:
    """The reason why the option would change nothing; empty where it would change something."""
    missing = [NEEDS[need] for need in option.needs if need not in met]
    if missing:
        return missing[0]
    return "it is configured so already" if changed(config, option.settings) == config else ""
