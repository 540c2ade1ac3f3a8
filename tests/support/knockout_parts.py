"""A shop in which the title alone says who likes what, a system trained on it, and knock-outs by hand."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import polars as pl
from fit_parts import fit_split
from fitting_parts import config
from split_parts import Event, Review, dataset

from features.dataset.tables import MediaVectors, MediumVectors
from features.splits.make import make_split
from recsys.arrays import Floats
from recsys.metrics.bootstrap import Estimate
from training.evaluation.results import Change
from training.knockouts.alteration import KINDS, Kind
from training.knockouts.measure import FullView, Knockout, Knockouts
from training.knockouts.systems import KnockoutSubject

GROUPS, OLD, NEW, USERS, LENGTH = 4, 16, 6, 96, 6


def subject(*, epochs: int = 4) -> KnockoutSubject:
    """Everybody takes items of one group; each group has new items, which half of the users take last.

    The title holds the group; pictures, the written and the spoken reviews and the colour hold nothing.
    """
    rng = np.random.default_rng(0)
    events: list[Event] = []
    reviews: list[Review] = []
    for user in range(USERS):
        group = user % GROUPS
        old = [f"old-{group}-{at}" for at in rng.permutation(OLD)[:LENGTH]]
        last = f"new-{group}-{rng.integers(NEW)}" if user % 8 < GROUPS else f"old-{group}-{OLD - 1}"
        walked = [*(item for item in old if item != last), last]
        events += [(f"u{user:02d}", item, 10 * at) for at, item in enumerate(walked)]
        reviews += [(f"u{user:02d}", item, 10 * at + 1) for at, item in enumerate(walked[:4])]
    places = [("old", at) for at in range(OLD)] + [("new", at) for at in range(NEW)]
    names = [f"{age}-{group}-{at}" for group in range(GROUPS) for age, at in places]
    data = dataset(events, reviews, extra_items=names)
    colour = pl.Series("cat:colour", [[str(at % 3)] for at in range(data.items.height)])
    data = replace(data, items=data.items.with_columns(colour))
    settings = config(
        model={
            "dim": 16,
            "item": {"id_dropout": 0.5},
            "cold_start": {"content_regression": True},
            "ranker": {"enabled": False},
        },
        train={"epochs": epochs, "steps_per_epoch": 12},
        evaluate={"k": [2, 4]},
    )
    group_of = [int(name.split("-")[1]) for name in data.items["item_id"]]
    vectors = _vectors(np.eye(GROUPS, dtype=np.float32)[group_of], data.reviews.height)
    split = make_split(data, settings.split)
    return KnockoutSubject(fit_split(data, vectors, split, settings), data, vectors, split, settings)


def _vectors(group_NG: Floats, num_reviews: int) -> MediaVectors:
    """Every second review is written, every third is spoken."""
    rng = np.random.default_rng(1)

    def noise(owner: list[int], width: int) -> MediumVectors:
        vectors = rng.standard_normal((len(owner), width)).astype(np.float32)
        return MediumVectors(owner=np.array(owner), vectors=vectors)

    items, written, spoken = range(len(group_NG)), range(0, num_reviews, 2), range(0, num_reviews, 3)
    return MediaVectors(
        items={
            "title": MediumVectors(owner=np.array(items), vectors=group_NG),
            "image": noise([at for at in items if at % 5], 5),
        },
        reviews={
            "review_text": noise([*written], 4),
            "review_speech": noise([*spoken], 4),
            "review_audio": noise([*spoken], 3),
        },
    )


def found(
    changes: Mapping[str, Mapping[Kind, Mapping[str, Estimate]]],
    *,
    full: float = 0.2,
    num_drawn: int = 50,
    num_users: int = 40,
) -> Knockouts:
    """Changes of Recall@10 by group, way and view; a view that no group has is one without users."""
    zero = Estimate(value=0.0, low=-0.01, high=0.01)
    known = {view for by_kind in changes.values() for by_view in by_kind.values() for view in by_view}
    views = ("warm", "cold_full", "cold_pool")
    before = Estimate(value=full, low=full - 0.1, high=full + 0.1)

    def knockout(group: str, kind: Kind) -> Knockout:
        by_view = changes[group].get(kind, {})
        given = {
            view: {"recall@10": Change(value=before, change=by_view.get(view, zero))} if view in known else {}
            for view in views
        }
        return Knockout(group=group, tokens=(group,), kind=kind, num_items=1_234, num_reviews=0, views=given)

    return Knockouts(
        protocol="by hand",
        ks=(5, 10),
        seed=0,
        num_drawn=num_drawn,
        num_users=50,
        views={
            view: FullView(
                description="a view",
                num_users=num_users if view in known else 0,
                num_pairs=60,
                num_ranked=7,
                metrics={"recall@10": before} if view in known else {},
            )
            for view in views
        },
        knockouts=tuple(knockout(group, kind) for group in changes for kind in KINDS),
    )
