"""Filters: a grammar of conditions on the fields of the catalogue, and the items that pass them."""

from serving.filters.catalogue import CatalogueFilter
from serving.filters.fields import as_microseconds
from serving.filters.grammar import Filters
from serving.filters.openapi import FilterBody
from serving.filters.texts import parsed_filters

__all__ = [
    "CatalogueFilter",
    "FilterBody",
    "Filters",
    "as_microseconds",
    "parsed_filters",
]
