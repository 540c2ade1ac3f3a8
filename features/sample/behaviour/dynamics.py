r"""Change over time: tastes of shoppers that move, and trends of attributes that come and go.

With the progress p of the shop's time from 0 to 1 and s = taste_drift * p, a shopper's likings are

    like(t) = sqrt(1 - s) * like + sqrt(s) * later

where `later` are independent likings of the same distribution, so that their variance stays and likings at
the start and at the end have a correlation of sqrt(1 - taste_drift). A trend adds for every shopper

    trend_a(t) = trend_strength * sqrt(2 / 3) * sin(2 pi (t / period_a + phase_a))

to the utility of items with attribute a, with phases and periods (half to one and a half times `trend_days`)
drawn for each attribute; over time the sum of an item's three trends has the standard deviation
`trend_strength`.
"""

from dataclasses import dataclass

import numpy as np

from features.sample.behaviour.tastes import DAY_S, START_S, World, draw_likings
from features.sample.options import SampleOptions
from recsys.arrays import Floats, Ints


@dataclass(frozen=True, kw_only=True)
class Dynamics:
    """Utilities of attributes (A) that depend on time, for shoppers (U)."""

    world: World
    later: Floats  # [U, A]: the likings towards which tastes move
    taste_drift: float
    trend_strength: float
    period_s: Floats  # [A]
    phase: Floats  # [A]

    @property
    def is_static(self) -> bool:
        """Whether utilities are the same at all times."""
        return not (self.taste_drift or self.trend_strength)

    def likings(self, users: Ints, timestamp_s: Ints) -> Floats:
        """The likings of `users` at a time each. Shape [len(users), A]."""
        liking = self.world.liking[users]
        if not self.taste_drift:
            return liking
        progress = (timestamp_s - START_S) / (self.world.end_s - START_S)
        moved = (self.taste_drift * np.clip(progress, 0, 1))[:, None]
        found: Floats = (np.sqrt(1 - moved) * liking + np.sqrt(moved) * self.later[users]).astype(np.float32)
        return found

    def trends(self, timestamp_s: Ints) -> Floats:
        """The trend of every attribute at each time. Shape [len(timestamp_s), A]."""
        turns = (timestamp_s[:, None] - START_S) / self.period_s + self.phase
        found: Floats = (self.trend_strength * np.sqrt(2 / 3) * np.sin(2 * np.pi * turns)).astype(np.float32)
        return found

    def user_factors(self, users: Ints, timestamp_s: Ints) -> Floats:
        """The oracle's side of `users` at a time each, as `World.user_factors`. Shape [len(users), A + 1]."""
        utility = self.likings(users, timestamp_s)
        if self.trend_strength:
            utility = utility + self.trends(timestamp_s)
        return np.column_stack([utility, np.ones(len(users), np.float32)])


def draw_dynamics(rng: np.random.Generator, world: World, options: SampleOptions) -> Dynamics:
    """Later likings, phases and periods."""
    num_users, num_attributes = world.liking.shape
    return Dynamics(
        world=world,
        later=draw_likings(rng, num_users, options),
        taste_drift=options.taste_drift,
        trend_strength=options.trend_strength,
        period_s=options.trend_days * DAY_S * (0.5 + rng.random((num_attributes,), np.float32)),
        phase=rng.random((num_attributes,), np.float32),
    )


def zipf_appeal(rng: np.random.Generator, num_items: int, options: SampleOptions) -> Floats:
    """Appeal by popularity rank r, in random order: without tastes, P(item) is proportional to r^-exponent.

    -temperature * exponent * log(r), with mean 0: the softmax over utilities divides by the temperature.
    """
    log_rank = np.log1p(rng.permutation(num_items).astype(np.float32))
    found: Floats = options.temperature * options.zipf_exponent * (log_rank.mean() - log_rank)
    return found
