"""Reviews of a panel of testers before a product's launch, and of shoppers after a purchase."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from features.sample import texts
from features.sample.behaviour.choices import PURCHASE, Events
from features.sample.behaviour.tastes import DAY_S, World
from features.sample.catalogue import Catalogue
from features.sample.options import SampleOptions
from features.sample.speech import Recording

NUM_TESTERS = 25  # members of the panel; none of them is a shopper


@dataclass(frozen=True, kw_only=True)
class Review:
    """One review, written or spoken."""

    user_id: str
    item_id: str
    timestamp_s: int
    text: str | None = None
    recording: Recording | None = None
    rating: int | None = None


def draw_reviews(
    rng: np.random.Generator,
    world: World,
    catalogue: Catalogue,
    events: Events,
    user_ids: tuple[str, ...],
    options: SampleOptions,
) -> list[Review]:
    """All reviews, sorted by time."""
    written = _panel(rng, world, catalogue, options)
    written += _shoppers(rng, world, catalogue, events, user_ids, options)
    return sorted(written, key=lambda review: (review.timestamp_s, review.user_id, review.item_id))


def review_table(reviews: list[Review]) -> pl.DataFrame:
    """reviews.csv."""
    columns = {
        "user_id": [review.user_id for review in reviews],
        "item_id": [review.item_id for review in reviews],
        "timestamp": [review.timestamp_s for review in reviews],
        "text": [review.text for review in reviews],
        "audio": [
            f"audio/{review.recording.public_name}" if review.recording else None for review in reviews
        ],
        "rating": [review.rating for review in reviews],
    }
    strings = {"user_id": pl.String, "item_id": pl.String, "text": pl.String, "audio": pl.String}
    return pl.DataFrame(columns, schema_overrides={**strings, "timestamp": pl.Int64, "rating": pl.Int64})


def _panel(
    rng: np.random.Generator, world: World, catalogue: Catalogue, options: SampleOptions
) -> list[Review]:
    """Testers' reviews of every product, all before the cut-off and before the product's launch."""
    reviews = []
    for row, item_id in enumerate(catalogue.item_ids):
        num_spoken = options.panel_reviews if catalogue.has_voice[row] else 0
        pool = _clips(rng, world, catalogue, options, row, num_spoken)
        # A (tester, product) pair occurs once, if there are enough testers.
        testers = rng.permutation(max(NUM_TESTERS, num_spoken + options.panel_written))
        latest = min(int(world.launch_s[row]), world.cutoff_s)
        times = latest - rng.integers(1, 30 * DAY_S, num_spoken + options.panel_written)
        for number, (tester, when) in enumerate(zip(testers, times, strict=False)):
            spoken = pool[number] if number < num_spoken else None
            reviews.append(
                Review(
                    user_id=f"T{tester + 1:03d}",
                    item_id=item_id,
                    timestamp_s=int(when),
                    text=None if spoken else texts.panel_review(rng),
                    recording=spoken,
                )
            )
    return reviews


def _shoppers(
    rng: np.random.Generator,
    world: World,
    catalogue: Catalogue,
    events: Events,
    user_ids: tuple[str, ...],
    options: SampleOptions,
) -> list[Review]:
    """Reviews of purchases, an hour to three days later, with the same saying as the panel's."""
    chosen = (events.kind == PURCHASE) & (rng.random(len(events.user)) < options.review_fraction)
    reviews = []
    for at in np.flatnonzero(chosen):
        row, rating = int(events.item[at]), int(events.rating[at])
        speaks = bool(rng.random() < options.spoken_share and catalogue.has_voice[row])
        spoken = _clips(rng, world, catalogue, options, row, 1)[0] if speaks else None
        theme = catalogue.themes[row] if rng.random() < options.theme_share else None
        reviews.append(
            Review(
                user_id=user_ids[events.user[at]],
                item_id=catalogue.item_ids[row],
                timestamp_s=int(events.timestamp_s[at]) + int(rng.integers(3600, 3 * DAY_S)),
                text=None if spoken else texts.written_review(rng, rating, theme),
                recording=spoken,
                rating=rating,
            )
        )
    return reviews


def _clips(
    rng: np.random.Generator,
    world: World,
    catalogue: Catalogue,
    options: SampleOptions,
    row: int,
    count: int,
) -> list[Recording]:
    """Recordings for one product from the pool of its launch date, of its saying or a wrong one."""
    is_late = bool(world.is_new[row] or world.is_unseen[row])
    pools = catalogue.repertoire.held_out if is_late else catalogue.repertoire.known
    own = catalogue.sayings[row]
    others = [name for name in catalogue.repertoire.meanings if name != own]
    clips: list[Recording] = []
    for at in rng.permutation(max(len(pools[own]), count))[:count]:
        wrong = rng.random() < options.voice_noise
        pool = pools[others[int(rng.integers(len(others)))] if wrong else own]
        clips.append(pool[at % len(pool)])
    return clips
