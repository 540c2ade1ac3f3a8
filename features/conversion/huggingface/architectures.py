"""The supported architectures of transformers by kind of medium, and the loading of their models."""

from typing import Any

import torch
from transformers import MODEL_FOR_TEXT_ENCODING_MAPPING, MODEL_MAPPING, AutoConfig, AutoModel
from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING_NAMES
from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES
from transformers.utils import logging as transformers_logging

from features.conversion.sources import Source
from features.conversion.verify.steps import step
from features.encoders import Kind
from recsys.errors import EncoderError

LOCAL_ONLY = {"local_files_only": True, "trust_remote_code": False}  # code of the model itself is never run
WAVEFORM = ("data2vec-audio", "hubert", "sew", "unispeech", "unispeech-sat", "wav2vec2", "wavlm")
SPECTROGRAM = ("audio-spectrogram-transformer", "clap", "whisper")
VISION_TOWERS = ("clip_vision_model", "siglip_vision_model", "siglip2_vision_model")
OTHER_VISION = ("dinov2_with_registers", "dinov3_convnext")  # transformers lists no processor for them
ENCODER_DECODERS = ("t5", "mt5", "umt5")  # may be saved as the encoder alone
REFUSED = {
    **dict.fromkeys(("timesformer", "videomae", "vivit", "vjepa2"), "it takes videos and no single picture"),
    "vit_mae": "it hides patches at random, so that a picture would have another vector each time; ViT "
    "weights of the same training (ViTModel) are supported",
    "levit": "its image processor resizes in a way of its own",
    "mobilevit": "its image processor reverses the order of the colours",
    "mobilevitv2": "its image processor reverses the order of the colours",
}
TEXT_TOWERS = ("clip_text_model", "siglip_text_model")
SUPPORTED: dict[Kind, str] = {
    "text": "BERT-like and other text models with a fast tokenizer, sentence-transformers layouts, the text "
    "side of CLIP, SigLIP and CLAP",
    "image": "ViT, DINOv2, ConvNext and other vision models with an image processor, the image side of CLIP "
    "and SigLIP",
    "audio": f"whisper, audio-spectrogram-transformer, clap, {', '.join(WAVEFORM)}",
}


def load_config(source: Source) -> Any:
    """The model's configuration; raises `EncoderError` if its architecture cannot encode `source.kind`."""
    try:
        config = AutoConfig.from_pretrained(source.path, **LOCAL_ONLY)
    except Exception as error:  # a configuration class may raise any error over its values
        known = f"supported for {source.kind}: {SUPPORTED[source.kind]}"
        raise EncoderError(f"{source.name!r}: {_first_line(error)}; {known}") from error
    if reason := REFUSED.get(config.model_type):
        raise EncoderError(
            f"{source.name!r}: the architecture {config.model_type!r} is not supported: {reason}; "
            f"supported for {source.kind}: {SUPPORTED[source.kind]}"
        )
    given = kinds(config)
    if source.kind not in given:
        what = f"encodes {' and '.join(given)}, not {source.kind}" if given else "is not supported"
        raise EncoderError(
            f"{source.name!r}: the architecture {config.model_type!r} {what}; "
            f"supported for {source.kind}: {SUPPORTED[source.kind]}"
        )
    return config


def kinds(config: Any) -> tuple[Kind, ...]:
    """The media that a model of this configuration can encode; empty if it cannot be converted."""
    name = config.model_type
    if name in WAVEFORM or name in SPECTROGRAM:
        return ("text", "audio") if name == "clap" else ("audio",)
    if name in TEXT_TOWERS:
        return ("text",)
    if hasattr(config, "vision_config"):
        return ("text", "image") if is_dual(config) else ()
    if hasattr(config, "audio_config") or type(config) not in MODEL_MAPPING:
        return ()
    if name in IMAGE_PROCESSOR_MAPPING_NAMES or name in (*VISION_TOWERS, *OTHER_VISION):
        return ("image",)
    return ("text",) if TOKENIZER_MAPPING_NAMES.get(name) else ()


def is_dual(config: Any) -> bool:
    """Whether two sides share one space, as in CLIP and CLAP."""
    if not hasattr(config, "text_config") or type(config) not in MODEL_MAPPING:
        return False
    model = MODEL_MAPPING[type(config)]
    return hasattr(model, "get_text_features") and (
        hasattr(model, "get_image_features") or hasattr(model, "get_audio_features")
    )


def load_model(source: Source, config: Any) -> Any:
    """The pretrained model in float32 on the CPU.

    Raises `EncoderError` if weights are missing. If only the pooler's are missing, the pooler is removed,
    since models trained without a pooler have no weights of one.
    """
    transformers_logging.disable_progress_bar()
    level = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    encoder_alone = config.model_type in ENCODER_DECODERS
    loader = MODEL_FOR_TEXT_ENCODING_MAPPING[type(config)] if encoder_alone else AutoModel
    try:
        with step(source.name, "loading its weights", "download or save the model again, whole"):
            model, info = loader.from_pretrained(
                source.path,
                attn_implementation="eager",
                dtype=torch.float32,
                **LOCAL_ONLY,
                output_loading_info=True,
            )
    finally:
        transformers_logging.set_verbosity(level)
    missing = sorted(info["missing_keys"])
    if missing and all(".pooler." in f".{key}" for key in missing) and hasattr(model, "pooler"):
        model.pooler = None
    elif missing:
        raise EncoderError(f"{source.name!r}: {len(missing)} weights are missing, {missing[0]} among them")
    return model.eval()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
