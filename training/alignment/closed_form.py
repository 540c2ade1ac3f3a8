"""Linear heads in closed form: canonical correlation analysis, regularised, of any number of kinds.

With x_v the vector of kind v, mu_v its mean, C_vv its covariance over all vectors of the kind, and C_vw the
covariance of two kinds over the pairs of an item's vectors, let

    B_v = (C_vv + r m_v I)^(-1/2),    m_v the mean eigenvalue of C_vv,
    M   = blocks g_vw B_v C_vw B_w,   zeros on the diagonal,   g_vw = sqrt(pairs of v and w / most pairs).

The head of kind v is x -> diag(s^p) U_v^T B_v (x - mu_v) at unit length, with s > 0 the S largest eigenvalues
of M, U their eigenvectors, and U_v the rows of kind v. For two kinds it is CCA (Hotelling 1936), for more the
sum of correlations (Kettenring 1971). Powers p > 0 shrink directions of low correlation (Gong et al. 2014, "A
Multi-View Embedding Space for Modeling Internet Images, Tags, and their Semantics"). Items with one kind of
media take part in C_vv. The factors g keep the noise of few pairs from looking like correlation.

Legend: D width of an encoder, P pairs, C principal components of a kind, S width of the shared space.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.linalg import cho_factor, cho_solve, eigh

from recsys.arrays import Floats, unit
from recsys.modalities import EncoderKind
from recsys.ridge import Doubles
from training.alignment.views import Views

MAX_COMPONENTS = 384  # principal components of a kind: the eigenproblem grows with the third power
MIN_EIGENVALUE = 1e-6  # relative to the largest; below it is rounding


@dataclass(frozen=True, kw_only=True)
class LinearMap:
    """x -> (x - mean) weight, before the scaling to unit length."""

    mean_D: Floats
    weight_DS: Floats

    def __call__(self, vectors_BD: Floats) -> Floats:
        """Vectors [B, S]."""
        return np.asarray((vectors_BD - self.mean_D) @ self.weight_DS, np.float32)


@dataclass(frozen=True, kw_only=True)
class _Components:
    """The principal components of one kind."""

    mean_D: Doubles
    axes_DC: Doubles
    variance_C: Doubles
    mean_variance: float

    @classmethod
    def of(cls, stacked_PD: Floats) -> Self:
        values: Doubles = stacked_PD.astype(np.float64)
        mean_D = values.mean(0)
        values -= mean_D
        variance, axes = _principal(values)
        keep = np.flatnonzero(variance > MIN_EIGENVALUE * max(variance[-1], 1e-30))[::-1][:MAX_COMPONENTS]
        mean_variance = float(variance.clip(min=0).sum()) / values.shape[1]
        return cls(
            mean_D=mean_D, axes_DC=axes[:, keep], variance_C=variance[keep], mean_variance=mean_variance
        )

    def whitening(self, ridge: float) -> Doubles:
        """The diagonal of B_v in the basis of the components. Shape [C]."""
        scale: Doubles = (self.variance_C + ridge * self.mean_variance) ** -0.5
        return scale


def _principal(centred_PD: Doubles) -> tuple[Doubles, Doubles]:
    """Eigenvalues of the covariance, ascending, and their eigenvectors as columns.

    Of fewer vectors than dimensions from the products of the vectors, X X^T / P = L diag(v) L^T: the
    eigenvectors are X^T L / sqrt(P v), and the other D - P eigenvalues, left out here, are 0.
    """
    num, width = centred_PD.shape
    if num >= width:
        variance, axes = eigh(centred_PD.T @ centred_PD / num)
        return variance, axes
    variance, left = eigh(centred_PD @ centred_PD.T / num)
    scale = np.sqrt(num * variance.clip(min=MIN_EIGENVALUE * max(float(variance[-1]), 1e-30)))
    return variance, centred_PD.T @ (left / scale)


class CanonicalCorrelation:
    """Covariances of the views, from which heads for any ridge and power follow."""

    def __init__(self, views: Views, dim: int) -> None:
        """Heads have at most `dim` dimensions, and no more than any encoder."""
        self.dim, self.kinds = dim, views.aligned_kinds
        self._components = {kind: _Components.of(views.stacked(kind)) for kind in self.kinds}
        self._cross, self._num_pairs = self._covariances(views)
        self._spectra: dict[float, tuple[Doubles, Doubles]] = {}

    def heads(self, *, ridge: float, power: float) -> Mapping[EncoderKind, LinearMap]:
        """Linear maps of all kinds."""
        if ridge not in self._spectra:
            self._spectra[ridge] = self._spectrum(ridge)
        correlation, axes = self._spectra[ridge]
        heads, start = {}, 0
        for kind in self.kinds:
            of = self._components[kind]
            rows = axes[start : start + len(of.variance_C)] * correlation**power
            start += len(of.variance_C)
            weight = of.axes_DC @ (of.whitening(ridge)[:, None] * rows)
            heads[kind] = LinearMap(
                mean_D=of.mean_D.astype(np.float32), weight_DS=np.ascontiguousarray(weight, np.float32)
            )
        return heads

    def _covariances(
        self, views: Views
    ) -> tuple[dict[tuple[EncoderKind, EncoderKind], Doubles], dict[tuple[EncoderKind, EncoderKind], int]]:
        """Cross-covariances in the bases of the components, and numbers of pairs, of kinds in order."""
        sums: dict[tuple[EncoderKind, EncoderKind], Doubles] = {}
        counts: dict[tuple[EncoderKind, EncoderKind], int] = {}
        place = {kind: at for at, kind in enumerate(self.kinds)}
        for names, rows in views.pairs().items():
            one, other = sorted(names, key=lambda name: place[views.kind_of[name]])
            key = views.kind_of[one], views.kind_of[other]
            left, right = (
                self._coordinates(views.kind_of[name], views.vectors[name][rows]) for name in (one, other)
            )
            sums[key] = sums.get(key, 0.0) + left.T @ right
            counts[key] = counts.get(key, 0) + len(rows)
        return {key: total / counts[key] for key, total in sums.items()}, counts

    def _coordinates(self, kind: EncoderKind, vectors_PD: Floats) -> Doubles:
        of = self._components[kind]
        coordinates: Doubles = (vectors_PD - of.mean_D) @ of.axes_DC
        return coordinates

    def _spectrum(self, ridge: float) -> tuple[Doubles, Doubles]:
        """The largest positive eigenvalues [S] of M, descending, and their eigenvectors [all C, S]."""
        sizes = [len(self._components[kind].variance_C) for kind in self.kinds]
        starts = dict(zip(self.kinds, np.cumsum([0, *sizes[:-1]]), strict=True))
        matrix = np.zeros((sum(sizes), sum(sizes)))
        most = max(self._num_pairs.values())
        for (one, other), cross in self._cross.items():
            left, right = (self._components[kind].whitening(ridge) for kind in (one, other))
            block = left[:, None] * cross * right * np.sqrt(self._num_pairs[one, other] / most)
            rows, columns = (
                slice(starts[kind], starts[kind] + size)
                for kind, size in zip((one, other), block.shape, strict=True)
            )
            matrix[rows, columns], matrix[columns, rows] = block, block.T
        first = max(len(matrix) - min(self.dim, *sizes), 0)
        values, axes = eigh(matrix, subset_by_index=(first, len(matrix) - 1))
        keep = np.flatnonzero(values > MIN_EIGENVALUE * max(values[-1], 1e-30))[::-1]
        return values[keep], _with_signs(axes[:, keep])


def _with_signs(axes: Doubles) -> Doubles:
    """Each column with a positive entry of largest size, so that heads do not depend on the solver."""
    largest = np.abs(axes).argmax(0)
    signs = np.sign(axes[largest, np.arange(axes.shape[1])])
    signed: Doubles = axes * np.where(signs == 0, 1.0, signs)
    return signed


def ridge_into(
    views: Views, kind: EncoderKind, aligned: Mapping[EncoderKind, int], ridge: float
) -> LinearMap | None:
    """The ridge regression of `kind` onto the space of the kinds in `aligned`, which one pretraining aligned.

    The target of a vector is the unit vector of a view of the same item in that space; one row for each pair.
    None where no item has both.
    """
    sources, targets = [], []
    for names, rows in views.pairs().items():
        own_names = [name for name in names if views.kind_of[name] == kind]
        aligned_names = [name for name in names if views.kind_of[name] in aligned]
        if own_names and aligned_names:
            sources.append(views.vectors[own_names[0]][rows])
            targets.append(unit(views.vectors[aligned_names[0]][rows]))
    if not sources:
        return None
    source_PD, target_PS = (np.concatenate(each).astype(np.float64) for each in (sources, targets))
    mean_D = source_PD.mean(0)
    source_PD -= mean_D
    gram_DD = source_PD.T @ source_PD
    penalty = ridge * max(np.trace(gram_DD) / len(gram_DD), 1e-30)
    weight_DS = cho_solve(cho_factor(gram_DD + penalty * np.eye(len(gram_DD))), source_PD.T @ target_PS)
    return LinearMap(mean_D=mean_D.astype(np.float32), weight_DS=weight_DS.astype(np.float32))
