"""What can be knocked out of a trained system: each token of its item tower, and groups of them."""

from dataclasses import dataclass

from recsys.columns import Columns
from recsys.modalities import modality_groups
from recsys.models.item_tower import ID_TOKEN, ItemTowerSpec


@dataclass(frozen=True, kw_only=True)
class Target:
    """A token, named by its modality, "cat:<field>" or "id", or a group; `tokens` are the tower's names."""

    name: str
    tokens: tuple[str, ...]

    @property
    def is_group(self) -> bool:
        return len(self.tokens) > 1


def targets_of(spec: ItemTowerSpec) -> tuple[Target, ...]:
    """Every token in the tower's order, then the groups of which it has more than one member.

    A group of which it has one member alone is that member.
    """
    singles = [Target(name=name, tokens=(name,)) for name in spec.dense_dims]
    singles += [
        Target(name=f"{Columns.CATEGORY_PREFIX}{field}", tokens=(field,)) for field in spec.category_sizes
    ]
    if spec.has_id:
        singles.append(Target(name=ID_TOKEN, tokens=(ID_TOKEN,)))
    present = {
        name: tuple(token for token in tokens if token in spec.dense_dims)
        for name, tokens in modality_groups().items()
    }
    groups = [Target(name=name, tokens=tokens) for name, tokens in present.items() if len(tokens) > 1]
    return (*singles, *groups)
