"""Pretrained weights to encoder directories. The import needs no torch, the conversion does."""

from features.conversion.registry import EMBEDDED, default_cache_dir, ensure_encoder
from features.conversion.several import convert_missing

__all__ = ["EMBEDDED", "convert_missing", "default_cache_dir", "ensure_encoder"]
