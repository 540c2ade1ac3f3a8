"""Layouts of sentence-transformers: results equal the library's."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models

from features.conversion import ensure_encoder
from features.conversion.huggingface.sentence_modules import read_modules
from features.encoders.encoder import Encoder
from recsys.errors import EncoderError

TEXTS = ["a red shirt.", "ein blauer shoe", "so soft and warm " * 9]
DEFAULT: dict[str, Any] = {"prompts": {"query": "query : "}, "default_prompt_name": "query"}


def save(directory: Path, pooling: str, after: str, **settings: Any) -> Any:
    """A model of the library, and saved as `directory`; `after` is "dense", "normalize" or empty."""
    library = pytest.importorskip("sentence_transformers")
    modules = pytest.importorskip("sentence_transformers.models")
    bert = tiny_models.write_bert(directory.with_name("bert"))
    listed = [modules.Transformer(str(bert)), modules.Pooling(16, pooling)]
    listed += [modules.Dense(16, 5)] if after == "dense" else []
    listed += [modules.Normalize()] if after == "normalize" else []
    model = library.SentenceTransformer(modules=listed, device="cpu", **settings)
    model.save(str(directory), create_model_card=False)
    return model


@pytest.mark.parametrize(
    ("pooling", "after", "settings", "dim"),
    [
        ("mean", "normalize", DEFAULT, 16),
        pytest.param("cls", "dense", {"truncate_dim": 3}, 3, marks=pytest.mark.long),
        pytest.param("lasttoken", "", {}, 16, marks=pytest.mark.long),
    ],
)
def test_it_gives_what_the_library_gives(
    pooling: str, after: str, settings: dict[str, Any], dim: int, tmp_path: Path
) -> None:
    model = save(tmp_path / "saved", pooling, after, **settings)
    assert after != "dense" or (tmp_path / "saved" / "2_Dense" / "model.safetensors").is_file()
    if pooling == "lasttoken":
        to_the_older_layout(tmp_path / "saved")
    encoder = Encoder.load(ensure_encoder(str(tmp_path / "saved"), tmp_path / "cache", kind="text"))
    expected = model.encode(TEXTS)
    assert expected.shape == (3, dim)
    np.testing.assert_allclose(encoder.encode_texts(TEXTS), expected, atol=1e-5)


def to_the_older_layout(directory: Path) -> None:
    """The transformer's files move into 0_Transformer."""
    inner = directory / "0_Transformer"
    inner.mkdir()
    for path in list(directory.iterdir()):
        if path.is_file() and path.name not in ("modules.json", "config_sentence_transformers.json"):
            path.rename(inner / path.name)
    modules = json.loads((directory / "modules.json").read_text())
    modules[0]["path"] = "0_Transformer"
    (directory / "modules.json").write_text(json.dumps(modules))


def test_a_prompt_that_the_pooling_leaves_out_is_refused(tmp_path: Path) -> None:
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text('{"pooling_mode": "mean", "include_prompt": false}')
    listed = [{"path": "", "type": "st.Transformer"}, {"path": "1_Pooling", "type": "st.Pooling"}]
    (tmp_path / "modules.json").write_text(json.dumps(listed))
    with pytest.raises(EncoderError, match=r"include_prompt is false.*'query: '.*\?prefix="):
        read_modules(tmp_path, "query: ")
    assert read_modules(tmp_path, "") is not None


def test_a_dense_layer_beside_another_path_is_refused(tmp_path: Path) -> None:
    (tmp_path / "1_Dense").mkdir()
    (tmp_path / "1_Dense" / "config.json").write_text('{"in_features": 2, "use_residual": true}')
    listed = [{"path": "", "type": "st.Transformer"}, {"path": "1_Dense", "type": "st.Dense"}]
    (tmp_path / "modules.json").write_text(json.dumps(listed))
    with pytest.raises(EncoderError, match="use_residual"):
        read_modules(tmp_path, "")
