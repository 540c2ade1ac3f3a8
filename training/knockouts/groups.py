"""The groups of modalities that can be knocked out: each token of the item tower alone, and some together."""

from dataclasses import dataclass

from recsys.columns import Columns
from recsys.modalities import modality_groups
from recsys.models import ID_TOKEN, ItemTowerSpec


@dataclass(frozen=True, kw_only=True)
class ModalityGroup:
    """One or several tokens of the item tower.

    A single token is named by its modality, "cat:<field>" or "id"; `tokens` are the tower's names.
    """

    name: str
    tokens: tuple[str, ...]

    @property
    def has_several_tokens(self) -> bool:
        return len(self.tokens) > 1


def groups_of(spec: ItemTowerSpec) -> tuple[ModalityGroup, ...]:
    """Every token in the order of the tower, then the groups of modalities with at least two tokens.

    A group with one token would repeat that token.
    """
    singles = [ModalityGroup(name=name, tokens=(name,)) for name in spec.dense_dims]
    singles += [
        ModalityGroup(name=f"{Columns.CATEGORY_PREFIX}{field}", tokens=(field,))
        for field in spec.category_sizes
    ]
    if spec.has_id:
        singles.append(ModalityGroup(name=ID_TOKEN, tokens=(ID_TOKEN,)))
    present = {
        name: tuple(token for token in tokens if token in spec.dense_dims)
        for name, tokens in modality_groups().items()
    }
    groups = [ModalityGroup(name=name, tokens=tokens) for name, tokens in present.items() if len(tokens) > 1]
    return (*singles, *groups)
