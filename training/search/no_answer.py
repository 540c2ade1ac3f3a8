"""Queries that a catalogue does not answer, for the threshold of relevance.

Two kinds: a query whose item is removed together with everything similar to it, and sentences of domains
that few catalogues are about. A catalogue that is about one of them answers a few, so the threshold is a
little high.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from recsys.arrays import Bools
from recsys.ids import NUM_RESERVED
from recsys.search import DenseLeg, EncodedQuery

REMOVED_SHARE: Final = 0.1  # of the catalogue, with the sought item
MIN_REMOVED: Final = 20
FOREIGN: Final = (
    "deadline for filing the quarterly value added tax return",
    "how to compute the determinant of a sparse matrix",
    "side effects of beta blockers after a heart attack",
    "undefined reference to vtable linker error",
    "clause on termination without notice in a tenancy agreement",
    "boiling point of ethyl acetate at reduced pressure",
    "wiring diagram of a three phase induction motor",
    "nitrogen fertiliser rate for winter barley on clay",
    "minutes of the municipal budget committee",
    "torque specification for cylinder head bolts",
    "proof that every finite integral domain is a field",
    "eligibility for unemployment insurance benefits",
    "calibration of a mass spectrometer with caffeine",
    "offside rule when the ball is played by a defender",
    "interest rate decision of the central bank",
    "regular expression to match an email address",
    "load bearing capacity of reinforced concrete slabs",
    "vaccination schedule for dairy calves",
    "treaty on maritime boundaries and fishing quotas",
    "replace the thermocouple of a gas boiler",
    "half life of iodine in the thyroid gland",
    "depreciation of machinery under accounting standards",
    "signalling procedure for single track railway lines",
    "garbage collector pause time tuning",
    "groundwater level after heavy rainfall in spring",
    "inheritance tax allowance for step children",
    "melting curve analysis in polymerase chain reaction",
    "instrument landing approach minimums at night",
    "pension contributions of part time employees",
    "eigenvalues of a symmetric positive definite operator",
    "permit for the felling of protected trees",
    "corrosion of stainless steel in chloride solution",
    "waiting time for a hip replacement operation",
    "packet loss on a virtual private network",
    "election threshold for small parties in parliament",
    "ventilation rate in a commercial pig house",
    "dosage of anticoagulants before surgery",
    "kernel panic after updating the graphics driver",
    "customs tariff number for frozen shrimp",
    "radius of curvature of a concave mirror",
)


def long_texts() -> tuple[str, ...]:
    """Texts of two to seven sentences of `FOREIGN`, of unlike domains, as many as there are sentences."""
    num = len(FOREIGN)
    return tuple(
        ". ".join(FOREIGN[(at + 7 * place) % num] for place in range(2 + at % 6)) for at in range(num)
    )


@dataclass(frozen=True, kw_only=True)
class UnansweredQuery:
    """A query, and the items that are left for it."""

    query: EncodedQuery
    allowed: Bools | None
    group: str
    is_foreign: bool


def without_similar(legs: Sequence[DenseLeg], item: int, num_items: int) -> Bools:
    """All items but `item` and the tenth of the catalogue that is nearest to it, at least 20. Shape [N].

    By the mean cosine over the modalities that both have.
    """
    sum_N, count_N = np.zeros(num_items), np.zeros(num_items)
    for leg in legs:
        own = leg.query_of(item, "own")
        if own is not None:
            sum_N += np.where(leg.present, leg.scores(own), 0.0)
            count_N += leg.present
    similar_N = np.where(count_N > 0, sum_N / np.maximum(count_N, 1), -np.inf)
    similar_N[:NUM_RESERVED], similar_N[item] = -np.inf, np.inf
    num = max(MIN_REMOVED, int(REMOVED_SHARE * (num_items - NUM_RESERVED)))
    left = np.ones(num_items, np.bool_)
    left[np.argsort(-similar_N, kind="stable")[:num]] = False
    return left
