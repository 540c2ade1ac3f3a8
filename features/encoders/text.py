"""Preprocessing of texts: tokens, cut at the encoder's limit and padded to the longest of a batch."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from recsys.arrays import Ints
from recsys.errors import EncoderError

# Characters kept for each token of the limit. Tokenising takes 500 bytes of memory a character, prose has
# about 5 characters a token, and tokens beyond the limit are not used.
CHARACTERS_A_TOKEN = 64

__all__ = ["TextPreprocessor", "Tokenizer", "load_tokenizer"]


def load_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer in the `tokenizer.json` at `path`; raises `EncoderError` if the file is not one."""
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception
        raise EncoderError(f"{path}: not a tokenizer: {error}") from error


class TextPreprocessor:
    """Texts to token ids, and token ids to `input_ids` and `attention_mask`.

    `prefix` is put before every text. A text is cut to its first `max_tokens` tokens, special tokens
    included, and to `CHARACTERS_A_TOKEN` times as many characters. Shorter texts are padded on `pad_side`
    to the longest of their batch, or with `pad_to_max` to `max_tokens`, for encoders trained that way.
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
        self._pad_id = pad_id
        self._min_length = max_tokens if pad_to_max else 0
        self._pad_left = pad_side == "left"
        self._max_characters = max_tokens * CHARACTERS_A_TOKEN
        self._tokenizer.enable_truncation(max_tokens)
        self._tokenizer.no_padding()

    def __call__(self, texts: Sequence[str]) -> dict[str, Ints]:
        """The inputs of one batch of texts."""
        return self.pad(self.tokens(texts))

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, of unequal length."""
        cut = [self._prefix + text[: self._max_characters] for text in texts]
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(cut)]

    def whole_words(self, words: Sequence[str]) -> frozenset[str]:
        """Those of `words` that are one token of the vocabulary."""
        found = self._tokenizer.encode_batch_fast(list(words), add_special_tokens=False)
        texts = [self._tokenizer.decode(each.ids).strip() if len(each.ids) == 1 else None for each in found]
        return frozenset(word for word, text in zip(words, texts, strict=True) if text == word)

    def padded_length(self, tokens: Sequence[int]) -> int:
        """The length of the text when it is padded alone."""
        return max(len(tokens), self._min_length)

    def pad(self, tokens: Sequence[Sequence[int]]) -> dict[str, Ints]:
        """Both inputs of shape [len(tokens), L], L the padded length of the longest."""
        longest = max(map(self.padded_length, tokens))
        length = np.array([len(ids) for ids in tokens])[:, None]
        place = np.arange(longest)
        mask = place >= longest - length if self._pad_left else place < length
        input_ids = np.full(mask.shape, self._pad_id, np.int64)
        input_ids[mask] = np.concatenate(tokens)
        return {"input_ids": input_ids, "attention_mask": mask.astype(np.int64)}
