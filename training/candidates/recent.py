"""Recent popularity, one source for each half-life, and the newest items."""

import numpy as np

from recsys.config import RecentConfig
from recsys.ids import NUM_RESERVED
from recsys.retrieval import RecentSource
from training.candidates.interactions import FitOptions, Interactions

MAX_EVENTS = 5_000_000  # the newest, which are kept: 12 bytes each


def fit(interactions: Interactions, settings: RecentConfig, options: FitOptions) -> tuple[RecentSource, ...]:
    """The sources "recent_<half-life>" over all events and "new" over the first event of each item.

    None without a clock.
    """
    items = interactions.user_items
    if items.time is None:
        return ()
    known = np.flatnonzero(items.item >= NUM_RESERVED)
    order = known[np.argsort(items.time[known], kind="stable")]
    item_E, time_E = items.item[order], items.time[order]
    _, first = np.unique(item_E, return_index=True)
    first.sort()

    def source(name: str, rows: np.ndarray | slice, half_life_days: float) -> RecentSource:
        item, time = item_E[rows][-MAX_EVENTS:], time_E[rows][-MAX_EVENTS:]
        return RecentSource(
            name=name,
            item=item,
            time=time,
            half_life_days=half_life_days,
            num_items=interactions.num_items,
        )

    found = [source(f"recent_{days:g}", slice(None), days) for days in settings.half_lives_days]
    return (*found, source("new", first, settings.newness_days))
