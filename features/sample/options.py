"""Options of the sample shop, for its size and difficulty, each with its range."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final

from recsys.errors import ConfigError, did_you_mean


def _count(default: int, low: int = 1, high: int = 10_000_000) -> Any:
    return field(default=default, metadata={"low": low, "high": high})


def _number(default: float, low: float, high: float) -> Any:
    return field(default=default, metadata={"low": low, "high": high})


def _fraction(default: float) -> Any:
    return _number(default, 0.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class SampleOptions:
    """Size and difficulty of a sample shop; raises `ConfigError` naming every value out of range.

    `features.sample.behaviour` has the model of tastes and choices.
    """

    seed: int = _count(0, low=0, high=2**63 - 1)
    num_items: int = _count(600, low=20)
    num_users: int = _count(1200, low=10)
    events_per_user: float = _number(16.0, 3.0, 1000.0)  # mean; every shopper has at least 3
    num_days: int = _count(365, low=10, high=10_000)
    test_fraction: float = _number(0.2, 0.02, 0.9)  # fraction of the days, the last ones

    # Attributes of products, on which tastes depend.
    num_visual: int = _count(8, low=2, high=40)  # looks, a pattern in a palette; only the picture shows it
    num_text: int = _count(8, low=2, high=16)  # themes; only the description has it
    num_voice: int = _count(8, low=2, high=14)  # sayings; only the spoken reviews have it
    picture_share: float = _number(1.0, 0.0, 100.0)  # shares of a taste's variance, relative to each other
    text_share: float = _number(1.0, 0.0, 100.0)
    voice_share: float = _number(1.0, 0.0, 100.0)

    # Choices of shoppers; utilities are in units of the standard deviation of a shopper's taste.
    temperature: float = _number(0.4, 0.01, 100.0)  # of the softmax over utilities; higher is noisier
    popularity_skew: float = _number(0.15, 0.0, 10.0)  # standard deviation of an item's appeal to everybody
    zipf_exponent: float = _number(0.8, 0.0, 3.0)  # beside tastes, P(item) is its popularity rank^-exponent
    drift: float = _number(0.5, 0.0, 10.0)  # utility bonus of items with the attribute of the session
    session_length: float = _number(3.0, 1.0, 100.0)  # mean events of one session
    impulse_fraction: float = _fraction(0.05)  # fraction of the events that do not depend on taste
    tie_fraction: float = _fraction(0.1)  # fraction of the events in the second of the shopper's event before

    # New items and shoppers, as fractions.
    new_fraction: float = _fraction(0.15)  # items launched after the cut-off: no event in training
    unseen_fraction: float = _fraction(0.03)  # items launched after the last event: no event at all
    late_fraction: float = _fraction(0.4)  # of the other items, launched in the course of training
    new_user_fraction: float = _fraction(0.03)  # shoppers who first come after the cut-off

    # Change over time (`features.sample.behaviour.dynamics`).
    taste_drift: float = _fraction(0.2)  # fraction of the variance of a taste that is new at the end
    trend_strength: float = _number(0.2, 0.0, 10.0)  # standard deviation of an item's trends, over time
    trend_days: float = _number(120.0, 1.0, 10_000.0)  # mean period of a trend

    # Items that resemble earlier ones (`features.sample.behaviour.families`).
    variant_fraction: float = _fraction(0.2)  # of the items: the text and theme of another, in another look
    successor_fraction: float = _fraction(0.2)  # of the items launched after the first day: replace another
    family_affinity: float = _number(0.5, 0.0, 10.0)  # utility bonus where another of the family was taken

    # Missing and wrong content.
    no_picture_fraction: float = _fraction(0.05)
    no_text_fraction: float = _fraction(0.05)
    no_voice_fraction: float = _fraction(0.05)
    picture_noise: float = _number(1.0, 0.0, 4.0)  # scale of the shifts of hue, light and grain
    picture_size: int = _count(192, low=32, high=1024)  # pixels a side
    text_noise: float = _fraction(0.0)  # fraction of a description's sentences with another theme
    voice_noise: float = _fraction(0.05)  # fraction of the spoken reviews with another saying

    # Reviews.
    panel_reviews: int = _count(3, low=0, high=100)  # spoken by testers before the launch, an item
    panel_written: int = _count(1, low=0, high=100)  # written by testers, an item
    review_fraction: float = _fraction(0.3)  # fraction of the purchases with a review
    spoken_share: float = _fraction(0.5)  # fraction of shoppers' reviews that are spoken, not written
    theme_share: float = _fraction(0.25)  # fraction of shoppers' written reviews that repeat the theme
    num_voices: int = _count(4, low=2, high=5)
    num_phrasings: int = _count(7, low=2, high=8)  # phrasings of one meaning
    held_out_voices: int = _count(1, low=0, high=4)  # voices that speak only of new and unseen items
    held_out_phrasings: int = _count(2, low=1, high=7)  # phrasings of only new and unseen items

    def __post_init__(self) -> None:
        problems = [problem for item in fields(self) if (problem := _problem(item, getattr(self, item.name)))]
        if not problems:
            problems = self._contradictions()
        if problems:
            raise ConfigError("\n".join(f"sample option {problem}" for problem in problems))

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> "SampleOptions":
        """Options from named values; an unknown name is an error that gives the nearest known one."""
        known = {item.name for item in fields(cls)}
        for name in values:
            if name not in known:
                raise ConfigError(f"unknown sample option {name!r}; {did_you_mean(name, known)}")
        return cls(**values)

    def _contradictions(self) -> list[str]:
        problems = []
        if self.picture_share + self.text_share + self.voice_share == 0:
            problems.append("picture_share, text_share and voice_share are all 0; at least one must be above")
        if self.new_fraction + self.unseen_fraction > 0.8:
            problems.append(
                f"new_fraction + unseen_fraction = {self.new_fraction + self.unseen_fraction:g}: "
                "at most 0.8, so that training has items"
            )
        for name, whole in (("held_out_voices", "num_voices"), ("held_out_phrasings", "num_phrasings")):
            if getattr(self, name) >= getattr(self, whole):
                problems.append(
                    f"{name} = {getattr(self, name)}: must be below {whole} = {getattr(self, whole)}"
                )
        return problems


# The defaults of version 1: many events an item, a third of the items new, nothing that changes over time.
FORMER_SHOP: Final[Mapping[str, float]] = {
    "events_per_user": 22.0,
    "new_fraction": 0.35,
    "zipf_exponent": 0.0,
    "taste_drift": 0.0,
    "trend_strength": 0.0,
    "variant_fraction": 0.0,
    "successor_fraction": 0.0,
    "family_affinity": 0.0,
}


def _problem(item: Any, value: Any) -> str:
    low, high = item.metadata["low"], item.metadata["high"]
    wanted = int if item.type in (int, "int") else (int, float)
    if isinstance(value, bool) or not isinstance(value, wanted):
        return f"{item.name} = {value!r}: must be {'a whole' if wanted is int else 'a'} number"
    if not low <= value <= high:
        return f"{item.name} = {value!r}: must be between {low} and {high}"
    return ""
