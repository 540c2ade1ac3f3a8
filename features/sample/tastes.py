r"""The taste model of the sample shop: items, shoppers, and their choices.

An item `i` has one look `a(i)`, one theme `b(i)` and one saying `c(i)` (the meaning of its spoken
reviews), drawn independently of each other and of all other fields. A shopper `u` has a liking for every
look, every theme and every saying: standard normal numbers, scaled to mean 0 and standard deviation
1 within each of the three groups. With w_g = share_g / (sum of the shares), the taste of `u` for `i` is

    taste(u, i) = sqrt(w_look) * like_u[a(i)] + sqrt(w_theme) * like_u[b(i)] + sqrt(w_saying) * like_u[c(i)]

so each group carries the part w_g of its variance. An item's appeal to everybody is normal with
standard deviation `popularity_skew`. The expected worth of a choice is the dot product of the oracle's
factors:

    oracle(u, i) = taste(u, i) + appeal(i) = (weighted likings of u, 1) . (one-hot attributes of i, appeal(i))

At an event, the shopper takes one of the items that are launched and not yet taken, with probability
proportional to exp(worth / temperature), worth = oracle(u, i) + drift * [i has the attribute of the session].
The attribute of a session is a look, theme or saying at random, so the order of events is informative.
A fraction `impulse_fraction` of the events follows appeal alone. A taken item is bought with probability
sigmoid(taste - 2), else put into the cart (one in three) or viewed; a bought item's rating is
round(2.4 + 0.8 * taste + 0.7 * noise), from 1 to 5.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.sample.options import SampleOptions
from recsys.arrays import Bools, Floats, Ints

DAY_S = 86_400
START_S = 1_704_067_200  # 2024-01-01 00:00 UTC, the first day of the shop
NO_EVENT = -1
KINDS = ("view", "cart", "purchase")
PURCHASE = 2
_CHUNK = 256  # shoppers whose choices are drawn at once, which bounds memory


@dataclass(frozen=True, kw_only=True)
class World:
    """The hidden attributes of items (N) and shoppers (U), visible only through media and choices."""

    attribute: Ints  # [N, 3]: look, theme, saying, counted from 0 within each group
    group_sizes: tuple[int, int, int]
    appeal: Floats  # [N]
    launch_s: Ints  # [N], unix time
    is_new: Bools  # [N]: launched after the cut-off
    is_unseen: Bools  # [N]: launched after the last event
    liking: Floats  # [U, A], weighted by the groups' shares; A attributes of all groups
    join_s: Ints  # [U]
    cutoff_s: int
    end_s: int

    @property
    def one_hot(self) -> Floats:
        """Attributes of the items. Shape [N, A]."""
        offsets = np.cumsum([0, *self.group_sizes[:2]])
        table = np.zeros((len(self.attribute), sum(self.group_sizes)), np.float32)
        np.put_along_axis(table, self.attribute + offsets, 1.0, axis=1)
        return table

    @property
    def user_factors(self) -> Floats:
        """The oracle's side of the shoppers. Shape [U, A + 1]."""
        return np.column_stack([self.liking, np.ones(len(self.liking), np.float32)])

    @property
    def item_factors(self) -> Floats:
        """The oracle's side of the items. Shape [N, A + 1]."""
        return np.column_stack([self.one_hot, self.appeal])


@dataclass(frozen=True, kw_only=True)
class Events:
    """All events in order of time; the arrays have the same length."""

    user: Ints
    item: Ints
    timestamp_s: Ints
    kind: Ints  # index in KINDS
    rating: Ints  # 1 to 5, 0 where there is none


def draw_world(rng: np.random.Generator, options: SampleOptions) -> World:
    """Items with attributes and launch dates, shoppers with tastes."""
    sizes = (options.num_visual, options.num_text, options.num_voice)
    shares = np.array([options.picture_share, options.text_share, options.voice_share])
    weights = np.sqrt(shares / shares.sum())
    num_items, num_users = options.num_items, options.num_users
    end_s = START_S + options.num_days * DAY_S
    cutoff_s = end_s - round(options.test_fraction * options.num_days * DAY_S)
    order = rng.permutation(num_items)
    num_new = round(options.new_fraction * num_items)
    num_unseen = round(options.unseen_fraction * num_items)
    is_new, is_unseen = np.zeros(num_items, np.bool_), np.zeros(num_items, np.bool_)
    is_new[order[:num_new]] = True
    is_unseen[order[num_new : num_new + num_unseen]] = True
    joins_late = rng.random(num_users) < options.new_user_fraction
    first = np.where(joins_late, cutoff_s, START_S)
    last = np.where(joins_late, (cutoff_s + end_s) // 2, (START_S + cutoff_s) // 2)
    return World(
        attribute=np.column_stack([_balanced(rng, num_items, size) for size in sizes]),
        group_sizes=sizes,
        appeal=rng.normal(0, options.popularity_skew, num_items).astype(np.float32),
        launch_s=_launches(rng, is_new, is_unseen, cutoff_s, end_s, options.late_fraction),
        is_new=is_new,
        is_unseen=is_unseen,
        liking=np.column_stack(
            [weight * _standard(rng, num_users, size) for weight, size in zip(weights, sizes, strict=True)]
        ).astype(np.float32),
        join_s=rng.integers(first, last),
        cutoff_s=cutoff_s,
        end_s=end_s,
    )


def draw_events(rng: np.random.Generator, world: World, options: SampleOptions) -> Events:
    """All shoppers' choices by the model above, sorted by time, ties in the order of choosing."""
    chunks = []
    for start in range(0, len(world.liking), _CHUNK):
        users = np.arange(start, min(start + _CHUNK, len(world.liking)))
        chunks.append(_choose(rng, world, options, users))
    user, item, timestamp_s = (np.concatenate(part) for part in zip(*chunks, strict=True))
    order = np.argsort(timestamp_s, kind="stable")
    user, item, timestamp_s = user[order], item[order], timestamp_s[order]
    kind, rating = _outcomes(rng, np.einsum("ea,ea->e", world.liking[user], world.one_hot[item]))
    return Events(user=user, item=item, timestamp_s=timestamp_s, kind=kind, rating=rating)


def _balanced(rng: np.random.Generator, count: int, size: int) -> Ints:
    """Values 0..size-1 in random order, each equally often but for one."""
    return rng.permutation(np.arange(count) % size)


def _standard(rng: np.random.Generator, count: int, size: int) -> npt.NDArray[np.float64]:
    """Normal numbers with mean 0 and standard deviation 1 within each row. Shape [count, size]."""
    numbers = rng.normal(size=(count, size))
    numbers -= numbers.mean(axis=1, keepdims=True)
    numbers /= numbers.std(axis=1, keepdims=True)
    return numbers


def _launches(
    rng: np.random.Generator, is_new: Bools, is_unseen: Bools, cutoff_s: int, end_s: int, late_fraction: float
) -> Ints:
    """Before the first day or in the first three quarters of training; new items soon after the cut-off."""
    count = len(is_new)
    early = START_S - rng.integers(1, 300, count) * DAY_S
    late = rng.integers(START_S, START_S + 3 * (cutoff_s - START_S) // 4, count)
    launch_s = np.where(rng.random(count) < late_fraction, late, early)
    new = rng.integers(cutoff_s, cutoff_s + max((end_s - cutoff_s) // 10, 1), count)
    upcoming = end_s + rng.integers(1, 30, count) * DAY_S
    return np.where(is_unseen, upcoming, np.where(is_new, new, launch_s))


def _choose(
    rng: np.random.Generator, world: World, options: SampleOptions, users: Ints
) -> tuple[Ints, Ints, Ints]:
    """User, item and time of each choice of `users`, shopper by shopper."""
    counts = np.maximum(rng.poisson(options.events_per_user, len(users)), 3)
    starts, timestamp_s = _visits(rng, world, options, users, int(counts.max()), counts)
    one_hot, num_attributes = world.one_hot, sum(world.group_sizes)
    worth_UN = world.user_factors[users] @ world.item_factors.T
    taken_UN = np.zeros(worth_UN.shape, np.bool_)
    chosen = np.full(timestamp_s.shape, NO_EVENT)
    after = rng.integers(num_attributes, size=len(users))
    for step in range(timestamp_s.shape[1]):
        after = np.where(starts[:, step], rng.integers(num_attributes, size=len(users)), after)
        utility_UN = worth_UN + options.drift * one_hot.T[after]
        impulsive = rng.random(len(users)) < options.impulse_fraction
        utility_UN = np.where(impulsive[:, None], world.appeal, utility_UN)
        utility_UN = utility_UN / options.temperature + rng.gumbel(size=utility_UN.shape)
        open_UN = ~taken_UN & (world.launch_s <= timestamp_s[:, step, None])
        best = np.where(open_UN, utility_UN, -np.inf).argmax(axis=1)
        acts = (step < counts) & open_UN.any(axis=1)  # a shopper who has taken everything stops
        chosen[acts, step] = best[acts]
        taken_UN[np.flatnonzero(acts), best[acts]] = True
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
