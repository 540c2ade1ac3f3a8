"""Pretrained weights to encoder directories. Importing this needs no torch; converting does."""

from features.conversion.registry import EMBEDDED, default_cache_dir, ensure_encoder

__all__ = ["EMBEDDED", "default_cache_dir", "ensure_encoder"]
