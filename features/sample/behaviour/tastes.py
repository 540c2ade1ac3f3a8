r"""The taste model of the sample shop: items and shoppers.

An item `i` has one look `a(i)`, one theme `b(i)` and one saying `c(i)` (the meaning of its spoken
reviews), drawn independently of each other and of all other fields. A shopper `u` has a liking for every
look, every theme and every saying: standard normal numbers, scaled to mean 0 and standard deviation
1 within each of the three groups. With w_g = share_g / (sum of the shares), the taste of `u` for `i` is

    taste(u, i) = sqrt(w_look) * like_u[a(i)] + sqrt(w_theme) * like_u[b(i)] + sqrt(w_saying) * like_u[c(i)]

so each group carries the part w_g of its variance. An item's appeal to everybody is normal with
standard deviation `popularity_skew`. The expected worth of a choice is the dot product of the oracle's
factors:

    oracle(u, i) = taste(u, i) + appeal(i) = (weighted likings of u, 1) . (one-hot attributes of i, appeal(i))

`choices.py` draws the choices; `families.py` and `dynamics.py` add families of products and change over time
to this model.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.sample.options import SampleOptions
from recsys.arrays import Bools, Floats, Ints

DAY_S = 86_400
START_S = 1_704_067_200  # 2024-01-01 00:00 UTC, the first day of the shop


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


def draw_world(rng: np.random.Generator, options: SampleOptions) -> World:
    """Items with attributes and launch dates, shoppers with tastes."""
    sizes = _group_sizes(options)
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
        liking=draw_likings(rng, num_users, options),
        join_s=rng.integers(first, last),
        cutoff_s=cutoff_s,
        end_s=end_s,
    )


def draw_likings(rng: np.random.Generator, num_users: int, options: SampleOptions) -> Floats:
    """Likings for all attributes, weighted by the groups' shares. Shape [num_users, A]."""
    shares = np.array([options.picture_share, options.text_share, options.voice_share])
    weights = np.sqrt(shares / shares.sum())
    groups = [
        weight * _standard(rng, num_users, size)
        for weight, size in zip(weights, _group_sizes(options), strict=True)
    ]
    found: Floats = np.column_stack(groups).astype(np.float32)
    return found


def _group_sizes(options: SampleOptions) -> tuple[int, int, int]:
    return options.num_visual, options.num_text, options.num_voice


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
