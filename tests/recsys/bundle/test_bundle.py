"""A bundle is whole and unaltered, or refused by name."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from recsys.bundle.compose import compose_bundle
from recsys.bundle.load import Bundle
from recsys.bundle.manifest import FORMAT_VERSION
from recsys.bundle.write import write_bundle
from recsys.checksums import sha256_of
from recsys.errors import BundleError
from recsys.history import SequenceSchema
from recsys.ids import IdMap
from recsys.retrieval.settings import RecommenderSettings
from recsys.search import SearchSettings

SCHEMA = SequenceSchema(
    max_length=5,
    has_clock=True,
    num_event_kinds=3,
    number_scales={"value": (3.0, 1.0)},
    review_text_dim=0,
    review_audio_dim=0,
    profile_sizes={"job": 4},
)


def manifest_values():
    return {
        "config": {"train": {"epochs": 2}},
        "dataset": {"name": "tiny", "fingerprint": "f00d"},
        "refit": True,
        "refit_description": "two epochs on everything",
        "metrics": {"ndcg@10": 0.5},
        "sequence_schema": SCHEMA,
        "modalities": ["title", "id"],
        "graphs": {"user_tower": {"inputs": {"length": {"dtype": "int64", "shape": ["B"]}}, "outputs": {}}},
        "recommender": RecommenderSettings(
            temperature=0.05, num_candidates=4, history_length=3, cold_ranks=(5, 20), without_events="towers"
        ),
        "parity": {"user_vector": 1e-6},
    }


def fill(directory: Path, **changes):
    (directory / "user_tower.onnx").write_bytes(b"a graph")
    (directory / "encoders").mkdir()
    (directory / "encoders" / "encoder.toml").write_text("kind = 'text'\n")
    IdMap(["apple", "bread", "cheese"]).save(directory / "item_ids.npy")
    np.save(directory / "item_vectors.npy", np.eye(5, 4, dtype=np.float32))
    np.save(directory / "item_tokens.npy", np.ones((5, 2, 4), np.float16))
    np.save(directory / "token_mask.npy", np.ones((5, 2), np.bool_))
    pl.DataFrame(
        {
            "item_id": ["apple", "bread", "cheese"],
            "title": ["Apple", "Bread", None],
            "image": [["a.png"], [], []],
            "cat:kind": [["fruit"], [], ["dairy"]],
            "popularity": [3, 2, 0],
            "trained": [True, True, False],
        }
    ).write_parquet(directory / "catalogue.parquet")
    (directory / "maps.json").write_text(json.dumps({"events": ["view"], "profile": {"job": ["cook"]}}))
    return manifest_values() | changes


@pytest.fixture
def path(tmp_path):
    write_bundle(tmp_path / "bundle", fill)
    return tmp_path / "bundle"


def test_gives_back_what_was_written(path):
    bundle = Bundle.open(path)
    assert bundle.manifest.format_version == FORMAT_VERSION
    assert bundle.manifest.sequence_schema == SCHEMA
    assert bundle.manifest.modalities == ("title", "id")
    assert bundle.manifest.graphs["user_tower"].inputs["length"].shape == ("B",)
    assert bundle.manifest.files["encoders/encoder.toml"] == sha256_of(path / "encoders" / "encoder.toml")
    assert bundle.item_ids.external == ("apple", "bread", "cheese")
    assert bundle.item_vectors[1].tolist() == [0, 1, 0, 0]
    assert bundle.trained.tolist() == [False, False, True, True, False]
    assert bundle.popularity.tolist() == [0, 0, 3, 2, 0]
    assert bundle.event_ids.get("view") == 2
    assert bundle.profile_ids["job"].get("cook") == 2
    assert bundle.graph("user_tower") == path / "user_tower.onnx"
    assert bundle.graph("ranker") is None
    assert bundle.index_directory is None
    assert len(bundle.version) == 12


def test_arrays_cannot_be_written(path):
    with pytest.raises(ValueError, match="read-only"):
        Bundle.open(path).item_vectors[0] = 1


@pytest.mark.parametrize("name", ["user_tower.onnx", "item_vectors.npy", "encoders/encoder.toml"])
def test_one_flipped_byte_is_refused_with_both_sums(path, name):
    expected = sha256_of(path / name)
    content = bytearray((path / name).read_bytes())
    content[-1] ^= 1
    (path / name).write_bytes(content)
    with pytest.raises(BundleError, match="altered") as caught:
        Bundle.open(path)
    for part in (name, expected, sha256_of(path / name)):
        assert part in str(caught.value)


@pytest.mark.parametrize("verify", [True, False])
def test_missing_file_is_refused(path, verify):
    (path / "item_tokens.npy").unlink()
    with pytest.raises(BundleError, match=r"item_tokens\.npy is missing"):
        Bundle.open(path, verify=verify)


def test_extra_file_is_refused_but_a_hidden_one_is_not(path):
    (path / ".DS_Store").write_bytes(b"")
    Bundle.open(path)
    (path / "ranker.onnx").write_bytes(b"another graph")
    with pytest.raises(BundleError, match=r"ranker\.onnx is not in the manifest"):
        Bundle.open(path)


def edit_manifest(path, **changes):
    values = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(values | changes))


def test_newer_format_is_refused_whatever_else_it_says(path):
    edit_manifest(path, format_version=FORMAT_VERSION + 1, something_new=True)
    with pytest.raises(BundleError, match=r"format version 5.*reads 4.*Upgrade recsys"):
        Bundle.open(path)


def test_an_older_format_is_refused_with_the_command_to_run(path):
    edit_manifest(path, format_version=1, cold_bias=0.0)
    with pytest.raises(BundleError, match=r"format version 1.*reads 4.*recsys export RUN"):
        Bundle.open(path)


def test_the_recommenders_settings_come_back_whole(path):
    assert Bundle.open(path).manifest.recommender == manifest_values()["recommender"]


def test_manifest_must_be_there_and_well_formed(path, tmp_path):
    with pytest.raises(BundleError, match=r"no bundle: manifest\.json is missing"):
        Bundle.open(tmp_path)
    edit_manifest(path, recommender={"temperature": -1, "num_candidates": 1, "history_length": 1})
    with pytest.raises(BundleError, match=r"recommender\.temperature"):
        Bundle.open(path)
    (path / "manifest.json").write_text("{")
    with pytest.raises(BundleError, match="not JSON"):
        Bundle.open(path)


def test_manifest_cannot_name_a_file_outside(path, tmp_path):
    (tmp_path / "other").write_text("")
    files = json.loads((path / "manifest.json").read_text())["files"]
    edit_manifest(path, files=files | {"../other": sha256_of(tmp_path / "other")})
    with pytest.raises(BundleError, match="outside the bundle"):
        Bundle.open(path)


def test_arrays_that_do_not_fit_together_are_never_written(tmp_path):
    with pytest.raises(BundleError, match=r"item_tokens\.npy is float16\[5, 2, 4\].*\[5, 3, 4\]"):
        write_bundle(tmp_path / "bundle", lambda at: fill(at, modalities=["title", "image", "id"]))
    assert list(tmp_path.iterdir()) == []


def test_replaces_what_was_there(path):
    before = Bundle.open(path)
    after = write_bundle(path, lambda at: fill(at, refit=False))
    assert (before.manifest.refit, after.manifest.refit) == (True, False)
    assert Bundle.open(path).version == after.version != before.version
    assert before.item_vectors[0, 0] == 1  # an open bundle outlives its replacement
    assert [each.name for each in path.parent.iterdir()] == ["bundle"]


def test_failure_leaves_the_old_one(path):
    before = Bundle.open(path).version

    def fails(directory: Path):
        fill(directory)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_bundle(path, fails)
    assert Bundle.open(path).version == before
    assert [each.name for each in path.parent.iterdir()] == ["bundle"]


def test_half_a_manifest_is_refused(tmp_path):
    def forgets(directory: Path):
        values = fill(directory)
        del values["recommender"]
        return values

    with pytest.raises(BundleError, match="recommender"):
        write_bundle(tmp_path / "bundle", forgets)


def items_alone(directory: Path, **changes):
    """The files of a search bundle without behaviour."""
    whole = fill(directory)
    for name in ("user_tower.onnx", "item_vectors.npy", "item_tokens.npy", "token_mask.npy", "maps.json"):
        (directory / name).unlink()
    (directory / "search").mkdir()
    np.save(directory / "search" / "has_words.npy", np.ones(5, np.bool_))
    dropped = ("sequence_schema", "recommender")
    kept = {name: value for name, value in whole.items() if name not in dropped}
    return kept | {"search": SearchSettings(personal=0.25), "graphs": {}} | changes


def test_a_search_bundle_of_items_alone(tmp_path):
    bundle = write_bundle(tmp_path / "b", items_alone)
    assert bundle.manifest.search == SearchSettings(personal=0.25)
    assert bundle.search_directory == tmp_path / "b" / "search"
    assert bundle.item_ids.external == ("apple", "bread", "cheese")
    assert len(bundle.event_ids) == 0
    assert bundle.profile_ids == {}
    for read in (lambda: bundle.sequence_schema, lambda: bundle.recommender, lambda: compose_bundle(bundle)):
        with pytest.raises(BundleError, match="cannot recommend"):
            read()


def test_a_bundle_without_search_says_so(path):
    bundle = Bundle.open(path)
    assert bundle.manifest.search is None
    assert bundle.search_directory is None
    assert bundle.sequence_schema == SCHEMA


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"search": None}, "needs a recommender or a search part"),
        ({"sequence_schema": SCHEMA}, "both or none"),
    ],
)
def test_a_bundle_that_answers_nothing_is_refused(tmp_path, changes, message):
    with pytest.raises(BundleError, match=message):
        write_bundle(tmp_path / "b", lambda at: items_alone(at, **changes))


def test_a_search_bundle_needs_its_search_part(tmp_path):
    write_bundle(tmp_path / "b", items_alone)
    (tmp_path / "b" / "search" / "has_words.npy").unlink()
    with pytest.raises(BundleError, match=r"has_words\.npy is missing"):
        Bundle.open(tmp_path / "b")
