"""A photo library to a dataset: what its items are, what is skipped or rejected, and how it is updated."""

import json
import os
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from dataset_parts import ODD
from photo_parts import exif, imported, item, save, write
from PIL import ExifTags
from walk_parts import recsys

from features.importers import import_photos
from features.importers.photos.tables import time_in_name
from features.importers.photos.tree import walk
from recsys.errors import ConfigError, DataError
from scripts.bad_media import write_video

BASE, GPS = ExifTags.Base, ExifTags.GPS
NOON = {BASE.DateTimeOriginal: "2019:07:31 23:30:00", BASE.OffsetTimeOriginal: "-05:00"}
MICROSECOND = 1_000_000


def at(*parts: int) -> int:
    """Microseconds since 1970 of a time in UTC."""
    return round(datetime(*parts, tzinfo=UTC).timestamp()) * MICROSECOND  # type: ignore[misc,arg-type]


def test_an_item_says_all_that_is_known_of_its_picture(tmp_path: Path) -> None:
    source = tmp_path / ODD / "photos"
    gps = {
        GPS.GPSLatitudeRef: "S", GPS.GPSLatitude: (33.0, 30.0, 0.0),
        GPS.GPSLongitudeRef: "E", GPS.GPSLongitude: (151.0, 15.0, 0.0),
    }  # fmt: skip
    tags = {BASE.Make: "NIKON CORPORATION", BASE.Model: "NIKON D70", BASE.ImageDescription: "A beach"}
    save(source / "2019" / "Sydney é" / "DSC_0042.jpg", exif=exif(tags, NOON, gps))
    save(source / "plain.png", seed=1)
    data, report = imported(source, tmp_path / ODD / "library")
    row = item(data, "2019/Sydney é/DSC_0042.jpg")
    assert row["title"] == "DSC 0042"
    assert row["text"] == "A beach"
    assert row["image"] == [str(source / "2019" / "Sydney é" / "DSC_0042.jpg")]
    assert row["video"] == []
    assert row["cat:album"] == ["2019", "2019/Sydney é"]
    assert (row["cat:year"], row["cat:month"]) == (["2019"], ["July"]), "by the clock of the place"
    assert row["created_at"] == at(2019, 8, 1, 4, 30), "in UTC"
    assert row["cat:camera"] == ["NIKON D70"]
    assert row["cat:kind"] == ["photo"]
    assert (row["num:latitude"], row["num:longitude"]) == (-33.5, 151.25)
    plain = item(data, "plain.png")
    assert (plain["title"], plain["text"], plain["created_at"], plain["cat:album"]) == (
        "plain",
        None,
        None,
        [],
    )
    assert data.rejected == ()
    assert not data.has_interactions
    assert report.counts["pictures"] == report.counts["new"] == 2
    assert report.counts["with a place"] == report.counts["with a time"] == 1
    first = data.media.first_media(data.items)
    assert set(first["image_folder"]) == {1}
    assert first["image"].to_list() == data.items["item_id"].to_list()


def test_captions_beside_a_picture(tmp_path: Path) -> None:
    source = tmp_path / "photos"
    for seed, name in enumerate(("a.jpg", "b.jpg", "c.jpg", "d.jpg", "e(1).jpg", "f.jpg", "g.jpg")):
        save(source / name, seed=seed)
    write(source / "a.jpg.txt", "The lake\nin the morning\n")
    write(source / "b.TXT", "\ufeffThe hill")
    xmp = (
        '<x xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>Anna</dc:title>'
        "<dc:description>on her horse</dc:description><dc:subject>horse</dc:subject></x>"
    )
    write(source / "c.xmp", xmp)
    takeout = {
        "title": "d.jpg", "description": "The sea", "photoTakenTime": {"timestamp": "1564574400"},
        "geoData": {"latitude": 48.5, "longitude": 2.25}, "geoDataExif": {"latitude": 0.0, "longitude": 0.0},
    }  # fmt: skip
    write(source / "d.jpg.json", json.dumps(takeout))
    write(source / "e.jpg(1).json", json.dumps({"title": "e.jpg", "description": "The counted one"}))
    write(source / "f.jpg.supplemental-metadata.json", json.dumps({"title": "A named one"}))
    write(source / "g.jpg.json", "{")
    write(source / "notes.txt", "of no picture")
    data, report = imported(source, tmp_path / "library")
    rows = {row["item_id"]: row for row in data.items.rows(named=True)}
    assert {name: (row["title"], row["text"]) for name, row in rows.items()} == {
        "a.jpg": ("The lake", "The lake\nin the morning"),
        "b.jpg": ("The hill", None),
        "c.jpg": ("Anna", "on her horse"),
        "d.jpg": ("d", "The sea"),
        "e(1).jpg": ("e(1)", "The counted one"),
        "f.jpg": ("A named one", None),
        "g.jpg": ("g", None),
    }
    assert rows["c.jpg"]["cat:keyword"] == ["horse"]
    assert rows["d.jpg"]["created_at"] == at(2019, 7, 31, 12)
    assert (rows["d.jpg"]["num:latitude"], rows["d.jpg"]["num:longitude"]) == (48.5, 2.25)
    rejected = pl.read_csv(tmp_path / "library" / "rejected.csv", glob=False)
    assert rejected.select("path", "column").rows() == [("g.jpg.json", "caption")]
    assert report.counts["other files"] == 1, "notes.txt"
    assert report.counts["with a caption"] == 6, "all but g.jpg"


def test_what_is_no_photograph_of_its_own_is_skipped_and_counted(tmp_path: Path) -> None:
    source, names = tmp_path / "photos", (
        "IMG_1.jpg", "IMG_1.MOV", "IMG_1.dng", ".DS_Store", "._IMG_1.jpg", "Thumbs.db", "list.pdf",
        "@eaDir/IMG_1.jpg/SYNOPHOTO_THUMB.jpg", ".thumbnails/1.jpg", "trip/SYNOPHOTO_1.jpg",
        "IMG_2019_BURST001.jpg", "IMG_2019_BURST002.jpg", "IMG_2020_BURST001.jpg",
        "00000IMG_00000_BURST20190101120000123.jpg", "00001IMG_00001_BURST20190101120000123_COVER.jpg",
        "film.mp4",
    )  # fmt: skip
    for name in names:
        write(source / name, b"")
    (source / "again").symlink_to(source / "trip", target_is_directory=True)
    tree = walk(source, without=tmp_path / "library")
    assert [(file.path, file.kind) for file in tree.files] == [
        ("00001IMG_00001_BURST20190101120000123_COVER.jpg", "photo"),
        ("IMG_1.jpg", "photo"),
        ("IMG_2019_BURST001.jpg", "photo"),
        ("IMG_2020_BURST001.jpg", "photo"),
        ("film.mp4", "video"),
    ]
    assert tree.skipped == Counter(
        {
            "hidden files and folders": 5,
            "folders of previews or deleted files": 1,
            "moving parts of live photos": 1,
            "raw files beside a picture": 1,
            "further pictures of bursts": 2,
            "links to folders": 1,
            "other files": 1,
        }
    )


def test_unreadable_files_are_set_aside_with_their_reasons(tmp_path: Path) -> None:
    source = tmp_path / "photos"
    whole = save(source / "whole.jpg").read_bytes()
    write(source / "cut.jpg", whole[: len(whole) // 2])
    write(source / "empty.png", b"")
    write(source / "text.jpg", "a text")
    write(source / "film.mp4", b"\0\0\0\x18ftypmp42" + bytes(99))
    save(source / " blank.jpg")
    save(tmp_path / "outside.jpg")
    (source / "link.jpg").symlink_to(tmp_path / "outside.jpg")
    (source / "lost.jpg").symlink_to(tmp_path / "nowhere.jpg")
    with open(os.fsencode(source) + b"/latin-\xe9.jpg", "wb") as file:
        file.write(whole)
    data, report = imported(source, tmp_path / "library")
    assert data.items["item_id"].to_list() == ["whole.jpg"]
    rejected = pl.read_csv(tmp_path / "library" / "rejected.csv", glob=False)
    reason_of = dict(rejected.select("path", "reason").iter_rows())
    for name, words in {
        "cut.jpg": "cut off", "empty.png": "empty", "text.jpg": "a text", "film.mp4": "cut off or damaged",
        " blank.jpg": "white space", "link.jpg": "a link to a file outside", "lost.jpg": "No such file",
    }.items():  # fmt: skip
        assert words in reason_of.pop(name), name
    ((name, reason),) = reason_of.items()
    assert "latin" in name
    assert "not UTF-8" in reason
    assert sum(entry["count"] for entry in report.rejected) == 8


def test_owners(tmp_path: Path) -> None:
    source = tmp_path / "photos"
    for seed, name in enumerate(("Anna/2019/a.png", "Ben/b.png", "c.png")):
        save(source / name, seed=seed)
    data, report = imported(source, tmp_path / "by folder", owner_from_folder=True)
    found = {row["item_id"]: (row["owner"], row["cat:album"]) for row in data.items.rows(named=True)}
    assert found == {
        "Anna/2019/a.png": ("Anna", ["2019"]), "Ben/b.png": ("Ben", []), "c.png": (None, []),
    }  # fmt: skip
    assert report.counts["owners"] == 2
    data, _ = imported(source, tmp_path / "of one", owner="Clara")
    assert data.items["owner"].to_list() == ["Clara"] * 3
    assert "owner" not in imported(source, tmp_path / "of nobody")[0].items.columns
    with pytest.raises(ConfigError, match="--owner-from-folder"):
        import_photos(source, tmp_path / "both", owner="Clara", owner_from_folder=True)


def test_a_second_import_reads_only_what_is_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from features.importers.photos import describe

    source, out = tmp_path / "photos", tmp_path / "library"
    for seed in range(5):
        save(source / f"{seed}.png", seed=seed)
    write(source / "broken.png", b"")
    first, _ = imported(source, out)
    read: list[str] = []
    monkeypatch.setattr(describe, "load_image", lambda path, **_: read.append(Path(path).name))
    again, report = imported(source, out)
    assert read == ["broken.png"], "a file that could not be read may be readable now"
    assert again.items.equals(first.items)
    assert again.fingerprint() == first.fingerprint()
    monkeypatch.undo()
    (source / "broken.png").unlink()
    (source / "0.png").unlink()
    (source / "1.png").rename(source / "moved.png")
    save(source / "2.png", seed=99)
    os.utime(source / "2.png", ns=(1, 1))
    write(source / "3.png.txt", "A caption")
    changed, report = imported(source, out)
    assert changed.items["item_id"].to_list() == ["2.png", "3.png", "4.png", "moved.png"]
    assert {name: report.counts[name] for name in ("new", "changed", "unchanged", "removed")} == {
        "new": 1, "changed": 1, "unchanged": 2, "removed": 2,
    }  # fmt: skip
    assert item(changed, "3.png")["title"] == "A caption", "captions are always read"
    assert pl.read_csv(out / "rejected.csv", glob=False).height == 0


def test_an_interrupted_import_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from features.importers.photos import describe

    source, out = tmp_path / "photos", tmp_path / "library"
    for seed in range(5):
        save(source / f"{seed}.png", seed=seed)
    expected, _ = imported(source, tmp_path / "at once")
    monkeypatch.setattr(describe, "_KEPT_EVERY", 2)

    def stop(step: str, done: int, total: int, note: str = "") -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_photos(source, out, progress=stop)
    assert not out.exists()
    read: list[str] = []
    whole = describe.load_image
    monkeypatch.setattr(describe, "load_image", lambda path, **_: read.append(path.name) or whole(path))
    data, report = imported(source, out)
    assert read == ["4.png"]
    assert report.counts["new"] == 5
    assert data.items.drop("image").equals(expected.items.drop("image"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["at once", "library", "photos"]


def test_a_library_inside_its_folder_does_not_contain_itself(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    for _ in range(2):
        data, report = imported(tmp_path, tmp_path / "library")
        assert data.items["item_id"].to_list() == ["a.png"]
        assert "other files" not in report.counts


def test_views_become_interactions_and_stay(tmp_path: Path) -> None:
    source, out = tmp_path / "photos", tmp_path / "library"
    for seed, name in enumerate(("a.png", "trip/b.png")):
        save(source / name, seed=seed)
    rows = f"anna,a.png,2020-01-01T10:00:00Z\nanna,{source}/trip/b.png,2020-01-02\nben,lost.png,2020-01-03\n"
    views = write(tmp_path / "views.csv", "user,path,time\n" + rows)
    data, report = imported(source, out, views=views)
    assert data.interactions.select("user_id", "item_id", "timestamp").rows() == [
        ("anna", "a.png", at(2020, 1, 1, 10)), ("anna", "trip/b.png", at(2020, 1, 2)),
    ]  # fmt: skip
    assert report.counts["views"] == 2
    (entry,) = report.rejected
    assert (entry["column"], entry["example"]["value"]) == ("path", "lost.png")
    assert imported(source, out)[0].interactions.equals(data.interactions)
    write(views, "user,path,time\nben,a.png,1600000000\n")
    data, _ = imported(source, out, views=views)
    assert data.interactions["timestamp"].to_list() == [1_600_000_000 * MICROSECOND]
    with pytest.raises(DataError, match="none of its 1 rows is of a picture"):
        imported(source, out, views=write(views, "user,path,time\nben,lost.png,1600000000\n"))
    with pytest.raises(DataError, match="no column 'time'"):
        imported(source, out, views=write(views, "user,path\nben,a.png\n"))


def test_folders_that_are_not_a_library(tmp_path: Path) -> None:
    source = tmp_path / "photos"
    with pytest.raises(DataError, match="no such folder"):
        import_photos(source, tmp_path / "library")
    source.mkdir()
    with pytest.raises(DataError, match="has no pictures or videos"):
        import_photos(source, tmp_path / "library")
    write(source / "a.png", b"")
    with pytest.raises(DataError, match=r"no picture or video can be read; a\.png: .*empty"):
        import_photos(source, tmp_path / "library")
    assert not (tmp_path / "library").exists()
    save(source / "a.png")
    with pytest.raises(DataError, match="was not made by `recsys import photos`"):
        import_photos(source, source)
    import_photos(source, tmp_path / "library")
    save(tmp_path / "others" / "b.png")
    with pytest.raises(DataError, match="none of which is in"):
        import_photos(tmp_path / "others", tmp_path / "library")


def test_the_command(tmp_path: Path) -> None:
    save(tmp_path / "photos" / "Anna" / "a.png")
    answer = recsys("import", "photos", tmp_path / "photos", tmp_path / "library", "--owner-from-folder")
    assert answer.code == 0, answer.err
    assert "recsys index" in answer.out
    assert recsys("check", tmp_path / "library").code == 0
    answer = recsys("import", "hm", tmp_path / "photos", tmp_path / "hm", "--owner-from-folder")
    assert answer.code == 1
    assert "--owner-from-folder does not fit the layout 'hm'" in answer.err


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("IMG_20190731_120005", datetime(2019, 7, 31, 12, 0, 5)),
        ("IMG-20190731-WA0001", datetime(2019, 7, 31)),
        ("2019-07-31 12.00.05", datetime(2019, 7, 31, 12, 0, 5)),
        ("Screenshot_2019-07-31-12-00-05", datetime(2019, 7, 31, 12, 0, 5)),
        ("20191331", None),
        ("20990731", None),
        ("DSC120190731", None),
        ("IMG_0042", None),
    ],
)
def test_times_in_names(name: str, expected: datetime | None) -> None:
    assert time_in_name(name) == expected


def test_a_video_is_an_item(tmp_path: Path) -> None:
    film = tmp_path / "photos" / "trip" / "film.mp4"
    film.parent.mkdir(parents=True)
    write_video(film, [(200, 0, 0)])
    row = item(imported(tmp_path / "photos", tmp_path / "library")[0], "trip/film.mp4")
    assert row["video"] == [str(film)]
    assert (row["image"], row["cat:kind"], row["title"]) == ([], ["video"], "film")
