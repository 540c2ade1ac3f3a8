"""Preprocessing equals that of the libraries that the models were trained with."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_encoders import MAX_TOKENS, write_tiny_text
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize
from transformers import WhisperFeatureExtractor
from transformers.audio_utils import mel_filter_bank

from features.encoders.audio import WINDOW_SAMPLES, log_mel, mel_filters, waveform_batch, windows
from features.encoders.image import resize_and_crop
from features.encoders.text import CHARACTERS_A_TOKEN, TextPreprocessor


@pytest.mark.parametrize("size", [(300, 224), (150, 224), (257, 300), (256, 256), (31, 37), (640, 200)])
def test_pictures_as_torchvision(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    reference = Compose([Resize(256, InterpolationMode.BICUBIC), CenterCrop(224)])(image)
    np.testing.assert_array_equal(resize_and_crop(image, resize=256, crop=224), np.asarray(reference))


@pytest.mark.parametrize("name", ["nearest", "bilinear", "bicubic"])
def test_pictures_of_given_proportions_as_torchvision(name: str) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (31, 47, 3), dtype=np.uint8))
    reference = Resize((20, 30), InterpolationMode(name))(image)
    found = resize_and_crop(image, resize=[20, 30], crop=[20, 30], interpolation=name)
    np.testing.assert_array_equal(found, np.asarray(reference))


@pytest.mark.parametrize(("start", "first"), [("round", 2), ("truncate", 1)])
def test_a_crop_between_two_pixels(start: str, first: int) -> None:
    """5 pixels to 2: one and a half are left out on each side."""
    image = Image.fromarray(np.arange(25, dtype=np.uint8).reshape(5, 5)).convert("RGB")
    cropped = resize_and_crop(image, resize=5, crop=2, crop_from=start)
    np.testing.assert_array_equal(cropped[0, :, 0], [first * 5 + first, first * 5 + first + 1])


def test_a_crop_larger_than_the_picture_is_black_beyond() -> None:
    cropped = resize_and_crop(Image.new("RGB", (2, 2), "white"), resize=2, crop=4)
    np.testing.assert_array_equal(cropped[:, :, 0], np.pad(np.full((2, 2), 255), 1))


def test_prefix_and_padding_to_the_full_length(tmp_path: Path) -> None:
    tokenizer = write_tiny_text(tmp_path) / "tokenizer.json"  # [PAD] 0, red 2, blue 4, shirt 5
    given = {"max_tokens": 4, "pad_token": "[PAD]", "prefix": "blue "}
    texts = TextPreprocessor(tokenizer, **given, pad_to_max=True)(["red"])
    assert texts["input_ids"].tolist() == [[4, 2, 0, 0]]
    assert texts["attention_mask"].tolist() == [[1, 1, 0, 0]]
    left = TextPreprocessor(tokenizer, **given, pad_to_max=True, pad_side="left")(["red shirt red red"])
    assert left["input_ids"].tolist() == [[4, 2, 5, 2]]
    longest = TextPreprocessor(tokenizer, **given, pad_side="left")(["red", "red shirt"])
    assert longest["input_ids"].tolist() == [[0, 4, 2], [4, 2, 5]]


def test_a_banner_stays_small_and_keeps_its_centre() -> None:
    pixels = np.zeros((2, 4000, 3), np.uint8)
    pixels[:, 1900:2100] = 255
    cropped = resize_and_crop(Image.fromarray(pixels), resize=8, crop=8)
    assert cropped.shape == (8, 8, 3)
    assert (cropped == 255).all()


def test_mel_filters_as_transformers() -> None:
    reference = mel_filter_bank(201, 80, 0.0, 8000.0, 16_000, norm="slaney", mel_scale="slaney").T
    np.testing.assert_allclose(mel_filters(80), reference, atol=1e-7)


@pytest.mark.parametrize("num_samples", [7_777, WINDOW_SAMPLES, WINDOW_SAMPLES + 999])
def test_log_mel_as_whisper(num_samples: int) -> None:
    waveform = np.random.default_rng(0).normal(0, 0.1, num_samples).astype(np.float32)
    waveform *= np.sin(np.arange(num_samples) / 900).astype(np.float32)
    reference = WhisperFeatureExtractor(feature_size=80)(waveform, sampling_rate=16_000, return_tensors="np")
    found = log_mel(waveform, WINDOW_SAMPLES)
    assert found.shape == (80, 3000)
    np.testing.assert_allclose(found, reference.input_features[0], atol=1e-4)


def test_windows_are_cut_where_it_is_quiet() -> None:
    clip = np.full(40 * 16_000, 0.5, np.float32)
    clip[27 * 16_000 : 28 * 16_000] = 0.0
    first, second = windows(clip)
    assert 27 <= len(first) / 16_000 <= 28
    np.testing.assert_array_equal(np.concatenate([first, second]), clip)


@pytest.mark.parametrize("num_samples", [1, WINDOW_SAMPLES])
def test_a_short_clip_is_one_window(num_samples: int) -> None:
    (only,) = windows(np.ones(num_samples, np.float32))
    assert len(only) == num_samples


def test_windows_of_another_length() -> None:
    """Ten seconds at most, cut in the last sixth; a window too short for a search is cut at its end."""
    clip = np.full(25 * 16_000, 0.5, np.float32)
    clip[int(9.1 * 16_000) : int(9.3 * 16_000)] = 0.0
    lengths = [len(piece) for piece in windows(clip, 10 * 16_000)]
    assert sum(lengths) == len(clip)
    assert 9.0 <= lengths[0] / 16_000 <= 9.4
    assert max(lengths) <= 10 * 16_000
    assert [len(piece) for piece in windows(clip[:2500], 1000)] == [1000, 1000, 500]


def test_waveforms_are_padded_with_silence() -> None:
    batch, length = waveform_batch([np.ones(2, np.float32), np.ones(3, np.float32)])
    np.testing.assert_array_equal(batch, [[1, 1, 0], [1, 1, 1]])
    np.testing.assert_array_equal(length, [2, 3])


def test_of_a_text_without_end_only_the_beginning_is_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare = TextPreprocessor(
        write_tiny_text(tmp_path) / "tokenizer.json", max_tokens=MAX_TOKENS, pad_token="[PAD]"
    )
    expected = prepare(["red green " * MAX_TOKENS])
    tokenizer, seen = prepare._tokenizer, []

    class Watched:
        def encode_batch_fast(self, texts: list[str]) -> object:
            seen.extend(map(len, texts))
            return tokenizer.encode_batch_fast(texts)

    monkeypatch.setattr(prepare, "_tokenizer", Watched())
    found = prepare(["red green " * 1_000_000])
    np.testing.assert_array_equal(found["input_ids"], expected["input_ids"])
    assert seen == [MAX_TOKENS * CHARACTERS_A_TOKEN]
