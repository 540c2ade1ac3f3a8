"""A generated shop: products, pictures, texts, voices and shoppers. Nothing is downloaded."""

from features.sample.options import FORMER_SHOP, SampleOptions
from features.sample.write import write_sample_shop

__all__ = ["FORMER_SHOP", "SampleOptions", "write_sample_shop"]
