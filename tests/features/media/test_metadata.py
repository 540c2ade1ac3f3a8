"""What picture and video files say of themselves; expected values are written out by hand."""

import io
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from photo_parts import exif, picture
from PIL import ExifTags, Image

from features.media import load_image, picture_metadata, position, read_xmp, video_metadata
from features.media.metadata import MediumMetadata, iso6709_position
from features.media.xmp import XmpTexts
from recsys.errors import MediumError
from scripts.bad_media import heic

BASE, GPS = ExifTags.Base, ExifTags.GPS
NOON = datetime(2019, 7, 31, 12, 0, 5)
PARIS = {
    GPS.GPSLatitudeRef: "N", GPS.GPSLatitude: (48.0, 51.0, 27.0),
    GPS.GPSLongitudeRef: "W", GPS.GPSLongitude: (2.0, 17.0, 42.0),
}  # fmt: skip
XMP = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
  xmp:CreateDate="2019-07-31T12:00:05+02:00">
<dc:title><rdf:Alt><rdf:li xml:lang="de">Der See</rdf:li>
  <rdf:li xml:lang="x-default">The lake</rdf:li></rdf:Alt></dc:title>
<dc:description><rdf:Alt><rdf:li xml:lang="x-default">At noon</rdf:li></rdf:Alt></dc:description>
<dc:subject><rdf:Bag><rdf:li>water</rdf:li><rdf:li>Anna</rdf:li></rdf:Bag></dc:subject>
</rdf:Description></rdf:RDF></x:xmpmeta>"""


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.heic"])
def test_exif_of_every_format(tmp_path: Path, name: str) -> None:
    if name.endswith(".heic"):
        pytest.importorskip("pillow_heif").register_heif_opener()
    details = {BASE.DateTimeOriginal: "2019:07:31 12:00:05", BASE.OffsetTimeOriginal: "+02:00"}
    tags = {BASE.Make: "Canon", BASE.Model: "Canon EOS 5D", BASE.ImageDescription: "The lake"}
    picture().save(tmp_path / name, exif=exif(tags, details, PARIS))
    found = picture_metadata(tmp_path / name)
    assert found.taken_at == NOON.replace(tzinfo=timezone(timedelta(hours=2)))
    assert found.latitude == pytest.approx(48 + 51 / 60 + 27 / 3600)
    assert found.longitude == pytest.approx(-(2 + 17 / 60 + 42 / 3600))
    assert found.camera == "Canon EOS 5D"
    assert found.description == "The lake"
    assert found.title is None


@pytest.mark.parametrize(
    ("details", "expected"),
    [
        ({BASE.DateTimeOriginal: "2019:07:31 12:00:05"}, NOON),
        ({BASE.DateTimeDigitized: "2019:07:31 12:00:05", BASE.DateTimeOriginal: "    "}, NOON),
        ({BASE.DateTimeOriginal: "2019:07:31 12:00:05", BASE.OffsetTimeOriginal: "  :  "}, NOON),
        ({BASE.DateTimeOriginal: "0000:00:00 00:00:00"}, None),
        ({BASE.DateTimeOriginal: "1970:01:01 00:00:00"}, None),
        ({BASE.DateTimeOriginal: "2919:07:31 12:00:05"}, None),
        ({BASE.DateTimeOriginal: "in summer"}, None),
    ],
)
def test_times_of_cameras(tmp_path: Path, details: dict[int, str], expected: datetime | None) -> None:
    picture().save(tmp_path / "a.jpg", exif=exif(details=details))
    assert picture_metadata(tmp_path / "a.jpg").taken_at == expected


@pytest.mark.parametrize(
    "wrong",
    [
        {GPS.GPSLatitude: (0.0, 0.0, 0.0), GPS.GPSLongitude: (0.0, 0.0, 0.0)},
        {GPS.GPSLatitude: (91.0, 0.0, 0.0)},
        {GPS.GPSLongitude: (181.0, 0.0, 0.0)},
        {GPS.GPSLatitude: (48.0, 51.0)},
    ],
)
def test_no_place_is_not_a_place_in_the_sea(tmp_path: Path, wrong: dict[int, tuple[float, ...]]) -> None:
    picture().save(tmp_path / "a.jpg", exif=exif(gps=PARIS | wrong))
    found = picture_metadata(tmp_path / "a.jpg")
    assert (found.latitude, found.longitude) == (None, None)
    assert position(float("nan"), 1.0) == (None, None)


def test_texts_of_cameras_are_no_descriptions(tmp_path: Path) -> None:
    picture().save(tmp_path / "a.jpg", exif=exif({BASE.ImageDescription: "OLYMPUS DIGITAL CAMERA         "}))
    assert picture_metadata(tmp_path / "a.jpg").description is None


def test_xmp_and_windows_texts_inside_a_picture(tmp_path: Path) -> None:
    picture().save(tmp_path / "a.jpg", xmp=XMP.encode())
    found = picture_metadata(tmp_path / "a.jpg")
    assert (found.title, found.description, found.keywords) == ("The lake", "At noon", ("water", "Anna"))
    assert found.taken_at == NOON.replace(tzinfo=timezone(timedelta(hours=2)))
    tags = {0x9C9B: "Der See\0".encode("utf-16-le"), 0x9C9E: "Wasser; Anna\0".encode("utf-16-le")}
    picture().save(tmp_path / "b.jpg", exif=exif(tags))
    found = picture_metadata(tmp_path / "b.jpg")
    assert (found.title, found.keywords) == ("Der See", ("Wasser", "Anna"))


def test_iptc_inside_a_picture(tmp_path: Path) -> None:
    """Photoshop's block with three records of IPTC: title, two keywords, caption."""
    records = ((5, "The lake"), (25, "water"), (25, "Anna"), (120, "At noon é"))
    iptc = b"".join(
        b"\x1c\x02" + bytes([number]) + len(text).to_bytes(2) + text
        for number, text in ((number, text.encode()) for number, text in records)
    )
    iptc += b"\0" * (len(iptc) % 2)
    block = b"Photoshop 3.0\x008BIM\x04\x04\0\0" + len(iptc).to_bytes(4) + iptc
    picture().save(tmp_path / "plain.jpg")
    plain = (tmp_path / "plain.jpg").read_bytes()
    marked = plain[:2] + b"\xff\xed" + (len(block) + 2).to_bytes(2) + block + plain[2:]
    (tmp_path / "a.jpg").write_bytes(marked)
    found = picture_metadata(tmp_path / "a.jpg")
    assert (found.title, found.description, found.keywords) == ("The lake", "At noon é", ("water", "Anna"))


@pytest.mark.parametrize(
    "packet",
    [
        b"not XML",
        b"<a>",
        b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
        b'<?xml version="1.0" encoding="of none"?><a/>',
        b"<a>" + b" " * 2**20 + b"</a>",
    ],
)
def test_xmp_that_is_no_xmp_is_empty(packet: bytes) -> None:
    assert read_xmp(packet) == XmpTexts()


@pytest.mark.filterwarnings(
    "ignore:Corrupt EXIF data", "ignore:Truncated File Read", "ignore:Metadata Warning"
)
@pytest.mark.parametrize(
    "block", [b"Exif\0\0", b"Exif\0\0MM\0*\xff\xff\xff\xff", b"Exif\0\0II*\0\x08\0\0\0\xff\xff\1"]
)
def test_damaged_metadata_count_as_absent_and_the_picture_is_read(tmp_path: Path, block: bytes) -> None:
    picture().save(tmp_path / "plain.jpg")
    plain = (tmp_path / "plain.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(
        plain[:2] + b"\xff\xe1" + (len(block) + 2).to_bytes(2) + block + plain[2:]
    )
    assert picture_metadata(tmp_path / "a.jpg") == MediumMetadata()
    assert load_image(tmp_path / "a.jpg").tobytes() == load_image(tmp_path / "plain.jpg").tobytes()


def test_a_text_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("a text", "utf-8")
    with pytest.raises(MediumError, match="a text"):
        picture_metadata(tmp_path / "a.jpg")


def test_a_video_says_when_and_where(tmp_path: Path) -> None:
    import av

    with av.open(tmp_path / "a.mp4", "w", options={"movflags": "use_metadata_tags"}) as container:
        container.metadata.update(
            {"creation_time": "2019-07-31T12:00:05Z", "location": "+48.8577-002.2950/", "model": "Phone 1"}
        )
        stream = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height = 32, 32
        frame = av.VideoFrame.from_image(picture(size=(32, 32)))
        for packet in [*stream.encode(frame), *stream.encode()]:
            container.mux(packet)
    found = video_metadata(tmp_path / "a.mp4")
    assert found.taken_at == NOON.replace(tzinfo=UTC)
    assert (found.latitude, found.longitude) == (48.8577, -2.295)
    assert found.camera == "Phone 1"
    assert iso6709_position("+48.8577/") == (None, None)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_honoured_also_when_decoded_small(
    tmp_path: Path, name: str, orientation: int
) -> None:
    """The reference is Pillow's table of transpositions, applied to the pixels by hand."""
    turn = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }  # fmt: skip
    upright = picture(size=(48, 32))
    upright.save(tmp_path / f"plain{name[1:]}")
    upright.save(tmp_path / name, exif=exif({BASE.Orientation: orientation}))
    for min_side in (None, 16):
        plain = load_image(tmp_path / f"plain{name[1:]}", min_side=min_side)
        expected = plain.transpose(turn[orientation]) if orientation > 1 else plain
        found = load_image(tmp_path / name, min_side=min_side)
        assert (found.size, found.tobytes()) == (expected.size, expected.tobytes()), min_side


def test_heic_is_read_upright(tmp_path: Path) -> None:
    pytest.importorskip("pillow_heif").register_heif_opener()
    turned_exif = exif({BASE.Orientation: 6}).tobytes()
    picture(size=(128, 64)).save(tmp_path / "a.heic", exif=turned_exif, quality=95)
    turned = load_image(tmp_path / "a.heic")
    assert turned.size == (64, 128)
    top, bottom = turned.resize((1, 2)).convert("L").tobytes()
    assert bottom > top + 100, "the left half was dark, so the upper one is"


def test_without_the_library_a_heic_is_named_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("features.media.file_formats.has_heif", lambda: False)
    (tmp_path / "a.heic").write_bytes(heic())
    with pytest.raises(
        MediumError, match="a HEIC picture, which cannot be read here; install pillow-heif, or conv"
    ):
        load_image(tmp_path / "a.heic")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", ["JPEG", "WEBP"])
def test_a_picture_is_read_however_its_exif_is_damaged(form: str) -> None:
    """Random bytes inside the block of EXIF, whose beginning and end are found by its texts."""
    tags = {BASE.Make: "Canon", BASE.Orientation: 6}
    buffer = io.BytesIO()
    picture().save(buffer, form, exif=exif(tags, {BASE.DateTimeOriginal: "2019:07:31 12:00:05"}, PARIS))
    content = buffer.getvalue()
    start, end = content.find(b"MM\0*"), content.find(b"2019:07:31") + 19
    for seed in range(300):
        rng = np.random.default_rng(seed)
        damaged = bytearray(content)
        for place in rng.integers(start, end, rng.integers(1, 7)):
            damaged[place] = rng.integers(256)
        assert sorted(load_image(bytes(damaged)).size) == [16, 24]
        assert isinstance(picture_metadata(bytes(damaged)), MediumMetadata)
