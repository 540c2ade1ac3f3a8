"""Pretrained weights to encoder directories. The import needs no torch, the conversion does."""

from features.conversion.registry import EMBEDDED, default_cache_dir, ensure_encoder

__all__ = ["EMBEDDED", "default_cache_dir", "ensure_encoder"]
