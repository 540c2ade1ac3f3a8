"""Encoder: vectors computed by hand, independence of batches, errors for altered directories, no torch."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_encoders import WORDS, write_tiny_audio, write_tiny_image, write_tiny_text

from features.encoders.encoder import Encoder, EncoderSpec
from features.encoders.text import TextPreprocessor
from recsys.errors import EncoderError, ProviderError


@pytest.fixture
def text_dir(tmp_path: Path) -> Path:
    return write_tiny_text(tmp_path / "text")


def test_texts(text_dir: Path) -> None:
    encoder = Encoder.load(text_dir)
    vectors = encoder.encode_texts(["red shirt", "blue"])
    np.testing.assert_array_equal(vectors, [[2 + 5, 2], [4, 1]])
    assert vectors.dtype == np.float32
    assert (encoder.kind, encoder.dim, encoder.providers) == ("text", 2, ("CPUExecutionProvider",))


def test_a_long_text_keeps_its_beginning(text_dir: Path) -> None:
    vectors = Encoder.load(text_dir).encode_texts(["red " * 6 + "shoe " * 9])
    np.testing.assert_array_equal(vectors, [[12, 6]])


def test_images(tmp_path: Path) -> None:
    encoder = Encoder.load(write_tiny_image(tmp_path / "image"))
    pictures = [Image.new("RGB", (40, 10), (10, 20, 30)), Image.new("RGB", (3, 9), "white")]
    np.testing.assert_allclose(encoder.encode_images(pictures), [[10, 20, 30], [255, 255, 255]], atol=1e-4)


def test_audio_of_unequal_length(tmp_path: Path) -> None:
    encoder = Encoder.load(write_tiny_audio(tmp_path / "audio"))
    clips = [np.full(length, value, np.float32) for length, value in ((1600, 0.5), (100, -1.0), (9000, 2.0))]
    np.testing.assert_allclose(encoder.encode_audio(clips), [[0.5], [-1.0], [2.0]], rtol=1e-5)


def test_audio_longer_than_a_window_is_the_weighted_mean(tmp_path: Path) -> None:
    encoder = Encoder.load(write_tiny_audio(tmp_path / "audio"))
    clip = np.random.default_rng(0).normal(1.0, 0.1, 16_000 * 95).astype(np.float32)
    np.testing.assert_allclose(encoder.encode_audio([clip]), [[clip.mean()]], rtol=1e-4)


@pytest.mark.parametrize("num_threads", [1, 3])
def test_many_texts_in_batches_are_as_one_by_one(text_dir: Path, num_threads: int) -> None:
    """500 texts of one to six tokens make four batches of at most 512 tokens."""
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS[2:], rng.integers(1, 7))) for _ in range(500)]
    encoder = Encoder.load(text_dir, num_threads=num_threads)
    alone = np.concatenate([encoder.encode_texts([text]) for text in texts])
    np.testing.assert_array_equal(encoder.encode_texts(texts), alone)
    assert len(np.unique(alone, axis=0)) > 20


def test_a_batch_is_padded_to_its_longest(text_dir: Path) -> None:
    preprocessor = TextPreprocessor(text_dir / "tokenizer.json", max_tokens=6, pad_token="[PAD]")
    tokens = preprocessor.tokens(["red shirt", "blue"])
    assert tokens == [[2, 5], [4]]
    inputs = preprocessor.pad(tokens)
    np.testing.assert_array_equal(inputs["input_ids"], [[2, 5], [4, 0]])
    np.testing.assert_array_equal(inputs["attention_mask"], [[1, 1], [1, 0]])


def test_many_pictures_keep_their_order(tmp_path: Path) -> None:
    encoder = Encoder.load(write_tiny_image(tmp_path / "image"), num_threads=3)
    pictures = [Image.new("RGB", (9, 9), (n, 2 * n, 3 * n)) for n in range(30)]
    expected = [[n, 2 * n, 3 * n] for n in range(30)]
    np.testing.assert_allclose(encoder.encode_images(pictures), expected, atol=1e-4)


def test_many_clips_in_batches_are_as_one_by_one(tmp_path: Path) -> None:
    """Three minutes in clips of up to six seconds make some twenty batches of at most ten."""
    rng = np.random.default_rng(0)
    clips = [rng.normal(size=rng.integers(1, 96_000)).astype(np.float32) for _ in range(60)]
    encoder = Encoder.load(write_tiny_audio(tmp_path / "audio"), num_threads=3)
    alone = np.concatenate([encoder.encode_audio([clip]) for clip in clips])
    np.testing.assert_allclose(encoder.encode_audio(clips), alone, atol=1e-5)


def test_an_error_in_one_batch_is_raised(tmp_path: Path) -> None:
    encoder = Encoder.load(write_tiny_audio(tmp_path / "audio"), num_threads=2)
    clips = [np.full(96_000, value, np.float32) for value in (0.0, 1.0, np.nan, 0.5)]
    with pytest.raises(EncoderError, match="a vector that is not finite"):
        encoder.encode_audio(clips)


def test_nothing_in_nothing_out(text_dir: Path, tmp_path: Path) -> None:
    assert Encoder.load(text_dir).encode_texts([]).shape == (0, 2)
    assert Encoder.load(write_tiny_image(tmp_path / "i")).encode_images([]).shape == (0, 3)
    assert Encoder.load(write_tiny_audio(tmp_path / "a")).encode_audio([]).shape == (0, 1)


def test_a_clip_without_samples_is_refused(tmp_path: Path) -> None:
    encoder = Encoder.load(write_tiny_audio(tmp_path / "a"))
    with pytest.raises(EncoderError, match="without samples"):
        encoder.encode_audio([np.ones(5, np.float32), np.empty(0, np.float32)])


def test_another_kind_is_refused(text_dir: Path) -> None:
    with pytest.raises(EncoderError, match="an encoder of text cannot encode image"):
        Encoder.load(text_dir).encode_images([Image.new("RGB", (8, 8))])


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
def test_an_altered_file_is_refused(text_dir: Path, name: str) -> None:
    expected = EncoderSpec.read(text_dir).files[name]
    with (text_dir / name).open("ab") as file:
        file.write(b" ")
    with pytest.raises(
        EncoderError, match=rf"{re.escape(name)}: altered: sha256 should be {expected}, is \w+"
    ):
        Encoder.load(text_dir)


def test_a_missing_file_is_refused(text_dir: Path) -> None:
    (text_dir / "model.onnx").unlink()
    with pytest.raises(EncoderError, match=r"model\.onnx: the file is missing"):
        Encoder.load(text_dir)


def test_a_folder_without_a_specification(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match=r"there is no encoder\.toml in it"):
        Encoder.load(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("format = 1", "format = 2", "format 2; this version reads 1"),
        ('kind = "text"', 'kind = "smell"', "kind = 'smell'; known: text, image, audio"),
        ("max_tokens = 6", "", "preprocessing.max_tokens = None; a int is needed"),
        ("dim = 2", 'dim = "2"', "dim = '2'; a int is needed"),
        ('"model.onnx" =', '"other.onnx" =', r"no sha256 of model\.onnx"),
        ("format = 1", "format =", "not TOML"),
        ("format = 1", "format = 1\nspace = 3", "space = 3; a str is needed"),
    ],
)
def test_a_wrong_specification_is_refused(text_dir: Path, old: str, new: str, message: str) -> None:
    path = text_dir / "encoder.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(EncoderError, match=message):
        EncoderSpec.read(text_dir)


def test_fingerprint_is_of_the_content(tmp_path: Path) -> None:
    first = EncoderSpec.read(write_tiny_text(tmp_path / "a"))
    same = EncoderSpec.read(write_tiny_text(tmp_path / "b"))
    renamed = EncoderSpec.read(write_tiny_text(tmp_path / "c", name="another"))
    assert first.fingerprint == same.fingerprint != renamed.fingerprint


def test_a_space_is_read_and_part_of_the_fingerprint(text_dir: Path) -> None:
    before = EncoderSpec.read(text_dir)
    path = text_dir / "encoder.toml"
    path.write_text(path.read_text().replace("format = 1", 'format = 1\nspace = "clip@1"'))
    after = EncoderSpec.read(text_dir)
    assert (before.space, after.space) == (None, "clip@1")
    assert before.fingerprint != after.fingerprint


def test_parity_is_read_and_no_part_of_the_fingerprint(text_dir: Path) -> None:
    """Parity differs between machines. Vectors of the same graph are still found in the cache."""
    before = EncoderSpec.read(text_dir)
    path = text_dir / "encoder.toml"
    path.write_text(path.read_text().replace("[parity]", "[parity]\ndifference = 1e-6"))
    after = EncoderSpec.read(text_dir)
    assert (before.parity, after.parity) == ({}, {"difference": 1e-6})
    assert before.fingerprint == after.fingerprint


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('interpolation = "bicubik"', r"preprocessing.interpolation = 'bicubik'; did you mean 'bicubic'\?"),
        ('crop_from = "left"', "preprocessing.crop_from = 'left'; known: round, truncate"),
        ("interpolation = 3", "preprocessing.interpolation = 3; a str is needed"),
    ],
)
def test_preprocessing_that_is_unknown_is_refused(tmp_path: Path, line: str, message: str) -> None:
    path = write_tiny_image(tmp_path) / "encoder.toml"
    path.write_text(path.read_text().replace("[preprocessing]", f"[preprocessing]\n{line}"))
    with pytest.raises(EncoderError, match=message):
        EncoderSpec.read(tmp_path)


def test_one_by_one_gives_a_clip_no_padding(tmp_path: Path) -> None:
    """The graph's mean over its own length is unchanged, and no batch holds two clips."""
    path = write_tiny_audio(tmp_path) / "encoder.toml"
    path.write_text(path.read_text().replace("[preprocessing]", "[preprocessing]\none_by_one = true"))
    encoder = Encoder.load(tmp_path)
    shapes = []
    run = encoder._session.run
    encoder._session.run = lambda inputs: shapes.append(inputs["waveform"].shape) or run(inputs)  # type: ignore
    found = encoder.encode_audio([np.full(length, 0.5, np.float32) for length in (900, 1600)])
    np.testing.assert_allclose(found, [[0.5], [0.5]], rtol=1e-5)
    assert sorted(shapes) == [(1, 900), (1, 1600)]


@pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="there is a GPU")
def test_cuda_is_refused_without_a_gpu(text_dir: Path) -> None:
    with pytest.raises(ProviderError, match="CUDA"):
        Encoder.load(text_dir, device="cuda")


def test_encoding_needs_no_torch(text_dir: Path) -> None:
    program = (
        "import sys; import features.extraction.extract, features.extraction.transcriber\n"
        "import features.conversion\n"
        "from features.encoders.encoder import Encoder\n"
        f"assert Encoder.load({str(text_dir)!r}).encode_texts(['red']).shape == (1, 2)\n"
        "print(sorted({'torch', 'transformers', 'torchvision', 'mlflow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
