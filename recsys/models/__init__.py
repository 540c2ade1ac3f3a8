"""The torch models. Shape suffixes as in recsys/arrays.py; import the submodules by name."""

from recsys.models.cold_start_head import ColdStartHead, blend, inverse_root_count, replace_cold
from recsys.models.devices import to_device
from recsys.models.dropout import apply_dropout, use_generator
from recsys.models.embeddings import CategoryEmbedding, ItemIdEmbedding, TableVectors, export_categories
from recsys.models.item_tower import ID_TOKEN, ItemInputs, ItemTower, ItemTowerSpec, Standardise, drop_tokens
from recsys.models.losses import (
    chunked_cross_entropy,
    contrastive_loss,
    hardest_triplet_loss,
    listwise_cross_entropy,
    sampled_cross_entropy,
)
from recsys.models.ranker import Ranker
from recsys.models.retriever import EMBED_ROWS, Retriever, sequence_tensors, tower_spec
from recsys.models.sharded_tables import Part, ShardedTables

__all__ = [
    "EMBED_ROWS",
    "ID_TOKEN",
    "CategoryEmbedding",
    "ColdStartHead",
    "ItemIdEmbedding",
    "ItemInputs",
    "ItemTower",
    "ItemTowerSpec",
    "Part",
    "Ranker",
    "Retriever",
    "ShardedTables",
    "Standardise",
    "TableVectors",
    "apply_dropout",
    "blend",
    "chunked_cross_entropy",
    "contrastive_loss",
    "drop_tokens",
    "export_categories",
    "hardest_triplet_loss",
    "inverse_root_count",
    "listwise_cross_entropy",
    "replace_cold",
    "sampled_cross_entropy",
    "sequence_tensors",
    "to_device",
    "tower_spec",
    "use_generator",
]
