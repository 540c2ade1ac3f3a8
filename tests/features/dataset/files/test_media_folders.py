"""Media in folders outside of the dataset's: which paths are read, and how a bundle names them."""

from pathlib import Path

import polars as pl
import pytest
from dataset_parts import load, problems, reasons

from features.dataset import MediaFolders
from features.dataset.tables import Dataset

ABSENT = "no such file; paths are relative to the dataset's folder or to a root of [media]"


def shop(root: Path, paths: list[str], roots: list[str]) -> Dataset:
    """A dataset of an item for each path, with `roots` as [media] roots."""
    rows = "".join(f'{row},"{path}"\n' for row, path in enumerate(paths))
    items = {"title": None, "image": "picture"}
    return load(
        root, {"items.csv": f"id,picture\n{rows}"}, interactions=None, items=items, media={"roots": roots}
    )


def files(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"a picture")


def outcome(data: Dataset) -> list[str]:
    """The path that was read, or else the reason, for each item."""
    reason_of = {row: reason for _, row, _, _, reason in reasons(data)}
    read = data.items["image"].to_list()
    return [paths[0] if paths else reason_of[row] for row, paths in enumerate(read)]


def test_paths_inside_roots_are_read_and_all_others_refused(tmp_path: Path) -> None:
    root, photos, more = tmp_path / "shop", tmp_path / "photos", tmp_path / "more"
    files(
        root / "a.jpg", photos / "a.jpg", photos / "deep" / "b.jpg", more / "c.jpg", more / "deep" / "b.jpg"
    )
    files(tmp_path / "secret.jpg")
    paths = [
        "a.jpg", "deep/b.jpg", "c.jpg", str(photos / "a.jpg"), str(root / "a.jpg"),
        str(tmp_path / "secret.jpg"),
        "../secret.jpg", f"{photos}/../secret.jpg", "d.jpg", str(photos / "d.jpg"), "deep",
    ]  # fmt: skip
    found = outcome(shop(root, paths, [str(photos), "../more"]))
    assert found[:5] == [
        str(root / "a.jpg"), str(photos / "deep" / "b.jpg"), str(more / "c.jpg"), str(photos / "a.jpg"),
        str(root / "a.jpg"),
    ]  # fmt: skip
    assert "an absolute path outside of the [media] roots" in found[5]
    assert "a path with '..'" in found[6]
    assert "a path with '..'" in found[7]
    assert found[8:] == [ABSENT, "no such file", "a folder or device, not a file"]


def test_links_may_lead_into_roots_and_not_out_of_them(tmp_path: Path) -> None:
    root, photos, outside = tmp_path / "shop", tmp_path / "photos", tmp_path / "outside"
    files(photos / "a.jpg", outside / "b.jpg", root / "own.jpg")
    (photos / "file.jpg").symlink_to(outside / "b.jpg")
    (photos / "folder").symlink_to(outside)
    (root / "in.jpg").symlink_to(photos / "a.jpg")
    (tmp_path / "linked").symlink_to(photos)
    paths = [
        "in.jpg",
        str(tmp_path / "linked" / "a.jpg"),
        "file.jpg",
        "folder/b.jpg",
        f"{photos}/folder/b.jpg",
    ]
    found = outcome(shop(root, paths, ["../linked"]))
    assert found[:2] == [str(photos / "a.jpg")] * 2
    assert "a link to a file outside" in found[2]
    assert "a link to a file outside" in found[3]
    assert "through a link out of them" in found[4]


def test_without_roots_an_absolute_path_is_refused(tmp_path: Path) -> None:
    files(tmp_path / "shop" / "a.jpg")
    (found,) = outcome(shop(tmp_path / "shop", [str(tmp_path / "shop" / "a.jpg")], []))
    assert "an absolute path; write it relative" in found
    assert "[media] roots" in found


def test_roots_that_are_no_folders_are_named_together_with_other_problems(tmp_path: Path) -> None:
    files(tmp_path / "file")
    roots = ["../photos", str(tmp_path / "file")]
    found = problems(tmp_path / "shop", {"items.csv": "name\nx\n"}, interactions=None, media={"roots": roots})
    assert any("'../photos'" in line and "mount it" in line for line in found)
    assert any(repr(roots[1]) in line for line in found)
    assert any("no column 'id'" in line for line in found)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("/", "the whole file system"),
        ("/..", "the whole file system"),
        ("~nobody-of-this-name/photos", "no such folder"),
        ("a\0b", "no such folder"),
        ("https://host/photos", "not a URL"),
        ("", "at least 1 character"),
    ],
)
def test_a_root_is_one_folder_of_this_machine(tmp_path: Path, wrong: str, words: str) -> None:
    (found,) = problems(tmp_path, {}, media={"roots": [wrong]})
    assert words in found


def test_neither_fingerprint_nor_places_depend_on_where_the_folders_lie(tmp_path: Path) -> None:
    places, prints = [], []
    for at in ("here", "there"):
        root, photos = tmp_path / at / "shop", tmp_path / at / "deeper" / "photos"
        files(root / "a.jpg", photos / "é" / "b.jpg")
        data = shop(root, ["a.jpg", "é/b.jpg", "c.jpg"], [str(photos)])
        first = data.media.first_media(data.items)
        assert first.drop("image", "image_folder").null_count().row(0) == (3, 3)
        places.append(first.select("image_folder", "image").rows())
        prints.append(data.fingerprint())
    assert places[0] == places[1] == [(0, "a.jpg"), (1, "é/b.jpg"), (None, None)]
    assert prints[0] == prints[1]


def test_of_nested_folders_the_first_counts(tmp_path: Path) -> None:
    inner = tmp_path / "photos" / "2020"
    inner.mkdir(parents=True)
    folders = MediaFolders.of(tmp_path / "shop", ["../photos/2020", "../photos"])
    items = pl.DataFrame(
        {"image": [[str(inner / "a.jpg"), "never read"]], "video": [[str(tmp_path / "photos" / "b.mp4")]]}
    )
    assert folders.first_media(items).row(0, named=True) == {
        "image": "a.jpg", "image_folder": 1, "video": "b.mp4", "video_folder": 2,
    }  # fmt: skip
