"""VectorCache: vectors are rounded to float16, parts are complete, errors name a broken part."""

import hashlib
import os
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from features.extraction.cache import VectorCache, as_stored, file_key, text_key
from recsys.errors import DataError


def vectors(*names: str, dim: int = 3) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=dim).astype(np.float32) for name in names}


def parts(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*") if path.is_file())


def test_vectors_come_back_as_stored(tmp_path: Path) -> None:
    given = vectors("a", "b", "c")
    VectorCache(tmp_path).put("f", given)
    found = VectorCache(tmp_path).get("f", ["c", "a", "missing"])
    assert set(found) == {"a", "c"}
    assert found["a"].dtype == np.float32
    np.testing.assert_array_equal(found["a"], as_stored(given["a"]))
    np.testing.assert_allclose(found["a"], given["a"], rtol=1e-3)


def test_parts_add_up_and_fingerprints_stay_apart(tmp_path: Path) -> None:
    cache = VectorCache(tmp_path)
    cache.put("f", vectors("a"))
    cache.put("f", vectors("b"))
    cache.put("g", vectors("a", dim=5))
    assert set(cache.get("f", ["a", "b"])) == {"a", "b"}
    assert cache.get("g", ["a", "b"])["a"].shape == (5,)


def test_a_key_put_twice_comes_back_once(tmp_path: Path) -> None:
    cache = VectorCache(tmp_path)
    for _ in range(2):
        cache.put("f", vectors("a"))
    assert list(cache.get("f", ["a"])) == ["a"]


def test_nothing_makes_no_file(tmp_path: Path) -> None:
    cache = VectorCache(tmp_path / "cache")
    cache.put("f", {})
    cache.put_texts("f", {})
    assert cache.get("f", ["a"]) == {}
    assert cache.get_texts("f", ["a"]) == {}
    assert not (tmp_path / "cache").exists()


def test_transcripts(tmp_path: Path) -> None:
    cache = VectorCache(tmp_path)
    cache.put_texts("f", {"a": "good shoes", "b": ""})
    assert cache.get_texts("f", ["a", "b", "c"]) == {"a": "good shoes", "b": ""}


def test_parts_are_parquet_with_fixed_size_float16(tmp_path: Path) -> None:
    VectorCache(tmp_path).put("f", vectors("a"))
    (part,) = parts(tmp_path)
    assert part.parent.name == "f"
    assert pl.read_parquet_schema(part) == {"key": pl.String, "vector": pl.Array(pl.Float16, 3)}


def test_an_interrupted_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = VectorCache(tmp_path)
    cache.put("f", vectors("a"))

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("recsys.files.os.replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        cache.put("f", vectors("b"))
    assert len(parts(tmp_path)) == 1
    assert set(cache.get("f", ["a", "b"])) == {"a"}


def test_unfinished_parts_of_killed_processes_are_removed_after_an_hour(tmp_path: Path) -> None:
    cache = VectorCache(tmp_path)
    cache.put("f", vectors("a"))
    (part,) = parts(tmp_path)
    old, young = part.with_name("part-0.parquet.tmp"), part.with_name("part-1.parquet.tmp")
    for path, age in ((old, 4000), (young, 10)):
        path.write_bytes(b"half")
        os.utime(path, (time.time() - age,) * 2)
    cache.put("f", vectors("b"))
    assert not old.exists()
    assert young.exists(), "another process may be writing it"
    assert set(cache.get("f", ["a", "b"])) == {"a", "b"}


def test_a_broken_part_is_named(tmp_path: Path) -> None:
    cache = VectorCache(tmp_path)
    cache.put("f", vectors("a"))
    (part,) = parts(tmp_path)
    part.write_bytes(part.read_bytes()[:20])
    with pytest.raises(DataError, match=rf"{part.name}: a broken part .*delete this file"):
        cache.get("f", ["a"])


@pytest.mark.parametrize("value", [np.nan, np.inf, 70_000.0])
def test_what_float16_cannot_hold_is_refused(tmp_path: Path, value: float) -> None:
    with pytest.raises(DataError, match="float16 cannot hold"):
        VectorCache(tmp_path).put("f", {"a": np.array([value], np.float32)})


def test_keys_are_of_the_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"same")
    assert file_key(tmp_path / "a") == text_key("same") == hashlib.sha256(b"same").hexdigest()
