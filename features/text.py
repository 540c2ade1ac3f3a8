"""Texts up to the graph: tokens, cut at the encoder's limit and padded to the longest of a batch."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from recsys.batches import Ints
from recsys.errors import EncoderError

__all__ = ["TextPreprocessor", "Tokenizer", "load_tokenizer"]


def load_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer in the `tokenizer.json` at `path`; raises `EncoderError` where it is not one."""
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception
        raise EncoderError(f"{path}: not a tokenizer: {error}") from error


class TextPreprocessor:
    """Texts to `input_ids` and `attention_mask`.

    `prefix` goes before every text. A text longer than `max_tokens` word pieces, the special ones
    included, keeps its beginning; a shorter one is padded to the longest of its batch, or with
    `pad_to_max` to `max_tokens`, where the encoder was trained so, on `pad_side`.
    """

    def __init__(
        self,
        tokenizer_file: Path,
        *,
        max_tokens: int,
        pad_token: str,
        prefix: str = "",
        pad_to_max: bool = False,
        pad_side: str = "right",
    ) -> None:
        self._prefix = prefix
        self._tokenizer = load_tokenizer(tokenizer_file)
        pad_id = self._tokenizer.token_to_id(pad_token)
        if pad_id is None:
            raise EncoderError(f"{tokenizer_file}: the padding token {pad_token!r} is not in it")
        self._tokenizer.enable_truncation(max_tokens)
        length = max_tokens if pad_to_max else None
        self._tokenizer.enable_padding(pad_id=pad_id, pad_token=pad_token, length=length, direction=pad_side)

    def __call__(self, texts: Sequence[str]) -> dict[str, Ints]:
        """Both of shape [len(texts), L], L the longest of them in tokens."""
        encodings = self._tokenizer.encode_batch([self._prefix + text for text in texts])
        return {
            "input_ids": np.array([encoding.ids for encoding in encodings], np.int64),
            "attention_mask": np.array([encoding.attention_mask for encoding in encodings], np.int64),
        }
