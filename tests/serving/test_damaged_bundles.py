"""Whatever is wrong with a bundle or the histories beside it: one line, exit code 1, nothing written."""

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from walk_parts import refused

from features.dataset.values.id_encoding import IdMaps
from features.inputs.history_file import save_histories
from recsys.bundle.load import Bundle
from recsys.checksums import sha256_of
from recsys.errors import BundleError, RecsysError
from recsys.ids import IdMap
from serving.engine import Engine

COMMANDS = ("recommend", "serve", "show")
MAPS = IdMaps(kinds=IdMap(["view", "buy"]), profiles={"job": IdMap(["cook", "baker"])})


def flip(path: Path, place: int = -1) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def said(command: str, bundle: Path) -> str:
    """The one line that the command ends with; it leaves the folder as it was."""
    before = sorted(path.name for path in bundle.parent.iterdir())
    rest = ("--out", bundle.parent / "out.parquet") if command == "recommend" else ()
    message = refused(command, bundle, *rest)
    assert message.count("\n") == 1, message
    assert sorted(path.name for path in bundle.parent.iterdir()) == before
    return message


def refuses(read: Callable[[], object], named: str) -> bool:
    """Whether `read` fails; then with a `RecsysError` that names the file."""
    try:
        read()
    except RecsysError as error:
        message = str(error)
    else:
        return False
    assert named in message
    return True


def open_and_close(bundle: Path, state: Path) -> None:
    Engine.open(bundle, state=state).close()


def test_one_flipped_bit_in_any_file(bundle_path: Path) -> None:
    for name, expected in Bundle.open(bundle_path).manifest.files.items():
        flip(bundle_path / name)
        with pytest.raises(BundleError) as caught:
            Bundle.open(bundle_path)
        for part in (
            str(bundle_path / name),
            expected,
            sha256_of(bundle_path / name),
            "copy the bundle again",
        ):
            assert part in str(caught.value)
        flip(bundle_path / name)
    assert Bundle.open(bundle_path)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_says_it_in_one_line(bundle_path: Path, command: str) -> None:
    expected = sha256_of(bundle_path / "item_vectors.npy")
    content = (bundle_path / "item_vectors.npy").read_bytes()
    (bundle_path / "item_vectors.npy").write_bytes(content[:-40])
    message = said(command, bundle_path)
    assert message.startswith(f"error: {bundle_path / 'item_vectors.npy'} was altered")
    assert expected in message
    assert sha256_of(bundle_path / "item_vectors.npy") in message


def test_a_folder_of_another_bundle(bundle_path: Path, tmp_path: Path) -> None:
    shutil.copytree(bundle_path, tmp_path / "other")
    (bundle_path / "index").mkdir()
    (bundle_path / "index" / "index.json").write_text("{}")
    assert "index/index.json is not in the manifest" in said("recommend", bundle_path)


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        ("{", "is not JSON"),
        ("[]", "Input should be a valid"),
        ('{"format_version": 99}', "format version 99"),
        ("[" * 100_000, "is not JSON"),
        ("1" * 10_000, "is not JSON"),
        ('{"a": "\\ud800"}', "a: Extra inputs are not permitted"),
    ],
)
def test_a_manifest_that_is_none(bundle_path: Path, manifest: str, expected: str) -> None:
    (bundle_path / "manifest.json").write_text(manifest)
    message = said("show", bundle_path)
    assert str(bundle_path / "manifest.json") in message
    assert expected in message


def test_a_manifest_that_is_a_folder(bundle_path: Path) -> None:
    (bundle_path / "manifest.json").unlink()
    (bundle_path / "manifest.json").mkdir()
    assert "manifest.json cannot be read: Is a directory" in said("show", bundle_path)


def vouched(bundle: Path, name: str, content: bytes) -> None:
    """Another content of a file for which the manifest vouches."""
    (bundle / name).write_bytes(content)
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["files"][name] = sha256_of(bundle / name)
    (bundle / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    "name",
    [
        "item_ids.npy",
        "item_vectors.npy",
        "item_tokens.npy",
        "token_mask.npy",
        "catalogue.parquet",
        "maps.json",
    ],
)
def test_a_file_that_was_broken_before_it_was_summed(bundle_path: Path, name: str) -> None:
    vouched(bundle_path, name, (bundle_path / name).read_bytes()[:20])
    assert f"{bundle_path / name} cannot be read" in said("show", bundle_path)


def test_a_graph_that_was_broken_before_it_was_summed(bundle_path: Path) -> None:
    vouched(bundle_path, "user_tower.onnx", b"no graph")
    assert f"{bundle_path / 'user_tower.onnx'}" in said("show", bundle_path)


@pytest.mark.parametrize("seed", range(3))
def test_random_flips_are_found_or_change_only_what_the_manifest_says_of_itself(
    bundle_path: Path, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    names = [path.relative_to(bundle_path) for path in sorted(bundle_path.rglob("*")) if path.is_file()]
    num_refused = 0
    for number in range(30):
        path = bundle_path / names[number % len(names)]
        content = path.read_bytes()
        changed = bytearray(content)
        changed[int(rng.integers(len(changed)))] ^= int(rng.integers(1, 256))
        path.write_bytes(changed)
        was_refused = refuses(lambda: Bundle.open(bundle_path), str(bundle_path))
        num_refused += was_refused
        assert was_refused or path.name == "manifest.json"
        path.write_bytes(content)
    assert num_refused >= 30 - 30 / len(names) - 1


class TestHistories:
    @pytest.fixture
    def saved(self, bundle_path: Path, shop) -> Path:
        path = bundle_path.parent / "histories.parquet"
        histories = {"ann": shop.history("ant"), "bob": shop.history("fox", "dog")}
        save_histories(histories, path, Bundle.open(bundle_path).item_ids, MAPS)
        return path

    def test_are_not_there(self, bundle_path: Path, tmp_path: Path) -> None:
        message = refused("recommend", bundle_path, "--out", tmp_path / "out.parquet")
        assert "no user is known: there are no histories beside" in message
        assert not (tmp_path / "out.parquet").exists()
        assert "no user is known" in refused("show", bundle_path)

    def test_named_ones_are_not_there(self, bundle_path: Path, tmp_path: Path) -> None:
        message = refused("serve", bundle_path, "--histories", tmp_path / "gone.parquet")
        assert f"no histories at {tmp_path / 'gone.parquet'}" in message

    @pytest.mark.parametrize("command", COMMANDS)
    def test_cut_off(self, bundle_path: Path, saved: Path, command: str) -> None:
        saved.write_bytes(saved.read_bytes()[:-30])
        assert f"{saved} is no Parquet file, or cut off or damaged" in said(command, bundle_path)

    def test_of_another_dataset(self, bundle_path: Path, saved: Path, shop) -> None:
        save_histories(
            {"ann": shop.history("ant")}, saved, IdMap(["saw", "nail", "glue", "a", "b", "c"]), MAPS
        )
        assert f"{saved}: none of its 1 events is on an item of the catalogue" in said(
            "recommend", bundle_path
        )

    def test_a_user_twice(self, bundle_path: Path, saved: Path) -> None:
        frame = pl.read_parquet(saved)
        pl.concat([frame, frame]).write_parquet(saved)
        assert f"{saved}: user 'ann' has two rows" in said("recommend", bundle_path)

    def test_lists_that_do_not_fit_together(self, bundle_path: Path, saved: Path) -> None:
        frame = pl.read_parquet(saved)
        frame.with_columns(pl.col("event").list.head(1)).write_parquet(saved)
        assert f"{saved} is no Parquet file, or cut off or damaged" in said("recommend", bundle_path)

    def test_any_byte_of_them(self, bundle_path: Path, saved: Path, tmp_path: Path) -> None:
        content, rng, num_refused = saved.read_bytes(), np.random.default_rng(0), 0
        for place in rng.choice(len(content), 25, replace=False).tolist():
            flip(saved, place)
            state = tmp_path / f"state{place}.sqlite"
            num_refused += refuses(partial(open_and_close, bundle_path, state), str(saved))
            saved.write_bytes(content)
        assert num_refused > 5

    def test_a_state_that_was_there_is_kept(self, bundle_path: Path, saved: Path) -> None:
        Engine.open(bundle_path).close()
        saved.write_bytes(b"no")
        assert str(saved) in refused("show", bundle_path)
        saved.unlink()
        with Engine.open(bundle_path) as engine:
            assert engine.state.num_users() == 2
