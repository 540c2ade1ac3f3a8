"""Imputation: the vectors of modalities that an item lacks, from the ones that it has."""

from training.imputation.media import impute_media, with_imputed
from training.imputation.methods import MIN_ITEMS, Imputer, fit_imputer

__all__ = ["MIN_ITEMS", "Imputer", "fit_imputer", "impute_media", "with_imputed"]
