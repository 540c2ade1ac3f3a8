"""A whole shop of its options, before anything is written."""

from dataclasses import dataclass, replace

import numpy as np

from features.sample.behaviour.choices import Events, draw_events
from features.sample.behaviour.dynamics import Dynamics, draw_dynamics, zipf_appeal
from features.sample.behaviour.families import Families, draw_families
from features.sample.behaviour.tastes import World, draw_world
from features.sample.catalogue import Catalogue, draw_catalogue
from features.sample.options import SampleOptions
from features.sample.pictures import draw_looks
from features.sample.reviews import Review, draw_reviews


@dataclass(frozen=True, kw_only=True)
class Shop:
    """Products, shoppers, events and reviews; equal options give the same shop."""

    options: SampleOptions
    world: World
    families: Families
    dynamics: Dynamics
    catalogue: Catalogue
    user_ids: tuple[str, ...]
    events: Events
    reviews: list[Review]
    rng: np.random.Generator  # of the table of users


def draw_shop(options: SampleOptions) -> Shop:
    """The shop of `options`."""
    # One random stream for each part, so that an option of one part does not change the others.
    streams = [np.random.default_rng(seed) for seed in np.random.SeedSequence(options.seed).spawn(8)]
    world, families, catalogue = _products(streams, options)
    dynamics = draw_dynamics(streams[6], world, options)
    events = draw_events(streams[2], dynamics, families, options)
    width = max(5, len(str(options.num_users)))
    user_ids = tuple(f"U{number:0{width}d}" for number in range(1, options.num_users + 1))
    return Shop(
        options=options,
        world=world,
        families=families,
        dynamics=dynamics,
        catalogue=catalogue,
        user_ids=user_ids,
        events=events,
        reviews=draw_reviews(streams[3], world, catalogue, events, user_ids, options),
        rng=streams[4],
    )


def catalogue_of(options: SampleOptions) -> Catalogue:
    """The products of the shop of `options`."""
    streams = [np.random.default_rng(seed) for seed in np.random.SeedSequence(options.seed).spawn(8)]
    return _products(streams, options)[2]


def _products(
    streams: list[np.random.Generator], options: SampleOptions
) -> tuple[World, Families, Catalogue]:
    looks = draw_looks(streams[1], options.num_visual)
    world = draw_world(streams[0], options)
    if options.zipf_exponent:
        appeal = world.appeal + zipf_appeal(streams[7], options.num_items, options)
        world = replace(world, appeal=appeal)
    world, families = draw_families(streams[5], world, looks, options)
    return world, families, draw_catalogue(streams[1], world, families, looks, options)
