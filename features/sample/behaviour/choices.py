r"""The choices of shoppers: which product when, and its outcome.

At an event, the shopper takes one of the items that are launched and not yet taken, with probability
proportional to exp(worth / temperature), worth = oracle(u, i) + drift * [i has the attribute of the session].
The attribute of a session is a look, theme or saying at random, so the order of events is informative.
A fraction `impulse_fraction` of the events follows appeal alone. A taken item is bought with probability
sigmoid(taste - 2), else put into the cart (one in three) or viewed; a bought item's rating is
round(2.4 + 0.8 * taste + 0.7 * noise), from 1 to 5.

Products are open from their launch until they are retired. Where the shopper has taken another product of a
family, `family_affinity` is added to the worth.
"""

from dataclasses import dataclass

import numpy as np

from features.sample.behaviour.dynamics import Dynamics
from features.sample.behaviour.families import Families
from features.sample.behaviour.tastes import World
from features.sample.options import SampleOptions
from recsys.arrays import Bools, Floats, Ints

NO_EVENT = -1
KINDS = ("view", "cart", "purchase")
PURCHASE = 2
_CHUNK = 256  # shoppers whose choices are drawn at once, which bounds memory


@dataclass(frozen=True, kw_only=True)
class Events:
    """All events in order of time; the arrays have the same length."""

    user: Ints
    item: Ints
    timestamp_s: Ints
    kind: Ints  # index in KINDS
    rating: Ints  # 1 to 5, 0 where there is none


def draw_events(
    rng: np.random.Generator, dynamics: Dynamics, families: Families, options: SampleOptions
) -> Events:
    """All shoppers' choices by the model above, sorted by time, ties in the order of choosing."""
    world = dynamics.world
    chunks = []
    for start in range(0, len(world.liking), _CHUNK):
        users = np.arange(start, min(start + _CHUNK, len(world.liking)))
        chunks.append(_choose(rng, dynamics, families, options, users))
    user, item, timestamp_s = (np.concatenate(part) for part in zip(*chunks, strict=True))
    order = np.argsort(timestamp_s, kind="stable")
    user, item, timestamp_s = user[order], item[order], timestamp_s[order]
    likings = dynamics.likings(user, timestamp_s)
    kind, rating = _outcomes(rng, np.einsum("ea,ea->e", likings, world.one_hot[item]))
    return Events(user=user, item=item, timestamp_s=timestamp_s, kind=kind, rating=rating)


def _choose(
    rng: np.random.Generator, dynamics: Dynamics, families: Families, options: SampleOptions, users: Ints
) -> tuple[Ints, Ints, Ints]:
    """User, item and time of each choice of `users`, shopper by shopper."""
    world = dynamics.world
    counts = np.maximum(rng.poisson(options.events_per_user, len(users)), 3)
    starts, timestamp_s = _visits(rng, world, options, users, int(counts.max()), counts)
    one_hot, num_attributes = world.one_hot, sum(world.group_sizes)
    worth_UN = dynamics.user_factors(users, timestamp_s[:, 0]) @ world.item_factors.T
    taken_UN = np.zeros(worth_UN.shape, np.bool_)
    has_taken_UF = np.zeros(worth_UN.shape, np.bool_)  # a family has the row of its first product
    chosen = np.full(timestamp_s.shape, NO_EVENT)
    after = rng.integers(num_attributes, size=len(users))
    for step in range(timestamp_s.shape[1]):
        after = np.where(starts[:, step], rng.integers(num_attributes, size=len(users)), after)
        if not dynamics.is_static:
            worth_UN = dynamics.user_factors(users, timestamp_s[:, step]) @ world.item_factors.T
        utility_UN = worth_UN + options.drift * one_hot.T[after]
        if options.family_affinity:
            utility_UN += options.family_affinity * has_taken_UF[:, families.first]
        impulsive = rng.random(len(users)) < options.impulse_fraction
        utility_UN = np.where(impulsive[:, None], world.appeal, utility_UN)
        utility_UN = utility_UN / options.temperature + rng.gumbel(size=utility_UN.shape)
        now = timestamp_s[:, step, None]
        open_UN = ~taken_UN & (world.launch_s <= now) & (now < families.retire_s)
        best = np.where(open_UN, utility_UN, -np.inf).argmax(axis=1)
        acts = (step < counts) & open_UN.any(axis=1)  # a shopper who has taken everything stops
        chosen[acts, step] = best[acts]
        taken_UN[np.flatnonzero(acts), best[acts]] = True
        has_taken_UF[np.flatnonzero(acts), families.first[best[acts]]] = True
    real = np.nonzero(chosen != NO_EVENT)
    return users[real[0]], chosen[real], timestamp_s[real]


def _visits(
    rng: np.random.Generator, world: World, options: SampleOptions, users: Ints, width: int, counts: Ints
) -> tuple[Bools, Ints]:
    """Whether each event opens a session, and its time; [U, width], the first `counts` of a row are real."""
    shape = (len(users), width)
    starts = rng.random(shape) < 1 / options.session_length
    starts[:, 0] = True
    # Opening times are uniform over the shopper's days; sorting keeps them with the order of events.
    when = rng.uniform(world.join_s[users, None], world.end_s, shape)
    when[np.arange(width) >= counts[:, None]] = np.inf
    session = np.cumsum(starts, axis=1) - 1
    opening = np.take_along_axis(np.sort(np.where(starts, when, np.inf), axis=1), session, axis=1)
    pause = np.where(rng.random(shape) < options.tie_fraction, 0.0, rng.exponential(180.0, shape) + 1)
    pause = np.cumsum(np.where(starts, 0.0, pause), axis=1)
    since = pause - np.maximum.accumulate(np.where(starts, pause, 0.0), axis=1)
    timestamp = np.minimum(np.where(np.isfinite(opening), opening, world.end_s) + since, world.end_s - 1)
    return starts, np.maximum.accumulate(timestamp.astype(np.int64), axis=1)


def _outcomes(rng: np.random.Generator, taste: Floats) -> tuple[Ints, Ints]:
    """Kind of each event and, where it is a purchase, its rating."""
    count = len(taste)
    bought = rng.random(count) < 1 / (1 + np.exp(2.0 - taste))
    in_cart = rng.random(count) < 1 / 3
    kind = np.where(bought, PURCHASE, in_cart.astype(np.int64))
    rating = np.clip(np.rint(2.4 + 0.8 * taste + rng.normal(0, 0.7, count)), 1, 5).astype(np.int64)
    return kind, np.where(bought, rating, 0)
