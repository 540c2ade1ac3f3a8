"""Self-supervision of items: two views of one, made by dropout, are nearer than views of two.

Yao et al. 2021, "Self-supervised Learning for Large-scale Item Recommendations": the augmentation leaves out
features of an item, there fields, here tokens and dimensions of tokens, which are made once; the dropout of
the tower's last layers differs between the views as in SimCSE (Gao et al. 2021). The loss is InfoNCE over the
fused vectors, both ways.

Legend: N items, T tokens, D width.
"""

from torch import Tensor

from recsys.config import ViewsConfig
from recsys.models.dropout import dropped
from recsys.models.item_tower import ItemTower, drop_tokens
from recsys.models.losses import contrastive_loss


def views_loss(tower: ItemTower, token_NTD: Tensor, mask_NT: Tensor, config: ViewsConfig) -> Tensor:
    """Of the items that have any token; 0 where fewer than two have."""
    has_N = mask_NT.any(1)
    one_ND, other_ND = (_view(tower, token_NTD[has_N], mask_NT[has_N], config) for _ in range(2))
    if len(one_ND) < 2:
        return token_NTD.sum() * 0.0
    return contrastive_loss(one_ND, other_ND, temperature=config.temperature)


def _view(tower: ItemTower, token_NTD: Tensor, mask_NT: Tensor, config: ViewsConfig) -> Tensor:
    chance_T = token_NTD.new_full((mask_NT.shape[1],), config.token_dropout)
    token_NTD = dropped(token_NTD, config.feature_dropout)
    return tower.fuse(token_NTD, drop_tokens(mask_NT, chance_T))
