"""The texts of the shop: titles, descriptions with a theme, reviews. None mentions a look or a saying."""

import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

import numpy as np

KINDS = ("mug", "cushion", "bag", "lamp", "vase", "blanket", "notebook", "bottle", "clock", "bowl")


@cache
def theme_sentences() -> dict[str, list[str]]:
    """Theme -> sentences that express it in a description."""
    sentences: dict[str, list[str]] = json.loads(_read("descriptions.json"))
    return sentences


@cache
def generic_sentences() -> dict[str, list[str]]:
    """Sentences without information on a product's attributes, by use."""
    sentences: dict[str, list[str]] = json.loads(_read("generic.json"))
    return sentences


def title(kind: str, brand: str, number: int) -> str:
    """Maker, kind of product and a number, none of which depends on an attribute."""
    return f"{brand} {kind} {number}"


def model_title(first: str, number: int) -> str:
    """The title of a later product of a family; `first` is the title of its first product."""
    return f"Model {number} of {first}"


def description(
    rng: np.random.Generator, kind: str, brand: str, theme: str, other_themes: Sequence[str], noise: float
) -> str:
    """Two sentences on the theme among generic ones; each is of another theme with probability `noise`."""
    generic, themes = generic_sentences(), theme_sentences()
    opening = _pick(rng, generic["opening"]).format(brand=brand, kind=kind)
    sentences = []
    for at in rng.choice(len(themes[theme]), size=2, replace=False):
        wrong = other_themes and rng.random() < noise
        sentences.append(themes[_pick(rng, other_themes) if wrong else theme][at])
    filler = _pick(rng, generic["filler"])
    order = rng.permutation(3)
    return " ".join([opening, *([*sentences, filler][at] for at in order)])


def written_review(rng: np.random.Generator, rating: int, theme: str | None) -> str:
    """A shopper's review: its mood by the rating, with a sentence of `theme` if given."""
    generic = generic_sentences()
    mood = "good" if rating >= 4 else "middling" if rating == 3 else "bad"
    parts = [_pick(rng, generic[mood])]
    if theme is not None:
        parts.append(_pick(rng, theme_sentences()[theme]))
    return " ".join(parts)


def panel_review(rng: np.random.Generator) -> str:
    """A tester's review before the launch, without information on an attribute."""
    generic = generic_sentences()
    return f"{_pick(rng, generic['panel'])} {_pick(rng, generic['filler'])}"


def _pick(rng: np.random.Generator, choices: Sequence[str]) -> str:
    return choices[int(rng.integers(len(choices)))]


def _read(name: str) -> str:
    return files("features.sample").joinpath(name).read_text("utf-8")
