"""`RuleBook`: the operator's rules over one catalogue, and a request's rules merged with them."""

import hashlib
import logging
import tomllib
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from recsys.arrays import Bools, Ints
from recsys.errors import DataError, RequestError, did_you_mean
from recsys.ids import IdMap
from recsys.retrieval import Boost, Cap, Exploration, Pin, Rules
from serving.filters import CatalogueFilter
from serving.rules.schema import RequestLimits, RulesBody, RulesFile

log = logging.getLogger(__name__)


class RuleBook:
    """Reads rules against a catalogue; without a file there are none, and requests have default limits."""

    def __init__(self, filter_: CatalogueFilter, item_ids: IdMap, file: RulesFile | None = None) -> None:
        """Raises `DataError` with every rule that does not fit the catalogue."""
        self._filter, self._item_ids = filter_, item_ids
        self.file = file or RulesFile()
        self.operator, unfit = self._compiled(self.file, "")
        problems = [str(error) for error in unfit]
        names = [name for _, name in self.file.named()]
        problems += [
            f"{place}.name: {name!r} is the name of an earlier rule; give each its own"
            for at, (place, name) in enumerate(self.file.named())
            if name in names[:at]
        ]
        if self.file.disable:
            problems.append("disable: is for requests; leave the rule out of the file")
        if problems:
            raise DataError("rules that do not fit this catalogue", problems)

    @classmethod
    def open(cls, path: Path | None, filter_: CatalogueFilter, item_ids: IdMap) -> "RuleBook":
        """The rules of the TOML file `path`; raises `DataError` with all of its problems."""
        if path is None:
            return cls(filter_, item_ids)
        try:
            content = tomllib.loads(path.read_text("utf-8"))
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror}; name a rules file") from None
        except ValueError as error:  # of TOML or of UTF-8
            raise DataError(f"{path}: is no TOML: {error}") from None
        try:
            return cls(filter_, item_ids, RulesFile.model_validate(content))
        except ValidationError as error:
            raise DataError(f"{path}: these rules cannot be read", _problems(error)) from None
        except DataError as error:
            raise DataError(f"{path}: {error.args[0]}", error.problems) from None

    def over(self, filter_: CatalogueFilter, item_ids: IdMap) -> "RuleBook":
        """The same file over another catalogue; a rule that does not fit it has no effect."""
        other = copy(self)
        other._filter, other._item_ids = filter_, item_ids
        other.operator, unfit = other._compiled(self.file, "")
        for error in unfit:
            log.warning("a rule has no effect on the present catalogue: %s", error)
        return other

    def rules(self, asked: RulesBody | None, visible: Bools | None = None) -> Rules:
        """The operator's rules and those of a request; raises `RequestError` at the first problem.

        Only items of `visible` [N], all by default, are known to the request.
        """
        if asked is None or not asked.kinds():
            return self.operator
        self._check_limits(asked, self.file.requests)
        own, problems = self._compiled(asked, "rules.", visible)
        if problems:
            raise problems[0]
        base = self.operator if not asked.disable else self._without(asked.disable)
        excluded = base.excluded if own.excluded is None else own.excluded
        if base.excluded is not None and own.excluded is not None:
            excluded = base.excluded | own.excluded
        return replace(
            base,
            excluded=excluded,
            boosts=base.boosts + own.boosts,
            caps=base.caps + own.caps,
            pins=tuple(sorted(base.pins + own.pins, key=lambda pin: pin.rank)),
            exploration=base.exploration if asked.exploration is None else own.exploration,
            diversity=base.diversity if own.diversity is None else own.diversity,
        )

    def _check_limits(self, asked: RulesBody, limits: RequestLimits) -> None:
        for kind in asked.kinds():
            if kind not in limits.allow:
                allowed = ", ".join(limits.allow) or "nothing"
                raise RequestError(f"rules.{kind}", f"is not allowed here; allowed: {allowed}")
        if (number := len(asked.named())) > limits.max_rules:
            raise RequestError("rules", f"has {number} rules; at most {limits.max_rules}")
        for at, boost in enumerate(asked.boost):
            if abs(boost.add) > limits.max_boost:
                message = f"must be from {-limits.max_boost:g} to {limits.max_boost:g} here"
                raise RequestError(f"rules.boost.{at}.add", message, boost.add)
        known = [name for _, name in self.file.named()]
        for at, name in enumerate(asked.disable):
            if name not in known:
                hint = did_you_mean(name, known) if known else "the operator has no rules"
                raise RequestError(f"rules.disable.{at}", f"unknown rule; {hint}", name)
        for place, name in asked.named():
            if name in known:
                raise RequestError(f"rules.{place}.name", "is the name of a rule of the operator", name)

    def _without(self, names: list[str]) -> Rules:
        """The operator's rules but those of these names."""
        kept = {
            kind: [rule for rule in getattr(self.file, kind) if rule.name not in names]
            for kind in ("exclude", "boost", "cap", "pin")
        }
        return self._compiled(self.file.model_copy(update=kept), "")[0]

    def _compiled(
        self, body: RulesBody, prefix: str, visible: Bools | None = None
    ) -> tuple[Rules, list[RequestError]]:
        """The rules over the catalogue, and the problems of those that do not fit it."""
        problems: list[RequestError] = []

        def tried(make: Any, *arguments: Any, place: str) -> Any:
            try:
                return make(*arguments, visible, place=f"{prefix}{place}")
            except RequestError as error:
                problems.append(error)
                return None

        excluded = None
        for at, rule in enumerate(body.exclude):
            mask = tried(self._mask, rule.filter, place=f"exclude.{at}.filter")
            if mask is not None:
                excluded = mask if excluded is None else excluded | mask
        masks = [
            tried(self._mask, each.filter, place=f"boost.{at}.filter") for at, each in enumerate(body.boost)
        ]
        boosts = [
            Boost(name=each.name, items=mask, add=each.add)
            for each, mask in zip(body.boost, masks, strict=True)
            if mask is not None
        ]
        values = [
            tried(self._values, each.field, place=f"cap.{at}.field") for at, each in enumerate(body.cap)
        ]
        caps = [
            Cap(name=each.name, starts=of[0], values=of[1], at_most=each.at_most, within=each.within)
            for each, of in zip(body.cap, values, strict=True)
            if of is not None
        ]
        items = [tried(self._item, each.item, place=f"pin.{at}.item") for at, each in enumerate(body.pin)]
        pins = [
            Pin(name=each.name, item=item, rank=each.rank)
            for each, item in zip(body.pin, items, strict=True)
            if item is not None
        ]
        exploration = body.exploration
        rules = Rules(
            excluded=excluded,
            boosts=tuple(boosts),
            caps=tuple(caps),
            pins=tuple(sorted(pins, key=lambda pin: pin.rank)),
            exploration=Exploration(rate=exploration.rate, pool=exploration.pool)
            if exploration
            else Exploration(),
            diversity=body.diversity,
        )
        return rules, problems

    def _mask(self, filters: Any, visible: Bools | None, *, place: str) -> Bools:
        return self._filter.mask(filters, visible, place=place)

    def _values(self, category: str, visible: Bools | None, *, place: str) -> tuple[Ints, Ints]:
        return self._filter.category_values(category, place=place)

    def _item(self, name: str, visible: Bools | None, *, place: str) -> int:
        item = self._item_ids.get(name) if name in self._item_ids else None
        if item is None or not (visible is None or visible[item]):
            raise RequestError(place, "unknown item; name one of the catalogue", name)
        return item


def seed_of(version: str, user: str | None) -> int:
    """The same draws of exploration for the same user and bundle, in any batch."""
    return int.from_bytes(
        hashlib.sha256(f"{version} {user or ''}".encode("utf-8", "surrogatepass")).digest()[:8]
    )


def _problems(error: ValidationError) -> list[str]:
    """Every problem as "place: message"."""
    return [
        f"{'.'.join(str(part) for part in each['loc'])}: {each['msg']}, not {each['input']!r:.80}"
        for each in error.errors()
    ]
