"""`Change`: one item as it is from now on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from recsys.modalities import Modality
from serving.items.content import Content
from serving.items.fields import ItemFields


@dataclass(frozen=True, kw_only=True)
class Change:
    """One item as it is from now on."""

    item: str
    given: Mapping[str, Any] | None  # its fields as they were given; None: it is removed
    fields: ItemFields = field(default_factory=ItemFields)
    content: Content | None = field(default_factory=Content)  # None: the vectors of the bundle stay
    version: int = 0  # of the row

    @property
    def has_picture(self) -> bool:
        """Whether it came with a picture."""
        return self.content is not None and Modality.IMAGE in self.content.vectors

    @property
    def is_removal(self) -> bool:
        return self.given is None
