"""Candidate sources other than the retriever: one contract, four kinds, storage in a bundle."""

from recsys.retrieval.candidate_sources.contract import CandidateSource, merge
from recsys.retrieval.candidate_sources.factors import FactorSource
from recsys.retrieval.candidate_sources.item_neighbors import ItemNeighborSource
from recsys.retrieval.candidate_sources.popularity import PopularitySource
from recsys.retrieval.candidate_sources.recent import RecentSource
from recsys.retrieval.candidate_sources.storage import load_sources, save_sources

__all__ = [
    "CandidateSource",
    "FactorSource",
    "ItemNeighborSource",
    "PopularitySource",
    "RecentSource",
    "load_sources",
    "merge",
    "save_sources",
]
