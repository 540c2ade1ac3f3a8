"""Model directories as `save_pretrained` writes them, of one layer with random weights."""

from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoModel, PreTrainedTokenizerFast

SIDE = 32
WORDS = ("a", "red", "shirt", "so", "soft", "and", "warm", "shoe", "ein", "blauer", "café", "query", ":", ".")
SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "initializer_range": 0.3,
}
_VISION = {**SMALL, "image_size": SIDE, "patch_size": 8}


def save(config: Any, directory: Path) -> Path:
    """A model of this configuration, its weights drawn with seed 0."""
    torch.manual_seed(0)
    AutoModel.from_config(config).eval().save_pretrained(directory)
    return directory


def save_tokenizer(directory: Path, *, clip: bool = False, max_tokens: int = 24) -> Path:
    """A word-level tokenizer with BERT's or CLIP's special tokens."""
    special = ["<pad>", "<unk>", "<s>", "</s>"] if clip else ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    pad, unknown, first, last = special
    vocabulary = {word: at for at, word in enumerate([pad, unknown, *WORDS, first, last])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=unknown))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = [(first, vocabulary[first]), (last, vocabulary[last])]
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{first} $A {last}", special_tokens=ends)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=pad,
        unk_token=unknown,
        cls_token=first,
        eos_token=last,
        model_max_length=max_tokens,
    ).save_pretrained(directory)
    return directory


def write_bert(directory: Path, size: dict[str, Any] = SMALL, *, max_tokens: int = 24) -> Path:
    config = transformers.BertConfig(vocab_size=18, max_position_embeddings=max_tokens, **size)
    return save_tokenizer(save(config, directory), max_tokens=max_tokens)


def write_vit(directory: Path) -> Path:
    transformers.ViTImageProcessor(size={"height": SIDE, "width": SIDE}).save_pretrained(directory)
    return save(transformers.ViTConfig(**_VISION), directory)


def write_dinov2(directory: Path, size: dict[str, Any] = SMALL, *, side: int = SIDE, patch: int = 8) -> Path:
    processor = transformers.BitImageProcessor(
        size={"shortest_edge": side * 8 // 7}, crop_size={"height": side, "width": side}, resample=3
    )
    processor.save_pretrained(directory)
    given = {key: value for key, value in size.items() if key != "intermediate_size"}
    return save(transformers.Dinov2Config(**given, image_size=side, patch_size=patch), directory)


def write_convnext(directory: Path) -> Path:
    transformers.ConvNextImageProcessor(size={"shortest_edge": SIDE}, crop_pct=0.875).save_pretrained(
        directory
    )
    return save(transformers.ConvNextConfig(hidden_sizes=[4, 8, 12, 16], depths=[1, 1, 1, 1]), directory)


def write_clip(directory: Path) -> Path:
    text = {**SMALL, "vocab_size": 18, "max_position_embeddings": 24, "eos_token_id": 17, "bos_token_id": 16}
    config = transformers.CLIPConfig(text_config=text, vision_config=_VISION, projection_dim=12)
    processor = transformers.CLIPImageProcessor(
        size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}
    )
    processor.save_pretrained(directory)
    return save_tokenizer(save(config, directory), clip=True)


def write_siglip(directory: Path) -> Path:
    text = {**SMALL, "vocab_size": 18, "max_position_embeddings": 24, "projection_size": 16}
    config = transformers.SiglipConfig(text_config=text, vision_config=_VISION)
    transformers.SiglipImageProcessor(size={"height": SIDE, "width": SIDE}).save_pretrained(directory)
    return save_tokenizer(save(config, directory), clip=True)


def write_whisper(directory: Path, size: dict[str, Any] = SMALL, *, seconds: int = 1) -> Path:
    config = transformers.WhisperConfig(
        d_model=size["hidden_size"],
        encoder_layers=size["num_hidden_layers"],
        encoder_attention_heads=size["num_attention_heads"],
        encoder_ffn_dim=size["intermediate_size"],
        decoder_layers=1,
        decoder_attention_heads=2,
        decoder_ffn_dim=32,
        max_source_positions=50 * seconds,
        vocab_size=20,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
    )
    transformers.WhisperFeatureExtractor(chunk_length=seconds).save_pretrained(directory)
    return save(config, directory)


def write_wav2vec2(directory: Path, *, group: bool = True) -> Path:
    config = transformers.Wav2Vec2Config(
        **SMALL,
        conv_dim=(16, 16),
        conv_kernel=(10, 8),
        conv_stride=(5, 4),
        num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2,
        feat_extract_norm="group" if group else "layer",
        do_stable_layer_norm=not group,
        vocab_size=20,
    )
    transformers.Wav2Vec2FeatureExtractor(return_attention_mask=not group).save_pretrained(directory)
    return save(config, directory)


def write_hubert(directory: Path) -> Path:
    config = transformers.HubertConfig(
        **SMALL,
        conv_dim=(16, 16),
        conv_kernel=(10, 8),
        conv_stride=(5, 4),
        num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2,
        vocab_size=20,
    )
    transformers.Wav2Vec2FeatureExtractor().save_pretrained(directory)
    return save(config, directory)


def write_ast(directory: Path) -> Path:
    config = transformers.ASTConfig(**SMALL, max_length=100, num_mel_bins=32)
    transformers.ASTFeatureExtractor(max_length=100, num_mel_bins=32).save_pretrained(directory)
    return save(config, directory)


def write_clap(directory: Path) -> Path:
    text = {**SMALL, "vocab_size": 18, "max_position_embeddings": 26, "pad_token_id": 0}
    audio = {
        "spec_size": 64,
        "num_mel_bins": 16,
        "window_size": 4,
        "patch_embeds_hidden_size": 8,
        "depths": [1, 1],
        "num_attention_heads": [2, 2],
        "hidden_size": 16,
        "patch_size": 4,
        "patch_stride": [4, 4],
        "num_hidden_layers": 2,
        "enable_fusion": False,
        "initializer_range": 0.3,
    }
    config = transformers.ClapConfig(text_config=text, audio_config=audio, projection_dim=12)
    extractor = transformers.ClapFeatureExtractor(
        feature_size=16, max_length_s=1, truncation="rand_trunc", hop_length=960
    )
    extractor.save_pretrained(directory)
    return save_tokenizer(save(config, directory))
