"""Text models of transformers, and the text side of an image-text or audio-text model: token ids to a vector.

Where the directory has sentence-transformers' `modules.json`, the encoder has its pooling, dense layers and
normalisation. Else the pooling is the mean over the tokens, and the vector has unit length.

B texts, L tokens, D width.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from tokenizers import normalizers
from torch import Tensor, nn
from transformers import AutoTokenizer

from features.conversion.huggingface.architectures import LOCAL_ONLY, is_dual, load_config, load_model
from features.conversion.huggingface.sentence_modules import (
    POOLINGS,
    Normalize,
    read_json,
    read_modules,
    transformer_folder,
)
from features.conversion.sources import Source, e5_prefix
from features.conversion.verify.parity import Conversion, write_encoder
from features.conversion.verify.steps import step
from features.encoders import TOKENIZER_FILE
from recsys.arrays import Floats
from recsys.errors import EncoderError, did_you_mean

DEFAULT_MAX_TOKENS = 512  # for models without a stated limit
PADDED_TO_MAX = ("siglip", "siglip2", "siglip_text_model")  # trained without a mask, always at full length
SAMPLES = (
    "A red shirt.",
    "Ein blauer Schuh; Größe 42, 19,99 €",
    "très confortable — café, naïve",
    "Удобные кроссовки для бега. 轻便的蓝色背包。",
    "so soft and warm " * 300,
)


class TextEncoder(nn.Module):
    """Pooled hidden states, then the modules after the pooling."""

    def __init__(self, backbone: nn.Module, pooling: str, after: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.pool = POOLINGS[pooling]
        self.after = after

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        hidden_BLD = self.backbone(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return self.after(self.pool(hidden_BLD, attention_mask))


class TextSide(nn.Module):
    """The text side of a model with a shared space, at unit length."""

    def __init__(self, model: Any, masked: bool) -> None:
        super().__init__()
        self.model = model
        self.masked = masked

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        mask = attention_mask if self.masked else None
        features = self.model.get_text_features(input_ids=input_ids, attention_mask=mask)
        return nn.functional.normalize(features.pooler_output, dim=-1)


def convert(source: Source, directory: Path) -> None:
    """Write the encoder directory's files; raises `EncoderError` if the encoder differs from the original."""
    assert source.path is not None
    inner = replace(source, path=transformer_folder(source.path))
    config = load_config(inner)
    tokenizer = _load_tokenizer(inner)
    model = load_model(inner, config)
    to_max = config.model_type in PADDED_TO_MAX
    prefix = _prefix(source)
    module = _module(source, config, model, prefix, masked=not to_max).eval()
    limit = _max_tokens(inner, config, tokenizer, model)
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.backend_tokenizer.save(str(directory / TOKENIZER_FILE))

    def original(text: str) -> Floats:
        padding = "max_length" if to_max else False
        arguments: Any = {"truncation": True, "max_length": limit, "padding": padding, "return_tensors": "pt"}
        tokens = tokenizer([prefix + text], **arguments)
        ids = tokens["input_ids"]
        return module(ids, tokens.get("attention_mask", torch.ones_like(ids)))[0].numpy()

    conversion = Conversion(
        module=module,
        example=_example(tokenizer, limit, to_max),
        dynamic_shapes=_axes(limit, to_max),
        preprocessing={
            "max_tokens": limit,
            "pad_token": _pad_token(source, tokenizer),
            "prefix": prefix,
            "pad_to_max": to_max,
            "pad_side": tokenizer.padding_side if to_max else "right",
        },
        original=original,
        samples=SAMPLES,
    )
    write_encoder(conversion, directory, **source.labels(is_dual=is_dual(config)))


def _module(source: Source, config: Any, model: Any, prefix: str, *, masked: bool) -> nn.Module:
    if is_dual(config):
        if "pooling" in source.options:
            raise EncoderError(
                f"{source.name!r}: the pooling of {config.model_type!r} is its own; leave the option out"
            )
        return TextSide(model, masked)
    if getattr(config, "is_encoder_decoder", False):
        model = model.get_encoder()
    assert source.path is not None
    modules = read_modules(source.path, prefix)
    pooling, after = modules if modules is not None else ("mean", nn.Sequential(Normalize()))
    pooling = source.options.get("pooling", pooling)
    if pooling not in POOLINGS:
        raise EncoderError(f"{source.name!r}: pooling {pooling!r}; {did_you_mean(pooling, POOLINGS)}")
    return TextEncoder(model, pooling, after)


def _load_tokenizer(source: Source) -> Any:
    with step(source.name, "loading its tokenizer", "tokenizer.json must be in the directory of the model"):
        tokenizer = AutoTokenizer.from_pretrained(source.path, **LOCAL_ONLY)
    if not getattr(tokenizer, "is_fast", False):
        raise EncoderError(
            f"{source.name!r}: {type(tokenizer).__name__} has no tokenizer.json for the library "
            "tokenizers; choose a model with a fast tokenizer"
        )
    if _read(source, "sentence_bert_config.json").get("do_lower_case"):
        backend = tokenizer.backend_tokenizer
        steps = [normalizers.Lowercase(), *([backend.normalizer] if backend.normalizer else [])]
        backend.normalizer = normalizers.Sequence(steps)
    return tokenizer


def _read(source: Source, name: str) -> dict[str, Any]:
    """A JSON file of the model's directory; empty if it does not exist."""
    assert source.path is not None
    values: dict[str, Any] = read_json(source.path / name)
    return values


def _pad_token(source: Source, tokenizer: Any) -> str:
    token = tokenizer.pad_token or tokenizer.eos_token or tokenizer.unk_token
    if token is None:
        raise EncoderError(f"{source.name!r}: its tokenizer has no token to pad with")
    return str(token)


def _max_tokens(source: Source, config: Any, tokenizer: Any, model: Any) -> int:
    """The smallest limit of the option, sentence-transformers, the tokenizer and the position table."""
    limits = [int(tokenizer.model_max_length)]
    text = getattr(config, "text_config", config)
    positions = getattr(text, "max_position_embeddings", None) or -1  # XLNet has -1: no limit
    if positions > 0:
        limits.append(positions - _first_position(model))
    if sentence_limit := _read(source, "sentence_bert_config.json").get("max_seq_length"):
        limits.append(sentence_limit)
    if option := source.options.get("max_tokens"):
        if not option.isdecimal() or int(option) < 2:
            raise EncoderError(f"{source.name!r}: max_tokens = {option!r}; a number of at least 2 is needed")
        return min(int(option), *limits)
    limit = min(limits)
    return limit if limit <= 1_000_000 else DEFAULT_MAX_TOKENS


def _first_position(model: Any) -> int:
    """The first position id: padding_idx + 1 of RoBERTa, CamemBERT and MPNet, 0 of all others."""
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            return 0 if module.padding_idx is None else module.padding_idx + 1
    return 0


def _prefix(source: Source) -> str:
    """The option; else the default prompt of sentence-transformers; else E5's for symmetric tasks."""
    if "prefix" in source.options:
        return source.options["prefix"]
    prompts = _read(source, "config_sentence_transformers.json")
    if name := prompts.get("default_prompt_name"):
        if name not in (known := prompts.get("prompts", {})):
            raise EncoderError(f"{source.name!r}: default_prompt_name: {did_you_mean(name, known)}")
        return str(known[name])
    return e5_prefix(source.origin)


def _example(tokenizer: Any, limit: int, to_max: bool) -> dict[str, Tensor]:
    """Two texts of unequal length, the second padded."""
    length = limit if to_max else min(7, limit)
    ids = torch.tensor(tokenizer(SAMPLES[4], truncation=True, max_length=length)["input_ids"])
    ids = nn.functional.pad(ids, (0, length - len(ids)))
    mask = torch.ones((2, length), dtype=torch.int64)
    mask[1, length // 2 + 1 :] = 0
    return {"input_ids": torch.stack([ids, ids]) * mask, "attention_mask": mask}


def _axes(limit: int, to_max: bool) -> dict[str, dict[int, Any]]:
    axes: dict[int, Any] = {0: torch.export.Dim("batch", min=1, max=4096)}
    if not to_max:
        axes[1] = torch.export.Dim("length", min=2, max=limit)
    return {"input_ids": axes, "attention_mask": axes}
