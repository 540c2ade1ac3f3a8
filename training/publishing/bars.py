"""A bar of the gate: what was found, what is required, and by how much it was missed."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One condition of a publication. `passed` None: the condition does not apply, `found` says why."""

    name: str
    passed: bool | None
    found: str
    required: str
    missed_by: str = ""

    def in_words(self) -> str:
        """The bar in one sentence."""
        missed = f"; missed by {self.missed_by}" if self.missed_by else ""
        return f"{self.name}: {self.found}; required: {self.required}{missed}"


def at_most(name: str, value: float, limit: float, *, unit: str = "", words: str = "") -> Bar:
    """A bar that `value` must not exceed; `words` say what the value comes from. NaN does not pass."""
    passed = value <= limit
    return Bar(
        name=name,
        passed=passed,
        found=_joined(f"{value:.4g}{unit}", words),
        required=f"at most {limit:.4g}{unit}",
        missed_by="" if passed else f"{value - limit:.4g}{unit}",
    )


def at_least(name: str, value: float, limit: float, *, words: str = "") -> Bar:
    """A bar that `value` must reach. NaN does not pass."""
    passed = value >= limit
    return Bar(
        name=name,
        passed=passed,
        found=_joined(f"{value:.6g}", words),
        required=f"at least {limit:.6g}",
        missed_by="" if passed else f"{limit - value:.2g}",
    )


def failed(bars: Iterable[Bar]) -> list[Bar]:
    """The bars that refuse a bundle."""
    return [bar for bar in bars if bar.passed is False]


def _joined(value: str, words: str) -> str:
    return f"{value} ({words})" if words else value
