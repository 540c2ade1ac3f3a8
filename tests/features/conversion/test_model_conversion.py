"""Tiny models of each architecture: the encoder equals transformers with its own preprocessing.

An export takes seconds, so the daily tests have one model of each kind: BERT, ViT, CLIP and Whisper.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
import torch
import torchvision
import transformers
from PIL import Image
from torch.nn.functional import normalize

from features.conversion import ensure_encoder
from features.conversion.verify import export
from features.conversion.verify import parity as finish
from features.encoders.encoder import Encoder, Kind
from recsys.errors import EncoderError

TEXTS = ["a red shirt.", "ein blauer shoe", "so soft and warm " * 9]
Make = Callable[..., tuple[Path, Encoder]]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Writes a tiny model once and converts it for a kind: its directory and its encoder."""
    root = tmp_path_factory.mktemp("models")

    def write_and_convert(name: str, kind: Kind, options: str = "") -> tuple[Path, Encoder]:
        directory = root / name
        if not directory.exists():
            getattr(tiny_models, f"write_{name}")(directory)
        return directory, Encoder.load(ensure_encoder(f"{directory}{options}", root / "cache", kind=kind))

    return write_and_convert


def pictures() -> list[Image.Image]:
    rng = np.random.default_rng(1)
    coarse = [Image.fromarray(rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)) for _ in range(3)]
    sizes = [(71, 50), (64, 64), (45, 90)]
    return [image.resize(size, Image.Resampling.BICUBIC) for image, size in zip(coarse, sizes, strict=True)]


def clips(*lengths: int) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.normal(0, 0.1, length).astype(np.float32) for length in lengths]


def load(directory: Path) -> tuple[Any, Any]:
    model = transformers.AutoModel.from_pretrained(directory).eval()
    return model, transformers.AutoTokenizer.from_pretrained(directory)


def assert_near(found: np.ndarray, expected: torch.Tensor, tolerance: float) -> None:
    """Rows differ by less than `tolerance` of their length, and are not all the same."""
    reference = expected.detach().numpy()
    assert found.shape == reference.shape
    difference = np.linalg.norm(found - reference, axis=1) / np.linalg.norm(reference, axis=1)
    assert difference.max() < tolerance
    if len(found) > 1:
        assert np.linalg.norm(found - found.mean(axis=0)) > 3 * np.linalg.norm(found - reference)


def test_bert(make: Make) -> None:
    directory, encoder = make("bert", "text", "?prefix=query : ")
    model, tokenizer = load(directory)
    prefixed = [f"query : {text}" for text in TEXTS]
    tokens = tokenizer(prefixed, padding=True, truncation=True, max_length=24, return_tensors="pt")
    hidden = model(**tokens).last_hidden_state
    mask = tokens["attention_mask"][..., None]
    expected = normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1)
    assert_near(encoder.encode_texts(TEXTS), expected, 1e-5)
    assert encoder.spec.preprocessing["prefix"] == "query : "
    assert encoder.spec.space is None
    assert encoder.spec.parity["difference"] < 1e-5
    assert encoder.spec.parity["cosine"] > 0.99999


@pytest.mark.long
def test_sentence_transformers_layout(make: Make, tmp_path: Path) -> None:
    """The first token, a dense layer and tanh; no normalisation, since modules.json has none; 10 tokens."""
    directory = shutil.copytree(make("bert", "text", "?prefix=query : ")[0], tmp_path / "bert")
    linear = torch.nn.Linear(16, 5)
    modules = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Dense", "Dense")]
    listed = [{"idx": 0, "name": "", "path": path, "type": f"st.models.{name}"} for path, name in modules]
    (directory / "modules.json").write_text(json.dumps(listed))
    (directory / "sentence_bert_config.json").write_text('{"max_seq_length": 10, "do_lower_case": true}')
    (directory / "1_Pooling").mkdir()
    (directory / "1_Pooling" / "config.json").write_text(
        '{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}'
    )
    (directory / "2_Dense").mkdir()
    (directory / "2_Dense" / "config.json").write_text(
        '{"in_features": 16, "out_features": 5, "bias": true, "activation_function": "torch.nn.Tanh"}'
    )
    state = {f"linear.{name}": value for name, value in linear.state_dict().items()}
    torch.save(state, directory / "2_Dense" / "pytorch_model.bin")
    encoder = Encoder.load(ensure_encoder(str(directory), tmp_path / "cache", kind="text"))
    model, tokenizer = load(directory)
    tokens = tokenizer(TEXTS, padding=True, truncation=True, max_length=10, return_tensors="pt")
    expected = torch.tanh(linear(model(**tokens).last_hidden_state[:, 0]))
    assert_near(encoder.encode_texts(TEXTS), expected, 1e-5)


@pytest.mark.parametrize(
    "name",
    ["vit", pytest.param("dinov2", marks=pytest.mark.long), pytest.param("convnext", marks=pytest.mark.long)],
)
def test_vision_models(make: Make, name: str) -> None:
    directory, encoder = make(name, "image")
    processor = transformers.AutoImageProcessor.from_pretrained(directory)
    model, pixels = load_vision(directory), processor(images=pictures(), return_tensors="pt")
    assert_near(encoder.encode_images(pictures()), model(**pixels).pooler_output.flatten(1), 1e-2)


def load_vision(directory: Path) -> Any:
    return transformers.AutoModel.from_pretrained(directory).eval()


@pytest.mark.long
def test_a_vision_model_without_a_pooler_gives_its_first_token(make: Make, tmp_path: Path) -> None:
    directory = shutil.copytree(make("vit", "image")[0], tmp_path / "vit")
    model = transformers.ViTModel.from_pretrained(directory, add_pooling_layer=False).eval()
    model.save_pretrained(directory)
    encoder = Encoder.load(ensure_encoder(str(directory), tmp_path / "cache", kind="image"))
    processor = transformers.AutoImageProcessor.from_pretrained(directory)
    pixels = processor(images=pictures(), return_tensors="pt")
    assert_near(encoder.encode_images(pictures()), model(**pixels).last_hidden_state[:, 0], 1e-2)


def test_both_sides_of_clip_share_a_space(make: Make) -> None:
    directory, text = make("clip", "text")
    _, image = make("clip", "image")
    model, tokenizer = load(directory)
    processor = transformers.AutoImageProcessor.from_pretrained(directory)
    tokens = tokenizer(TEXTS, padding=True, truncation=True, max_length=24, return_tensors="pt")
    pixels = processor(images=pictures(), return_tensors="pt")
    expected = model(**tokens, **pixels)
    assert_near(text.encode_texts(TEXTS), expected.text_embeds, 1e-5)
    assert_near(image.encode_images(pictures()), expected.image_embeds, 1e-2)
    assert text.dim == image.dim == 12
    assert text.spec.space == image.spec.space is not None


@pytest.mark.long
def test_siglip_texts_are_padded_to_their_full_length_and_not_masked(make: Make) -> None:
    directory, encoder = make("siglip", "text")
    model, tokenizer = load(directory)
    tokens = tokenizer(TEXTS, padding="max_length", truncation=True, max_length=24, return_tensors="pt")
    expected = normalize(model.get_text_features(tokens["input_ids"]).pooler_output, dim=-1)
    assert_near(encoder.encode_texts(TEXTS), expected, 1e-5)


@pytest.mark.long
def test_siglip_pictures(make: Make) -> None:
    directory, encoder = make("siglip", "image")
    processor = transformers.AutoImageProcessor.from_pretrained(directory)
    pixels = processor(images=pictures(), return_tensors="pt")
    features = load_vision(directory).get_image_features(**pixels).pooler_output
    assert_near(encoder.encode_images(pictures()), normalize(features, dim=-1), 1e-2)


def test_whisper_of_another_size(make: Make) -> None:
    directory, encoder = make("whisper", "audio")
    extractor = transformers.AutoFeatureExtractor.from_pretrained(directory)
    full = clips(16_000, 16_000)
    features = extractor(full, sampling_rate=16_000, return_tensors="pt").input_features
    expected = load_vision(directory).get_encoder()(features).last_hidden_state.mean(dim=1)
    assert_near(encoder.encode_audio(full), expected, 1e-4)


@pytest.mark.long
def test_wav2vec2_does_not_hear_its_neighbours(make: Make) -> None:
    directory, encoder = make("wav2vec2", "audio")
    extractor = transformers.AutoFeatureExtractor.from_pretrained(directory)
    model, heard = load_vision(directory), clips(9000, 4001, 700)
    features = [extractor(clip, sampling_rate=16_000, return_tensors="pt").input_values for clip in heard]
    expected = torch.cat([model(values).last_hidden_state.mean(dim=1) for values in features])
    assert_near(encoder.encode_audio(heard), expected, 1e-4)


@pytest.mark.long
def test_ast(make: Make) -> None:
    directory, encoder = make("ast", "audio")
    extractor = transformers.AutoFeatureExtractor.from_pretrained(directory)
    heard = clips(9000, 16_240, 801)
    values = extractor(heard, sampling_rate=16_000, return_tensors="pt").input_values
    assert_near(encoder.encode_audio(heard), load_vision(directory)(values.float()).pooler_output, 1e-4)


@pytest.mark.long
def test_clap_hears_at_its_own_rate(make: Make) -> None:
    from scipy.signal import resample_poly

    directory, encoder = make("clap", "audio")
    extractor = transformers.AutoFeatureExtractor.from_pretrained(directory)
    heard = clips(16_000, 5001, 900)
    raised = [resample_poly(clip, 3, 1).astype(np.float32) for clip in heard]
    features = extractor(raised, sampling_rate=48_000, return_tensors="pt").input_features.float()
    outputs = load_vision(directory).get_audio_features(input_features=features).pooler_output
    assert_near(encoder.encode_audio(heard), normalize(outputs, dim=-1), 1e-3)


@pytest.mark.long
def test_torchvision_with_a_state_dict(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = torchvision.models.squeezenet1_1(weights=None, num_classes=3).eval()
    torch.save(model.state_dict(), tmp_path / "mine.pth")
    name = f"torchvision:squeezenet1_1:{tmp_path / 'mine.pth'}"
    encoder = Encoder.load(ensure_encoder(name, tmp_path / "cache"))
    transforms = torchvision.models.SqueezeNet1_1_Weights.DEFAULT.transforms()
    pixels = torch.stack([transforms(picture) for picture in pictures()])
    assert_near(encoder.encode_images(pictures()), model.features(pixels).mean(dim=(2, 3)), 1e-3)
    assert encoder.spec.source["origin"] == "torchvision:squeezenet1_1:mine.pth"


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
@pytest.mark.parametrize("published", [True, False])
def test_published_weights_undo_the_normalisation_of_imagenet(name: str, published: bool) -> None:
    """x * std + mean is the picture in [0, 1], and these weights were trained on 2 * picture - 1."""
    from features.conversion.huggingface.torchvision_model import load_backbone
    from features.conversion.sources import resolve

    source = resolve(f"torchvision:{name}", "image", {})
    with torch.device("meta"):
        bare = torchvision.models.get_model(name, weights=None, aux_logits=False, init_weights=False)
        found: Any = load_backbone(source, name, bare.state_dict(), published=published)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x = torch.linspace(-2, 2, 27).reshape(1, 3, 3, 3)
    undone = (x * std[:, None, None] + mean[:, None, None]) * 2 - 1
    torch.testing.assert_close(found._transform_input(x), undone if published else x)


@pytest.mark.parametrize(
    ("name", "dim"), [("resnet18", 512), ("mobilenet_v3_small", 1024), ("vit_b_32", 768), ("swin_t", 768)]
)
def test_the_last_linear_layer_is_taken_off(name: str, dim: int) -> None:
    from features.conversion.huggingface.torchvision_model import _drop_head

    with torch.device("meta"):
        model = torchvision.models.get_model(name, weights=None).eval()
        _drop_head(model)
        assert model(torch.empty(1, 3, 224, 224)).shape == (1, dim)


def test_torchvision_names_and_weights_that_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save({"fc.weight": torch.zeros(2, 2)}, tmp_path / "other.pth")
    with pytest.raises(EncoderError, match=r"no classification model 'resnet19'; did you mean 'resnet18'"):
        ensure_encoder("torchvision:resnet19", tmp_path)
    with pytest.raises(EncoderError, match="the state dict does not fit resnet18"):
        ensure_encoder(f"torchvision:resnet18:{tmp_path / 'other.pth'}", tmp_path)

    def download(*_: Any, **__: Any) -> None:
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    with pytest.raises(
        EncoderError, match=r"no network.* give the file: torchvision:resnet18:resnet18-.*pth"
    ):
        ensure_encoder("torchvision:resnet18", tmp_path)


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("whisper", "image", "'whisper' encodes audio, not image; supported for image: ViT"),
        ("bert", "audio", "'bert' encodes text, not audio; supported for audio: whisper"),
        ("clip", "audio", "'clip' encodes text and image, not audio"),
    ],
)
def test_another_kind_is_refused(make: Make, name: str, kind: Kind, message: str) -> None:
    with pytest.raises(EncoderError, match=message):
        make(name, kind)


def test_an_unknown_architecture_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "smellformer"}')
    with pytest.raises(EncoderError, match=r"smellformer.*supported for text: BERT-like"):
        ensure_encoder(str(tmp_path), tmp_path / "cache", kind="text")


def test_missing_weights_are_refused(make: Make, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    directory = shutil.copytree(make("bert", "text", "?prefix=query : ")[0], tmp_path / "bert")
    state = load_file(directory / "model.safetensors")
    del state["encoder.layer.0.output.dense.weight"]
    save_file(state, directory / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        EncoderError, match=r"1 weights are missing, encoder\.layer\.0\.output\.dense\.weight"
    ):
        ensure_encoder(str(directory), tmp_path / "cache", kind="text")


def test_an_encoder_that_differs_is_refused(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The encoder resizes in another way than the model's own processor. No file is kept."""
    from features.conversion.huggingface import image_model

    directory, made = make("vit", "image")
    graph = made.spec.path / "model.onnx"
    describe = image_model.describe
    nearest = {"interpolation": "nearest"}
    monkeypatch.setattr(finish, "_export", lambda *given: float(bool(shutil.copy(graph, given[1]))))
    monkeypatch.setattr(image_model, "describe", lambda *given: describe(*given) | nearest)
    with pytest.raises(
        EncoderError, match=r"'vit': the encoder differs from the original .* more than 1e-02"
    ):
        ensure_encoder(str(directory), tmp_path / "cache", kind="image")
    assert list((tmp_path / "cache" / "encoders").iterdir()) == []


def test_weights_too_large_for_a_protobuf_lie_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "MAX_INLINE_BYTES", 1000)
    inputs = {"x": torch.ones(2, 40)}
    linear = torch.nn.Linear(40, 40)

    class Named(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = linear

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.linear(x)

    given: Any = {"example": inputs, "dynamic_shapes": {"x": {0: torch.export.Dim("batch")}}}
    assert export.export_graph(Named(), tmp_path, **given, checks=[inputs], tolerance=1e-5) < 1e-5
    assert (tmp_path / "model.onnx.data").stat().st_size >= 40 * 40 * 4


def test_compare_by_hand() -> None:
    parity = finish.compare(np.array([[3.0, 4.0], [1.0, 0.0]]), np.array([[3.0, 4.0], [1.0, 1.0]]))
    assert parity == pytest.approx({"difference": 1.0, "cosine": 0.5**0.5})
