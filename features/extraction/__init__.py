"""All media of a dataset to vectors, cached by content."""

from features.extraction.extract import extract
from features.extraction.transcriber import WhisperTranscriber, load_transcriber

__all__ = [
    "WhisperTranscriber",
    "extract",
    "load_transcriber",
]
