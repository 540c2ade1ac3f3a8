"""A generated shop: products, pictures, texts, voices and shoppers. Nothing is downloaded."""

from features.sample.options import SampleOptions
from features.sample.write import write_sample_shop

__all__ = ["SampleOptions", "write_sample_shop"]
