"""Families of products: colour variants and successors, which resemble a product that was launched earlier.

A variant has the kind, brand, theme, saying, price and description of its original and another look, of the
same pattern where the shop has one. A successor has all attributes and the appeal of its predecessor, which
is retired when the successor is launched; its description and picture are made anew.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from features.sample.behaviour.tastes import DAY_S, START_S, World
from features.sample.options import SampleOptions
from features.sample.pictures import Look
from recsys.arrays import Bools, Ints

NEVER: Final = np.iinfo(np.int64).max


@dataclass(frozen=True, kw_only=True)
class Families:
    """The relations of products (N) by row."""

    original: Ints  # [N]: the row of the product that this one resembles; the own row without one
    first: Ints  # [N]: the row of the first product of the family
    number: Ints  # [N]: 1 for the first product of a family, then 2, 3, ... by launch
    is_variant: Bools  # [N]
    retire_s: Ints  # [N]: unix time from which nobody can choose the product

    @classmethod
    def none(cls, num_items: int) -> "Families":
        """Each product is a family of its own and is never retired."""
        rows = np.arange(num_items)
        return cls(
            original=rows,
            first=rows,
            number=np.ones(num_items, np.int64),
            is_variant=np.zeros(num_items, np.bool_),
            retire_s=np.full(num_items, NEVER),
        )


def draw_families(
    rng: np.random.Generator, world: World, looks: Sequence[Look], options: SampleOptions
) -> tuple[World, Families]:
    """Families by the options, and `world` with the attributes that the products have in common.

    Products become variants and successors in the order of their launch, of products that were launched
    earlier and are not retired by then, so that a family can have any number of products. A product that
    finds none stays as it is.
    """
    num_items = len(world.attribute)
    families = Families.none(num_items)
    if not options.variant_fraction + options.successor_fraction:
        return world, families
    attribute, appeal = world.attribute.copy(), world.appeal.copy()
    original, first = families.original.copy(), families.first.copy()
    number, retire_s = families.number.copy(), families.retire_s.copy()
    is_successor, is_variant = _roles(rng, world, options)
    size = np.ones(num_items, np.int64)  # of the family, at its first product
    order = np.argsort(world.launch_s, kind="stable")
    for place, row in enumerate(order):
        launch = world.launch_s[row]
        earlier = order[:place]
        choices = earlier[(world.launch_s[earlier] <= launch - DAY_S) & (retire_s[earlier] > launch)]
        if not (is_successor[row] or is_variant[row]) or not len(choices):
            is_variant[row] = False
            continue
        model = int(rng.choice(choices))
        original[row], first[row] = model, first[model]
        size[first[model]] += 1
        number[row] = size[first[model]]
        attribute[row] = attribute[model]
        if is_variant[row]:
            attribute[row, 0] = _other_look(rng, looks, int(attribute[model, 0]))
        else:
            appeal[row], retire_s[model] = appeal[model], launch
    found = Families(original=original, first=first, number=number, is_variant=is_variant, retire_s=retire_s)
    return replace(world, attribute=attribute, appeal=appeal), found


def _roles(rng: np.random.Generator, world: World, options: SampleOptions) -> tuple[Bools, Bools]:
    """Which products are to be successors, a fraction of those launched after the first day, and variants."""
    is_late = world.launch_s > START_S
    score = rng.random(len(is_late))
    is_successor = is_late & (score < options.successor_fraction)
    return is_successor, ~is_successor & (rng.random(len(is_late)) < options.variant_fraction)


def _other_look(rng: np.random.Generator, looks: Sequence[Look], own: int) -> int:
    """Another look, of the same pattern where there is one."""
    others = [at for at in range(len(looks)) if at != own]
    same = [at for at in others if looks[at].pattern == looks[own].pattern]
    return int(rng.choice(same or others))
