"""Cross-modal alignment: the tokens of one item's modalities stand near each other, those of others far.

Contrastive as in CLIP (Radford et al. 2021), or the hinge on the hardest negative as in VSE++ (Faghri et al.
2018), both ways, with the other items of the batch as negatives; formulas in `recsys.models.losses`.

Legend: N items, T tokens, D width.
"""

from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor

from recsys.config import AlignmentConfig
from recsys.errors import ConfigError
from recsys.modalities import BY_NAME
from recsys.models.item_tower import ItemTowerSpec
from recsys.models.losses import contrastive_loss, hardest_triplet_loss


def aligned_places(spec: ItemTowerSpec) -> tuple[int, ...]:
    """Places along T of the modalities that are aligned: all that an encoder made.

    Raises `ConfigError` where there are fewer than two.
    """
    names = [name for name in spec.dense_dims if BY_NAME[name].encoder is not None]
    if len(names) < 2:
        raise ConfigError(
            f"train.auxiliary.alignment.kind: the items have {' and '.join(names) or 'no modality'} alone, "
            "and two modalities are needed; set it to none"
        )
    return tuple(spec.token_names.index(name) for name in names)


def alignment_loss(
    token_NTD: Tensor, mask_NT: Tensor, places: Sequence[int], config: AlignmentConfig
) -> Tensor:
    """The mean over pairs of modalities that at least two of the items have both; 0 without such a pair.

    An item without one of the two takes no part in their loss.
    """
    losses = []
    for one, other in combinations(places, 2):
        both_N = mask_NT[:, one] & mask_NT[:, other]
        if int(both_N.sum()) >= 2:
            losses.append(_pair_loss(token_NTD[both_N, one], token_NTD[both_N, other], config))
    return torch.stack(losses).mean() if losses else token_NTD.sum() * 0.0


def _pair_loss(one_ND: Tensor, other_ND: Tensor, config: AlignmentConfig) -> Tensor:
    if config.kind == "triplet":
        return hardest_triplet_loss(one_ND, other_ND, margin=config.margin)
    return contrastive_loss(one_ND, other_ND, temperature=config.temperature)
