"""Encoder directories: raw media to vectors through ONNX Runtime."""

from features.encoders.audio import HOP, N_FFT, WINDOW_SAMPLES, hann_window, log_mel, mel_filters, windows
from features.encoders.batching import chunks, length_batches
from features.encoders.encoder import (
    GRAPH_FILE,
    SPEC_FILE,
    TOKENIZER_FILE,
    Encoder,
    EncoderSpec,
    Kind,
    check_sha256,
    sha256_file,
    write_spec,
)
from features.encoders.image import Pixels
from features.encoders.text import Tokenizer, load_tokenizer

__all__ = [
    "GRAPH_FILE",
    "HOP",
    "N_FFT",
    "SPEC_FILE",
    "TOKENIZER_FILE",
    "WINDOW_SAMPLES",
    "Encoder",
    "EncoderSpec",
    "Kind",
    "Pixels",
    "Tokenizer",
    "check_sha256",
    "chunks",
    "hann_window",
    "length_batches",
    "load_tokenizer",
    "log_mel",
    "mel_filters",
    "sha256_file",
    "windows",
    "write_spec",
]
