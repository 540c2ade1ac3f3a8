"""A variational autoencoder over several modalities whose posterior is a product of experts.

Wu and Goodman 2018, "Multimodal Generative Models for Scalable Weakly-Supervised Learning": each modality m
has an expert N(mu_m, v_m) of the latent vector z, and the prior N(0, 1) is one more. Their product over the
modalities of an item is normal, with

    precision = 1 + sum_m 1 / v_m        mean = (sum_m mu_m / v_m) / precision

A training step adds the ELBO of all modalities of an item, of each one alone, and of random subsets. Unlike
the paper's, an ELBO of a subset has the likelihood of all modalities of the item, since they are what is to
be imputed. The likelihood is normal with variance 1 in the leading principal components of the centred unit
vectors, scaled to a mean variance of 1.

Legend: B items of a batch, S subsets, N items, R rows that are asked for, W principal components, Z width of
the latent vector.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from recsys.arrays import Bools, Floats, Ints, unit
from training.imputation.observed import Observed

MAX_COMPONENTS: Final = 128
LATENT: Final = 64
HIDDEN: Final = 256
DROPOUT: Final = 0.2  # of the inputs and of the hidden layers
LEARNING_RATE: Final = 2e-3
BATCH: Final = 128
MAX_EPOCHS: Final = 100
PATIENCE: Final = 6  # epochs without a smaller error on held-out items
HELD_OUT: Final = 0.1  # fraction of the items with several modalities
Inputs = Mapping[str, tuple[Tensor, Tensor]]  # modality -> components [B, W], has [B]
Experts = Mapping[str, tuple[Tensor, Tensor]]  # modality -> mean, precision [B, Z]


@dataclass(frozen=True)
class Components:
    """The leading principal components of the unit vectors of one modality."""

    mean_D: Floats
    basis_DW: Floats
    scale: float

    @classmethod
    def of(cls, vectors_ND: Floats) -> "Components":
        mean_D = vectors_ND.mean(0)
        centred = (vectors_ND - mean_D).astype(np.float64)
        variance, basis = np.linalg.eigh(centred.T @ centred / len(centred))
        width = min(MAX_COMPONENTS, len(variance), max(len(vectors_ND) - 1, 1))
        kept = variance[-width:]
        return cls(mean_D, basis[:, -width:].astype(np.float32), float(np.sqrt(max(kept.mean(), 1e-12))))

    def project(self, vectors_ND: Floats) -> Floats:
        """Components [N, W]."""
        return ((vectors_ND - self.mean_D) @ self.basis_DW / self.scale).astype(np.float32)

    def vectors(self, components_NW: Floats) -> Floats:
        """The unit vectors [N, D] of components."""
        return unit((self.mean_D + components_NW @ self.basis_DW.T * self.scale).astype(np.float32))


class ProductOfExperts(nn.Module):
    """Encoders to experts, their product, and decoders."""

    def __init__(self, widths: Mapping[str, int]) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict({name: _mlp(width, 2 * LATENT) for name, width in widths.items()})
        self.decoders = nn.ModuleDict({name: _mlp(LATENT, width) for name, width in widths.items()})

    def experts(self, inputs: Inputs) -> Experts:
        """Mean [B, Z] and precision [B, Z] of each modality's expert."""
        found = {}
        for name, (component_BW, _) in inputs.items():
            mean_BZ, log_variance_BZ = self.encoders[name](component_BW).chunk(2, dim=1)
            found[name] = mean_BZ, torch.exp(-log_variance_BZ.clamp(-10, 10))
        return found

    def negative_elbo(self, inputs: Inputs, subsets: Sequence[Mapping[str, Tensor]]) -> Tensor:
        """The sum over `subsets` of the mean over the batch, given the modalities of the subset.

        Each has the likelihood of all modalities that an item has.
        """
        experts = self.experts(inputs)
        posteriors = [product(experts, has) for has in subsets]
        mean_SBZ, variance_SBZ = (torch.stack(parts) for parts in zip(*posteriors, strict=True))
        latent_SBZ = mean_SBZ + variance_SBZ.sqrt() * torch.randn_like(mean_SBZ)
        loss_SB = 0.5 * (variance_SBZ + mean_SBZ**2 - 1.0 - variance_SBZ.log()).sum(2)
        for name, (component_BW, present_B) in inputs.items():
            error_SB = ((self.decoders[name](latent_SBZ) - component_BW) ** 2).sum(2)
            loss_SB = loss_SB + 0.5 * error_SB * present_B
        return loss_SB.mean(1).sum()

    def reconstructed(self, name: str, inputs: Inputs) -> Tensor:
        """Components [B, W] of a modality at the mean of the posterior."""
        mean_BZ, _ = product(self.experts(inputs), {other: has_B for other, (_, has_B) in inputs.items()})
        components: Tensor = self.decoders[name](mean_BZ)
        return components


def product(experts: Experts, has: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and variance of z, both [B, Z], given the modalities that each item has, by masks [B]."""
    first_BZ, _ = next(iter(experts.values()))
    precision_BZ, weighted_BZ = torch.ones_like(first_BZ), torch.zeros_like(first_BZ)
    for name, (mean_BZ, expert_BZ) in experts.items():
        known_BZ = expert_BZ * has[name][:, None]
        precision_BZ = precision_BZ + known_BZ
        weighted_BZ = weighted_BZ + mean_BZ * known_BZ
    return weighted_BZ / precision_BZ, 1.0 / precision_BZ


class VariationalImputer:
    """`ProductOfExperts` fitted on the items with several modalities; the mean where there are too few."""

    def __init__(self, observed: Observed, *, seed: int) -> None:
        self._observed = observed
        self._components = {
            name: Components.of(observed.vectors[name][has_N])
            for name, has_N in observed.present.items()
            if has_N.any()
        }
        self._inputs = {
            name: np.where(observed.present[name][:, None], each.project(observed.vectors[name]), 0.0).astype(
                np.float32
            )
            for name, each in self._components.items()
        }
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._model = _fitted(self._inputs, observed.present, np.random.default_rng(seed))

    @torch.no_grad()
    def predict(self, name: str, rows: Ints) -> Floats:
        if self._model is None or name not in self._components:
            return np.tile(unit(self._observed.means[name][None]), (len(rows), 1))
        inputs = _without(name, _batch(self._inputs, self._observed.present, rows))
        return self._components[name].vectors(self._model.reconstructed(name, inputs).numpy())


def _fitted(
    inputs: Mapping[str, Floats], present: Mapping[str, Bools], rng: np.random.Generator
) -> ProductOfExperts | None:
    """The model of the epoch with the smallest error on held-out items; None with too few items."""
    num_N = sum(present[name].astype(np.int64) for name in inputs) if inputs else np.zeros(0, np.int64)
    several = rng.permutation(np.flatnonzero(num_N > 1))
    held, kept = np.split(several, [max(round(HELD_OUT * len(several)), 1)])
    if len(kept) < 2:
        return None
    model = ProductOfExperts({name: array.shape[1] for name, array in inputs.items()})
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.01)
    best, best_error, best_epoch = model.state_dict(), np.inf, 0
    for epoch in range(MAX_EPOCHS):
        model.train()
        order = rng.permutation(kept)
        for start in range(0, len(order), BATCH):
            batch = _batch(inputs, present, order[start : start + BATCH])
            loss = model.negative_elbo(batch, _subsets(batch))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        error = _error(model, _batch(inputs, present, held))
        if error < best_error:
            best, best_error, best_epoch = deepcopy(model.state_dict()), error, epoch
        elif epoch - best_epoch >= PATIENCE:
            break
    model.load_state_dict(best)
    return model.eval()


def _subsets(batch: Inputs) -> list[dict[str, Tensor]]:
    """All modalities, each one alone, and a random subset of each item's."""
    every = {name: has_B for name, (_, has_B) in batch.items()}
    alone = [
        {other: has_B if other == name else torch.zeros_like(has_B) for other in every}
        for name, has_B in every.items()
    ]
    drawn = {name: has_B * (torch.rand(len(has_B)) < 0.5) for name, has_B in every.items()}
    return [every, *alone, drawn]


@torch.no_grad()
def _error(model: ProductOfExperts, batch: Inputs) -> float:
    """The mean squared error of each modality imputed from the others."""
    model.eval()
    errors = []
    for name, (component_BW, has_B) in batch.items():
        if has_B.any():
            found_BW = model.reconstructed(name, _without(name, batch))
            errors.append(float(((found_BW - component_BW) ** 2).mean(1)[has_B > 0].mean()))
    return float(np.mean(errors))


def _batch(inputs: Mapping[str, Floats], present: Mapping[str, Bools], rows: Ints) -> Inputs:
    return {
        name: (torch.from_numpy(array[rows]), torch.from_numpy(present[name][rows]).float())
        for name, array in inputs.items()
    }


def _without(name: str, batch: Inputs) -> Inputs:
    return {
        other: (component_BW, torch.zeros_like(has_B) if other == name else has_B)
        for other, (component_BW, has_B) in batch.items()
    }


def _mlp(width: int, out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Dropout(DROPOUT), nn.Linear(width, HIDDEN), nn.GELU(), nn.Dropout(DROPOUT), nn.Linear(HIDDEN, out)
    )
