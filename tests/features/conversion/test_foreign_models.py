"""Errors for foreign models that are refused, and modules of unusual models. Nothing is exported here."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
import torch
import transformers

from features.conversion import ensure_encoder
from features.conversion.huggingface import text_model
from features.conversion.sources import resolve
from features.conversion.verify.parity import Conversion
from features.conversion.verify.steps import step
from recsys.errors import EncoderError

TINY = tiny_models.SMALL
LONG = "so soft and warm " * 30


def plan(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Conversion:
    """The module that is exported for a text model."""
    planned: list[Conversion] = []
    monkeypatch.setattr(text_model, "write_encoder", lambda conversion, *_, **__: planned.append(conversion))
    text_model.convert(resolve(str(directory), "text", {}), directory)
    return planned[0]


@pytest.mark.parametrize(
    ("config", "limit"),
    [
        (transformers.CamembertConfig(vocab_size=18, max_position_embeddings=24, pad_token_id=1, **TINY), 22),
        (transformers.MPNetConfig(vocab_size=18, max_position_embeddings=24, pad_token_id=1, **TINY), 22),
        (transformers.BertConfig(vocab_size=18, max_position_embeddings=24, **TINY), 24),
        (transformers.XLNetConfig(vocab_size=18, d_model=16, n_layer=1, n_head=2, d_inner=32), 512),
    ],
    ids=lambda value: getattr(value, "model_type", None),
)
def test_max_tokens_begin_after_the_place_of_padding(
    config: Any, limit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """24 positions, two of them for padding; the limit of the tokenizer is 512."""
    tiny_models.save_tokenizer(tiny_models.save(config, tmp_path), max_tokens=512)
    conversion = plan(tmp_path, monkeypatch)
    assert conversion.preprocessing["max_tokens"] == limit
    with torch.no_grad():
        assert np.isfinite(conversion.original(LONG)).all()


def test_the_encoder_of_t5_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The result equals that of the encoder of a full T5."""
    config = transformers.T5Config(vocab_size=18, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
    torch.manual_seed(0)
    whole = transformers.T5Model(config).eval()
    whole.save_pretrained(tmp_path / "whole")
    alone = transformers.T5EncoderModel.from_pretrained(tmp_path / "whole").eval()
    alone.save_pretrained(tmp_path / "alone")
    tiny_models.save_tokenizer(tmp_path / "alone")
    ids = transformers.AutoTokenizer.from_pretrained(tmp_path / "alone")("a red shirt", return_tensors="pt")
    with torch.no_grad():
        found = plan(tmp_path / "alone", monkeypatch).original("a red shirt")
        mean = whole.get_encoder()(ids["input_ids"]).last_hidden_state.mean(dim=1)
    np.testing.assert_allclose(found, torch.nn.functional.normalize(mean)[0], atol=1e-6)


def write_misfit(directory: Path) -> None:
    tiny_models.write_vit(directory)
    transformers.ViTImageProcessor(size={"height": 40, "width": 40}).save_pretrained(directory)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (write_misfit, r"its own preprocessing: ValueError: .*40\*40.*may not fit together"),
        (transformers.VideoMAEConfig().save_pretrained, "takes videos and no single picture"),
        (transformers.ViTMAEConfig().save_pretrained, "hides patches at random"),
        (transformers.MobileViTConfig().save_pretrained, "reverses the order of the colours"),
        (transformers.ViTConfig().save_pretrained, "loading its image processor: .*preprocessor_config"),
    ],
    ids=["misfit", "videomae", "vit_mae", "mobilevit", "no processor"],
)
def test_image_models_that_cannot_be(write: Callable[[Path], None], message: str, tmp_path: Path) -> None:
    write(tmp_path / "model")
    with pytest.raises(EncoderError, match=message):
        ensure_encoder(str(tmp_path / "model"), tmp_path / "cache", kind="image")


@pytest.mark.parametrize("name", ["dinov2_with_registers", "dinov3_convnext"])
def test_architectures_without_a_processor_of_their_own_are_image_models(name: str) -> None:
    from features.conversion.huggingface.architectures import kinds

    assert kinds(transformers.AutoConfig.for_model(name)) == ("image",)


def test_whatever_is_raised_names_model_step_and_remedy() -> None:
    with (
        pytest.raises(
            EncoderError, match="'mine': failed while dreaming: OverflowError: too big; wake up"
        ) as caught,
        step("mine", "dreaming", "wake up"),
    ):
        raise OverflowError("\x1b[96mtoo big\x1b[0m\nand more")
    assert isinstance(caught.value.__cause__, OverflowError)
