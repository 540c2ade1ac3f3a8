"""`Change`: one item as it is from now on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from serving.items.content import Content
from serving.items.fields import ItemFields


@dataclass(frozen=True, kw_only=True)
class Change:
    """One item as it is from now on."""

    item: str
    given: Mapping[str, Any] | None  # its fields as they were given; None: it is removed
    fields: ItemFields = field(default_factory=ItemFields)
    content: Content = field(default_factory=Content)

    @property
    def is_removal(self) -> bool:
        return self.given is None
