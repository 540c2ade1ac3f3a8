"""All media of a dataset to vectors, cached by content."""

from features.extraction.cache import as_stored
from features.extraction.extract import extract
from features.extraction.transcriber import WhisperTranscriber, copy_transcriber, load_transcriber

__all__ = [
    "WhisperTranscriber",
    "as_stored",
    "copy_transcriber",
    "extract",
    "load_transcriber",
]
