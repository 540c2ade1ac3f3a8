"""A shop made up whole: products, pictures, texts, voices and shoppers, so that nothing is downloaded."""

from features.sample.options import SampleOptions
from features.sample.write import write_sample_shop

__all__ = ["SampleOptions", "write_sample_shop"]
