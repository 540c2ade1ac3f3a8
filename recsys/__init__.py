"""The words of a multimodal recommender as code; see docs/architecture.md."""

__version__ = "0.1.0"
