"""Converters of the encoders whose weights arrive as Python packages."""
