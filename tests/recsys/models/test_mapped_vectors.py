"""Vectors in a memory-mapped file are those in memory, and stay in the file."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from model_parts import tiny_features, tiny_schema

from recsys.config import ItemTowerConfig, ModelConfig
from recsys.models import Retriever, Standardise, item_tower

CONFIG = ModelConfig(dim=16, item=ItemTowerConfig())


def test_items_are_the_same_from_a_file(tmp_path):
    features = tiny_features()
    mapped = {}
    for name, vectors in features.dense.items():
        np.save(tmp_path / f"{name}.npy", vectors)
        mapped[name] = np.load(tmp_path / f"{name}.npy", mmap_mode="r")
    models = []
    for each in (features, replace(features, dense=mapped)):
        torch.manual_seed(0)
        models.append(Retriever(each, tiny_schema(), CONFIG))
    in_memory, from_file = models
    np.testing.assert_allclose(
        from_file.item_arrays().vectors, in_memory.item_arrays().vectors, rtol=1e-5, atol=1e-6
    )
    assert from_file.features_bytes == 0


@pytest.mark.parametrize("num", [1, 2, 25])
def test_scales_of_parts_are_those_of_the_whole(num, monkeypatch):
    array = np.random.default_rng(0).normal(3.0, 2.0, (25, 7)).astype(np.float32)
    rows = np.random.default_rng(1).permutation(25)[:num]
    expected, found = Standardise(7), Standardise(7)
    expected.fit(torch.from_numpy(array[rows]))
    monkeypatch.setattr(item_tower, "ROWS_AT_ONCE", 4)
    found.fit_rows(array, rows)
    torch.testing.assert_close(found.mean, expected.mean)
    torch.testing.assert_close(found.std, expected.std)
