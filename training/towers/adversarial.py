"""Adversarial training of the modalities' vectors (AMR).

Tang et al. 2019, "Adversarial Training Towards Robust Multimedia Recommender System", equations 7 to 9: the
loss is taken once more with every item's vectors moved by radius * gradient / |gradient|, the direction in
which it rises fastest, and added with a weight. The vectors are the standardised ones that towers read; of
one of width M the length is about the root of M, so that one radius is as much for every modality.

Legend: N items, M width of a modality.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from recsys.errors import ConfigError
from recsys.models.item_tower import ItemInputs
from recsys.models.retriever import Retriever

Moved = Mapping[str, Tensor]  # modality -> what is added to its vectors [N, M]


def is_adversarial(model: Retriever, weight: float) -> bool:
    """Whether there is anything to perturb; not in a model that is blind to content by design.

    Raises `ConfigError` where it is asked for and no item has a vector.
    """
    if not weight or not model.config.item.use_content:
        return False
    if not model.spec.dense_dims:
        raise ConfigError(
            "train.auxiliary.adversarial.weight: the items have no vectors to perturb; set it to 0"
        )
    return True


def opened(inputs: ItemInputs, moved: Moved) -> tuple[ItemInputs, dict[str, Tensor]]:
    """The same inputs with the vectors moved, and these vectors as leaves whose gradient can be asked for."""
    leaves = {name: (vector + moved[name]) if moved else vector for name, (vector, _) in inputs.dense.items()}
    leaves = {name: vector.detach().requires_grad_() for name, vector in leaves.items()}
    pairs = {name: (leaves[name], has) for name, (_, has) in inputs.dense.items()}
    return inputs._replace(dense=pairs), leaves


def perturbation(gradient_NM: Tensor, radius: float) -> Tensor:
    """`radius` * root(M) along each row of the loss's gradient; nothing where that is zero."""
    length_N1 = gradient_NM.norm(dim=1, keepdim=True)
    scale = radius * gradient_NM.shape[1] ** 0.5
    return torch.where(length_N1 > 0, scale * gradient_NM / length_N1.clamp(min=1e-30), 0.0)
