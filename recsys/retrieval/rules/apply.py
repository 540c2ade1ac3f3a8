"""Lists by rules: exclusions before retrieval, then boosts, diversity, caps, pins and exploration in turn.

Rules work on the longest list that can be requested, so that a shorter list is a prefix of a longer one.
Boosts and diversity order warm items among warm ranks and cold items among cold ranks; caps, pins and
exploration do not look at the kind of an item.

Legend: B users, k ranks of a list, L ranks of the longest list, N items.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from recsys.arrays import Bools, Floats, Ints
from recsys.history import History
from recsys.ids import PAD
from recsys.retrieval.owners import Owners, recommend_visible
from recsys.retrieval.recommendations import Recommendations
from recsys.retrieval.recommender import IsLate, Recommender
from recsys.retrieval.reranking import best_first, diversify
from recsys.retrieval.rules.contract import Cap, Exploration, Pin, Rules

EXPLORED = "exploration"  # among the names of rules, for an item that exploration has drawn


@dataclass(frozen=True, kw_only=True)
class RuledLists:
    """Lists by rules, the rules that moved each item, and how likely each item was at its rank."""

    recommendations: Recommendations  # scores include the boosts
    rules: tuple[tuple[tuple[str, ...], ...], ...]  # [B][k], names; EXPLORED for a draw
    propensity: Floats  # [B, k], given the ranks above; 1 without exploration and at pinned ranks

    def row(self, row: int) -> "RuledLists":
        """The list of one user."""
        return RuledLists(
            recommendations=self.recommendations.row(row),
            rules=self.rules[row : row + 1],
            propensity=self.propensity[row : row + 1],
        )

    @classmethod
    def without_rules(cls, recommendations: Recommendations) -> "RuledLists":
        """Lists that no rule has changed."""
        num_users, k = recommendations.items.shape
        return cls(
            recommendations=recommendations,
            rules=(((),) * k,) * num_users,
            propensity=np.ones((num_users, k), np.float32),
        )


@dataclass
class _List:
    """One user's order while rules change it; positions are those of the longest list and of added pins."""

    order: list[int]
    names: dict[int, list[str]]  # position -> rules that moved it

    def note(self, position: int, name: str) -> None:
        named = self.names.setdefault(position, [])
        if name not in named:
            named.append(name)


def recommend_by_rules(
    recommender: Recommender,
    owners: Owners,
    users: Sequence[str | None],
    histories: Sequence[History | None],
    k: int,
    rules: Rules,
    *,
    seeds: Sequence[int],
    exclude_seen: bool = True,
    allowed: Bools | None = None,
    diversity: float = 0.0,
    is_late: IsLate | None = None,
) -> RuledLists:
    """As `recommend_visible`, by `rules`. `seeds` of the users decide what exploration draws.

    Raises `RequestError` as `Recommender.recommend`.
    """
    weight = diversity if rules.diversity is None else rules.diversity
    shared: dict[str, Any] = {
        "exclude_seen": exclude_seen,
        "allowed": rules.allowed(allowed),
        "is_late": is_late,
    }
    recommender.check_request(k, weight)
    if rules.is_empty:
        return RuledLists.without_rules(
            recommend_visible(recommender, owners, users, histories, k, diversity=weight, **shared)
        )
    length = recommender.settings.max_list_length
    longest = recommend_visible(recommender, owners, users, histories, length, **shared)
    pins = [pin for pin in rules.pins if pin.rank <= length]
    needed = k + len(pins) + (rules.exploration.pool if rules.exploration.rate else 0)
    listed = _with_pins(longest, pins)
    boosts = [rules.boost_of(items) for items in listed.items]
    listed = replace(listed, scores=listed.scores + np.stack([total for total, _ in boosts]))
    place_Bk = np.zeros((len(users), k), np.int64)
    propensity_Bk = np.ones((len(users), k), np.float32)
    names = []
    for row, user in enumerate(users):
        own = _List([], {at: list(named) for at, named in enumerate(boosts[row][1]) if named})
        own.order = _boosted_and_diverse(recommender, listed, row, longest.items.shape[1], weight)
        may_see = _may_see(owners, user, shared["allowed"], histories[row], exclude_seen)
        kept = [pin for pin in pins if may_see(pin.item)]
        of_pins = {pin.item for pin in kept}
        own.order = [at for at in own.order if int(listed.items[row, at]) not in of_pins]
        _cap(own, listed.items[row], rules.caps, needed)
        pinned = _pin(own, listed, row, kept)
        propensity = _explore(own, pinned, rules.exploration, k, seeds[row])
        num = min(k, len(own.order))
        place_Bk[row, :num] = own.order[:num]
        place_Bk[row, num:] = -1
        propensity_Bk[row, :num] = propensity
        names.append(tuple(tuple(own.names.get(at, ())) for at in place_Bk[row].tolist()))
    return RuledLists(recommendations=_at(listed, place_Bk), rules=tuple(names), propensity=propensity_Bk)


def _with_pins(longest: Recommendations, pins: Sequence[Pin]) -> Recommendations:
    """The lists followed by one column for each pin: its item, unless the list has it."""
    if not pins:
        return longest
    items_BP = np.tile(np.array([pin.item for pin in pins], np.int64), (len(longest.items), 1))
    in_list = np.stack([np.isin(*rows) for rows in zip(items_BP, longest.items, strict=True)])
    items_BP = np.where(in_list, PAD, items_BP)
    none_BP = np.full(items_BP.shape, -np.inf, np.float32)

    def widened(array: Any) -> Any:
        return None if array is None else np.pad(array, ((0, 0), (0, len(pins)), (0, 0)))

    return replace(
        longest,
        items=np.concatenate([longest.items, items_BP], axis=1),
        scores=np.concatenate([longest.scores, none_BP], axis=1),
        retriever_scores=np.concatenate([longest.retriever_scores, none_BP], axis=1),
        token_attention=widened(longest.token_attention),
        history_attention=widened(longest.history_attention),
    )


def _boosted_and_diverse(
    recommender: Recommender, listed: Recommendations, row: int, length: int, weight: float
) -> list[int]:
    """Positions of the row's items by boosted score and diversity; each rank keeps its kind of item."""
    items_L = listed.items[row, :length]
    num = int((items_L != PAD).sum())
    items_L, score_L = items_L[:num], listed.scores[row, :num]
    is_cold_L = ~recommender.items.trained[items_L]
    order_L = np.empty(num, np.int64)
    for kind_L in (is_cold_L, ~is_cold_L):
        at = np.flatnonzero(kind_L)
        order_L[at] = at[_by_score(score_L[at], at)]
    if weight:
        place = diversify(
            items_L[order_L][None],
            score_L[order_L][None],
            is_cold_L[order_L][None],
            recommender.items.vectors,
            k=num,
            weight=weight,
        )[0]
        order_L = order_L[place]
    return [int(at) for at in order_L]


def _by_score(score_K: Floats, position_K: Ints) -> Ints:
    """Indices from the highest score to the lowest; those that tie stay in order."""
    order: Ints = best_first(score_K[None], position_K[None])[0]
    return order


def _cap(own: _List, items: Ints, caps: Sequence[Cap], needed: int) -> None:
    """Each rank takes the first item that no cap forbids there, or the first one where all are forbidden.

    Ranks after the first `needed` stay in order.
    """
    if not caps:
        return
    left: list[int] = own.order
    taken: list[int] = []
    counts: list[Counter[int]] = [Counter() for _ in caps]
    while left and len(taken) < needed:
        for cap, count in zip(caps, counts, strict=True):
            if len(taken) % cap.within == 0:
                count.clear()
        broken: list[str] = []
        for position in left:
            if (name := _broken(caps, counts, int(items[position]))) is None:
                break
            broken.append(name)
        at = len(broken) if len(broken) < len(left) else 0
        for position, name in zip(left[:at], broken, strict=False):
            own.note(position, name)
        taken.append(left.pop(at))
        for cap, count in zip(caps, counts, strict=True):
            count.update(cap.of(int(items[taken[-1]])))
    own.order = taken + left


def _broken(caps: Sequence[Cap], counts: Sequence[Counter[int]], item: int) -> str | None:
    """The name of the first cap that the item would break; None where it breaks none."""
    for cap, count in zip(caps, counts, strict=True):
        if any(count[value] >= cap.at_most for value in cap.of(item)):
            return cap.name
    return None


def _may_see(
    owners: Owners, user: str | None, allowed: Bools | None, history: History | None, exclude_seen: bool
) -> Callable[[int], bool]:
    """A function: whether the item may be recommended to the user."""
    visible = owners.visible(user)
    seen = set(history.seen.tolist()) if history is not None and exclude_seen else set()

    def may(item: int) -> bool:
        return (
            item not in seen
            and (allowed is None or bool(allowed[item]))
            and (visible is None or bool(visible[item]))
        )

    return may


def _pin(own: _List, listed: Recommendations, row: int, pins: Sequence[Pin]) -> set[int]:
    """Put pinned items, which the order does not have, at their ranks; returns these, from 0.

    A list with too few items has them at its end. The items of the first pins come first at equal ranks.
    """
    ranks = set()
    position_of = {int(item): at for at, item in enumerate(listed.items[row]) if item != PAD}
    for pin in pins:
        position = position_of[pin.item]
        at = min(pin.rank - 1, len(own.order))
        if not np.isfinite(listed.scores[row, position]):  # of an item that the list did not have
            near = own.order[min(at, len(own.order) - 1)] if own.order else position
            for scores in (listed.scores, listed.retriever_scores):
                near_score = scores[row, near]
                scores[row, position] = near_score if np.isfinite(near_score) else 0.0
        own.order.insert(at, position)
        own.note(position, pin.name)
        ranks.add(at)
    return ranks


def _explore(own: _List, pinned: set[int], exploration: Exploration, k: int, seed: int) -> list[float]:
    """Draw for each of the first k ranks that is not pinned; the propensity of each rank's item."""
    num = min(k, len(own.order))
    if not exploration.rate:
        return [1.0] * num
    draw, chances = np.random.default_rng(seed), []
    for rank in range(num):
        if rank in pinned:
            chances.append(1.0)
            continue
        free = [at for at in range(rank, len(own.order)) if at not in pinned][: exploration.pool]
        is_explored, drawn = draw.random() < exploration.rate, int(draw.integers(len(free)))
        if is_explored and drawn:
            _move(own.order, free, drawn)
            own.note(own.order[rank], EXPLORED)
        is_next = not (is_explored and drawn)
        chances.append((1.0 - exploration.rate) * is_next + exploration.rate / len(free))
    return chances


def _move(order: list[int], free: Sequence[int], drawn: int) -> None:
    """Move the item at rank `free[drawn]` to `free[0]`; those between go down by one free rank."""
    moved = order[free[drawn]]
    for at in range(drawn, 0, -1):
        order[free[at]] = order[free[at - 1]]
    order[free[0]] = moved


def _at(listed: Recommendations, place_Bk: Ints) -> Recommendations:
    """The entries at the positions; -1 is padding."""
    at_Bk, is_real_Bk = np.maximum(place_Bk, 0), place_Bk >= 0

    def taken(array: Any, fill: float) -> Any:
        if array is None:
            return None
        index, real = (at_Bk, is_real_Bk) if array.ndim == 2 else (at_Bk[..., None], is_real_Bk[..., None])
        return np.where(real, np.take_along_axis(array, index, axis=1), array.dtype.type(fill))

    return replace(
        listed,
        items=taken(listed.items, PAD),
        scores=taken(listed.scores, -np.inf),
        retriever_scores=taken(listed.retriever_scores, -np.inf),
        token_attention=taken(listed.token_attention, 0.0),
        history_attention=taken(listed.history_attention, 0.0),
    )
