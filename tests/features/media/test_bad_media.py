"""Bad media: each is used or rejected with a remedy, as docs/bad-input.md has it; others are read."""

from pathlib import Path

import numpy as np
import pytest
from tiny_encoders import write_tiny_audio, write_tiny_image, write_tiny_text

from features.dataset.rejected import count_reasons
from features.dataset.tables import Dataset, MediaVectors
from recsys.config import EncoderConfig
from scripts.bad_media import cases, read, tables, write_dataset

DOCUMENT = Path(__file__).parents[3] / "docs" / "bad-input.md"
Read = tuple[Dataset, MediaVectors]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Read:
    """Every case of scripts/bad_media.py, read once."""
    folder = tmp_path_factory.mktemp("hostile")
    config = EncoderConfig(
        text=str(write_tiny_text(folder / "text")),
        image=str(write_tiny_image(folder / "image")),
        audio=str(write_tiny_audio(folder / "audio")),
        transcriber="none",
    )
    return read(write_dataset(folder / "dataset"), config, folder / "cache")


def reasons(hostile: Read) -> dict[str, str]:
    """Reasons by the path in the table."""
    dataset, vectors = hostile
    said = {entry.value: entry.reason for entry in dataset.rejected}
    return said | {entry.path: entry.reason for entry in vectors.rejected}


def vector(hostile: Read, path: str) -> dict[str, list[float]]:
    """Vectors of the item or review of that path, by modality."""
    dataset, vectors = hostile
    (case,) = [case for case in cases() if case.path == path]
    if case.column == "audio":
        row, media = _row(dataset.reviews["audio"].to_list(), dataset.root / path), vectors.reviews
    else:
        paths = [next(iter(paths), None) for paths in dataset.items[case.column].to_list()]
        row, media = _row(paths, dataset.root / path), vectors.items
    return {
        name: one.vectors[one.owner == row][0].tolist() for name, one in media.items() if row in one.owner
    }


def _row(paths: list[str | None], path: Path) -> int:
    return paths.index(str(path))


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("cut.jpg", "not a readable picture: cut off; fetch or save it again"),
        ("text.jpg", "not a readable picture: a text, it begins with 'To follow on Monday.\\n'"),
        ("page.jpg", "not a readable picture: a web page"),
        ("empty.png", "not a readable picture: the file is empty (0 bytes)"),
        (
            "drawing.svg",
            "not a readable picture: an SVG, which is a drawing and no bitmap; convert it to PNG",
        ),
        (
            "phone.heic",
            "not a readable picture: a HEIC picture, cut off or of a variant",
        ),
        ("new.jxl", "not a readable picture: a JPEG XL picture, which cannot be read here; convert it to"),
        ("layers.psd", "not a readable picture: a Photoshop picture, which cannot be read here; convert it"),
        ("raw.cr2", "not a readable picture: a camera's raw picture, which cannot be read here; convert it"),
        ("thumbnail.dng", "a TIFF or raw picture that begins with a thumbnail, which cannot be read here"),
        (
            "odd.tif",
            "not a readable picture: a TIFF picture, cut off or of a variant that cannot be read here",
        ),
        ("film.jpg", "not a readable picture: an MP4 video, where a picture is expected"),
        ("page.pdf", "not a readable picture: a PDF document and no picture; convert it to JPEG or PNG"),
        ("pictures.zip", "not a readable picture: a ZIP archive or office document; unpack it and name the"),
        (
            "script.eps",
            "not a readable picture: a PostScript (EPS) drawing, which is a program and no picture",
        ),
        ("huge.png", "not a readable picture: 900000000 pixels are more than 80000000; shrink it"),
        ("empty.opus", "not readable sound: the file is empty (0 bytes)"),
        ("none.wav", "the audio stream is empty"),
        ("text.opus", "not readable sound: a text, it begins with 'To follow on Monday.\\n'"),
        ("notes.mid", "not readable sound: a MIDI file, which cannot be read here; convert it to FLAC, Opus"),
        ("picture.opus", "not readable sound: a PNG picture, where sound is expected"),
        ("silence.wav", "silence from beginning to end"),
        ("hours.wav", "longer than 3600 seconds; cut it"),
        ("cut.mp4", "cut off, or its frames are coded in a way that cannot be read here; fetch it again or"),
        (
            "codec.mkv",
            "cut off, or its frames are coded in a way that cannot be read here; fetch it again or",
        ),
        ("film.swf", "not a readable video: a Flash film, which cannot be read here; convert it to MP4 or"),
        ("phone2.heic", "not a readable video: a HEIC picture, where a video is expected"),
        ("sound.wav", "no pictures in it, only sound"),
        ("huge.gif", "10000 x 10000 pixels are more than 80000000; shrink it"),
        ("list.mp4", "not a readable video: a text, it begins with 'ffconcat"),
        ("nowhere.png", "no such file; paths are relative to the dataset's folder"),
        ("../outside.png", "a path with '..'; put the file into the dataset's folder"),
        ("link.png", "a link to a file outside of the dataset's folder; put the file itself into the folder"),
        ("/srv/pictures/1.png", "an absolute path; write it relative to the dataset's folder"),
        ("https://example.org/1.png", "a URL; download the file and write its path"),
        ("folder", "a folder or device, not a file"),
    ],
)
def test_rejected_with_what_to_do(hostile: Read, path: str, reason: str) -> None:
    assert reasons(hostile)[path].startswith(reason)


def test_nothing_else_is_rejected(hostile: Read) -> None:
    assert set(reasons(hostile)) == {case.path for case in cases() if not case.used}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("moving.gif", {"image": [255, 0, 0]}),
        ("print.jpg", {"image": [255, 0, 0]}),
        ("deep.png", {"image": [127.5, 127.5, 127.5]}),
        ("palette.png", {"image": [255, 255, 255]}),
        ("fine.wav", {"review_audio": [0.0]}),
        ("cut.wav", {"review_audio": [0.25]}),
        ("mute.mp4", {"video": [127.5, 0, 127.5]}),
        ("silent.mp4", {"video": [127.5, 0, 127.5]}),
        ("moving2.gif", {"video": [0.75 * 255, 0, 0.25 * 255]}),
    ],
)
def test_used(hostile: Read, path: str, expected: dict[str, list[float]]) -> None:
    found = vector(hostile, path)
    assert set(found) == set(expected)
    for name, numbers in expected.items():
        np.testing.assert_allclose(found[name], numbers, atol=3 if name != "review_audio" else 1e-3)


def test_the_rest_goes_on(hostile: Read) -> None:
    """The last item and the last review have readable media. All others are kept without their medium."""
    dataset, vectors = hostile
    assert dataset.items.height == len(cases()) + 1
    assert dataset.reviews.height == 1 + sum(case.column == "audio" for case in cases())
    last = {name: one.vectors[one.owner == dataset.items.height - 1] for name, one in vectors.items.items()}
    np.testing.assert_allclose(last["image"], [[0, 0, 255]])
    np.testing.assert_allclose(last["video"], [[127.5, 0, 127.5]], atol=3)
    np.testing.assert_allclose(vectors.reviews["review_audio"].vectors[-1], [0.5], atol=1e-3)


def test_equal_reasons_are_counted_together(hostile: Read) -> None:
    dataset, vectors = hostile
    counted = count_reasons((*dataset.rejected, *vectors.rejected))
    assert not [one for one in counted if "hostile" in one["reason"]], "a path would make each its own"


def test_the_document_has_the_tables_that_the_script_prints(hostile: Read) -> None:
    assert tables(*hostile) in DOCUMENT.read_text("utf-8"), "run python -m scripts.bad_media"
