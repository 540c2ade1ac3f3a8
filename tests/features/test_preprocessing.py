"""Preprocessing equals that of the libraries that the models were trained with."""

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize
from transformers import WhisperFeatureExtractor
from transformers.audio_utils import mel_filter_bank

from features.audio import WINDOW_SAMPLES, length_batches, log_mel, mel_filters, waveform_batch, windows
from features.image import resize_and_crop


@pytest.mark.parametrize("size", [(300, 224), (150, 224), (257, 300), (256, 256), (31, 37), (640, 200)])
def test_pictures_as_torchvision(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    reference = Compose([Resize(256, InterpolationMode.BICUBIC), CenterCrop(224)])(image)
    np.testing.assert_array_equal(resize_and_crop(image, resize=256, crop=224), np.asarray(reference))


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


def test_waveforms_are_padded_with_silence() -> None:
    batch, length = waveform_batch([np.ones(2, np.float32), np.ones(3, np.float32)])
    np.testing.assert_array_equal(batch, [[1, 1, 0], [1, 1, 1]])
    np.testing.assert_array_equal(length, [2, 3])


def test_batches_by_length_stay_within_both_limits() -> None:
    batches = length_batches([5, 1, 9, 2, 2, 30], max_items=3, max_samples=18)
    assert batches == [[1, 3, 4], [0, 2], [5]]
