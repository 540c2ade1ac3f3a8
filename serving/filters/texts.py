"""Filters as texts of the command line: comparisons, or the JSON that the endpoint takes."""

import json
import re
from typing import Any, Final

from recsys.errors import ConfigError

_COMPARISON: Final = re.compile(r"\s*(?P<field>[^<>=!]+?)\s*(?P<op><=|>=|!=|=|<|>)(?P<value>.*)", re.DOTALL)


def parsed_filters(texts: list[str]) -> dict[str, Any]:
    """The filters of the texts, all of which must hold, as the endpoint takes them; raises `ConfigError`."""
    wanted: dict[str, list[str]] = {}
    others: list[dict[str, Any]] = []
    for text in texts:
        if text.lstrip().startswith("{"):
            others.append(_from_json(text))
            continue
        if (found := _COMPARISON.fullmatch(text)) is None:
            raise ConfigError(
                f"--filter {text!r}: write it as field=value, such as genres=Comedy, with another of "
                "= != < <= > >=, or as JSON"
            )
        field, op, value = found.group("field", "op", "value")
        if op == "=":
            wanted.setdefault(field, []).append(value)
        else:
            others.append({"field": field, "op": op, "value": value.strip()})
    return {"and": [*([wanted] if wanted else []), *others]} if others else dict(wanted)


def _from_json(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"--filter {text!r} is no JSON: {error}") from None
    assert isinstance(value, dict)  # it begins with a brace
    return value
