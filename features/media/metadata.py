"""What a picture or video file says of itself: time, place, camera and captions.

Damaged metadata count as absent: a picture is worth more than its description.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, TypeVar

from PIL import ExifTags, Image, IptcImagePlugin

from features.media.decode import Medium, explained, open_container, open_picture
from features.media.xmp import XmpTexts, iso_time, read_xmp

T = TypeVar("T")
_FIRST_YEAR = 1826  # of the oldest photograph; cameras without a clock write 0
# Times at which clocks of files start: an unset field, not a time.
_UNSET = (datetime(1904, 1, 1), datetime(1970, 1, 1))
_IPTC_TITLE, _IPTC_KEYWORDS, _IPTC_CAPTION = (2, 5), (2, 25), (2, 120)
_OFFSETS = (ExifTags.Base.OffsetTimeOriginal, ExifTags.Base.OffsetTime)
# Windows writes these tags in UTF-16.
_XP_TITLE, _XP_COMMENT, _XP_KEYWORDS = 0x9C9B, 0x9C9C, 0x9C9E
_CAMERA_TEXT = re.compile(r"^(?=[^a-z]*$).*(DIGITAL CAMERA|DCIM)|^(SAMSUNG|default|untitled)$")


@dataclass(frozen=True, kw_only=True)
class MediumMetadata:
    taken_at: datetime | None = None  # with its zone where the file names one, else by the camera's clock
    latitude: float | None = None  # degrees, north positive
    longitude: float | None = None  # degrees, east positive
    camera: str | None = None
    title: str | None = None
    description: str | None = None
    keywords: tuple[str, ...] = ()


def picture_metadata(source: Medium) -> MediumMetadata:
    """EXIF, then IPTC, then XMP of a picture. Raises `MediumError` where the file is no picture."""
    with explained(source, "picture"), open_picture(source) as image:
        exif: Mapping[int, Any] = _or_else({}, image.getexif)
        details: Mapping[int, Any] = _or_else({}, lambda: image.getexif().get_ifd(ExifTags.IFD.Exif))
        gps: Mapping[int, Any] = _or_else({}, lambda: image.getexif().get_ifd(ExifTags.IFD.GPSInfo))
        iptc: Mapping[Any, Any] = _or_else({}, lambda: IptcImagePlugin.getiptcinfo(image) or {})
        packet = _xmp_packet(image)
        xmp = read_xmp(packet) if packet else XmpTexts()
        written = {str(name).lower(): text for name, text in image.info.items() if isinstance(text, str)}
    latitude, longitude = gps_position(gps)
    keywords = [*_listed(iptc.get(_IPTC_KEYWORDS)), *xmp.keywords, *_split(_utf16(exif.get(_XP_KEYWORDS)))]
    return MediumMetadata(
        taken_at=exif_time(details) or exif_time(exif) or _plausible(xmp.taken_at),
        latitude=latitude,
        longitude=longitude,
        camera=_camera(_clean(exif.get(ExifTags.Base.Make)), _clean(exif.get(ExifTags.Base.Model))),
        title=_first_given(
            xmp.title, *_listed(iptc.get(_IPTC_TITLE)), _utf16(exif.get(_XP_TITLE)), written.get("title")
        ),
        description=_first_given(
            xmp.description,
            *_listed(iptc.get(_IPTC_CAPTION)),
            _of_a_person(_clean(exif.get(ExifTags.Base.ImageDescription))),
            _utf16(exif.get(_XP_COMMENT)),
            written.get("description"),
        ),
        keywords=tuple(dict.fromkeys(keywords)),
    )


def video_metadata(source: Medium) -> MediumMetadata:
    """The container's own fields. Raises `MediumError` where the file is no video."""
    with explained(source, "video"), open_container(source) as container:
        tags = container.metadata
        fields = {name.lower().removeprefix("com.apple.quicktime."): text for name, text in tags.items()}
    times = (iso_time(fields.get(name, "")) for name in ("creationdate", "creation_time", "date"))
    latitude, longitude = iso6709_position(fields.get("location.iso6709") or fields.get("location") or "")
    return MediumMetadata(
        taken_at=next((time for time in map(_plausible, times) if time is not None), None),
        latitude=latitude,
        longitude=longitude,
        camera=_camera(_clean(fields.get("make")), _clean(fields.get("model"))),
        title=_clean(fields.get("title")),
        description=_first_given(_clean(fields.get("description")), _clean(fields.get("comment"))),
    )


def exif_time(tags: Mapping[int, Any]) -> datetime | None:
    """The time of the exposure, else of digitisation, with the offset from UTC where there is one."""
    for name in (ExifTags.Base.DateTimeOriginal, ExifTags.Base.DateTimeDigitized):
        text = _clean(tags.get(name)) or ""
        with suppress(ValueError):
            time = datetime.strptime(text[:19], "%Y:%m:%d %H:%M:%S")
            offsets = [found for tag in _OFFSETS if (found := _offset(_clean(tags.get(tag)))) is not None]
            return _plausible(time.replace(tzinfo=timezone(offsets[0])) if offsets else time)
    return None


def gps_position(tags: Mapping[int, Any]) -> tuple[float | None, float | None]:
    """Latitude and longitude in degrees; both None where one is missing, out of range, or both are 0."""
    names = ExifTags.GPS
    latitude = _degrees(tags.get(names.GPSLatitude), tags.get(names.GPSLatitudeRef), "S")
    longitude = _degrees(tags.get(names.GPSLongitude), tags.get(names.GPSLongitudeRef), "W")
    return position(latitude, longitude)


def position(latitude: float | None, longitude: float | None) -> tuple[float | None, float | None]:
    """The position, None where it is none; programs write 0, 0 where they know nothing."""
    if latitude is None or longitude is None or (latitude == 0 and longitude == 0):
        return None, None
    if not (abs(latitude) <= 90 and abs(longitude) <= 180):  # false for NaN too
        return None, None
    return latitude, longitude


def iso6709_position(text: str) -> tuple[float | None, float | None]:
    """Latitude and longitude of a text such as "+48.8577+002.2950/"."""
    found = re.match(r"([+-]\d{1,2}(?:\.\d+)?)([+-]\d{1,3}(?:\.\d+)?)", text)
    return position(float(found[1]), float(found[2])) if found else (None, None)


def _degrees(value: Any, reference: Any, negative: str) -> float | None:
    try:
        degrees, minutes, seconds = (float(part) for part in value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    sign = -1.0 if str(_clean(reference)).upper() == negative else 1.0
    return sign * (degrees + minutes / 60 + seconds / 3600)


def _offset(text: str | None) -> timedelta | None:
    found = re.fullmatch(r"([+-])(\d\d):?(\d\d)", text or "")
    if found is None or int(found[2]) > 14 or int(found[3]) > 59:
        return timedelta(0) if text == "Z" else None
    return (-1 if found[1] == "-" else 1) * timedelta(hours=int(found[2]), minutes=int(found[3]))


def _plausible(time: datetime | None) -> datetime | None:
    if time is None or not _FIRST_YEAR <= time.year <= datetime.now(UTC).year + 1:
        return None
    return None if time.replace(tzinfo=None) in _UNSET else time


def _camera(make: str | None, model: str | None) -> str | None:
    """Make and model; a model that begins with its make does not name it twice."""
    if make and model and not model.lower().startswith(make.split()[0].lower()):
        return f"{make} {model}"
    return model or make


def _of_a_person(text: str | None) -> str | None:
    """The description, None where it is one that cameras write into every picture."""
    return None if text is None or _CAMERA_TEXT.search(text) else text


def _xmp_packet(image: Image.Image) -> bytes | None:
    packet = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")
    return packet.encode() if isinstance(packet, str) else packet


def _clean(value: Any) -> str | None:
    """A field as text; None where it is empty or not a text. Bytes are UTF-8, else Latin-1."""
    if isinstance(value, bytes):
        try:
            value = value.decode("utf-8")
        except UnicodeDecodeError:
            value = value.decode("latin-1")
    text = value.replace("\0", " ").strip() if isinstance(value, str) else ""
    return text or None


def _utf16(value: Any) -> str | None:
    return _clean(value.decode("utf-16-le", "replace")) if isinstance(value, bytes) else _clean(value)


def _split(keywords: str | None) -> list[str]:
    return [word for part in (keywords or "").split(";") if (word := part.strip())]


def _listed(value: Any) -> Iterator[str]:
    for entry in value if isinstance(value, list) else [value]:
        if text := _clean(entry):
            yield text


def _first_given(*texts: str | None) -> str | None:
    return next((text for text in texts if text), None)


def _or_else(default: T, read: Callable[[], T]) -> T:
    """The result of `read`, or `default` where that raises; damaged metadata give errors of any class."""
    try:
        return read()
    except Exception:
        return default
