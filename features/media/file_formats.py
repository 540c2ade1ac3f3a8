"""The format of a picture, sound or video file, by its first bytes, and whether it can be read here."""

from typing import Literal, NamedTuple

from PIL import features as pillow_features

from features.media.heif import FORMAT as HEIF
from features.media.heif import has_heif

Medium = Literal["picture", "sound", "video", "drawing", "document", "archive"]

# Common formats that are safe. Others are refused: some are programs (EPS), others open further files
# (playlists).
PICTURE_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "PPM", "WEBP", "TIFF", "AVIF", "JPEG2000", "ICO")
DEMUXERS = (
    "aac", "ac3", "aiff", "amr", "ape", "asf", "au", "avi", "caf", "flac", "flv", "gif", "matroska", "mov",
    "mp3", "mpeg", "mpegts", "ogg", "w64", "wav", "wv",
)  # fmt: skip
HEAD_BYTES = 1024  # of a file, enough for every signature below

EXPECTED = {"picture": "a picture", "sound": "sound", "video": "a video"}
CONVERT_TO = {"picture": "JPEG or PNG", "sound": "FLAC, Opus or WAV", "video": "MP4 or WebM"}


class FileFormat(NamedTuple):
    """A format with the decoder that reads it: Pillow's name of a picture format, FFmpeg's of a container."""

    label: str  # with its article: "a HEIC picture"
    medium: Medium
    decoder: str = ""  # "": no decoder

    @property
    def is_readable(self) -> bool:
        if self.decoder == "AVIF":  # Pillow may be built without it
            return bool(pillow_features.check("avif"))
        if self.decoder == HEIF:
            return has_heif()
        return self.decoder in PICTURE_FORMATS or self.decoder in DEMUXERS


_RAW = FileFormat("a camera's raw picture", "picture")
_HEIC = FileFormat("a HEIC picture", "picture", HEIF)
_HEIF = FileFormat("a HEIF picture", "picture", HEIF)  # a container; another brand says how it is coded
_AVIF = FileFormat("an AVIF picture", "picture", "AVIF")
_MP4 = FileFormat("an MP4 video", "video", "mov")

# (offset, bytes there, format); the first that fits is taken.
_SIGNATURES: tuple[tuple[int, bytes, FileFormat], ...] = (
    (0, b"\xff\xd8\xff\xf7", FileFormat("a JPEG-LS picture", "picture")),
    (0, b"\xff\xd8\xff", FileFormat("a JPEG picture", "picture", "JPEG")),
    (0, b"\x89PNG\r\n\x1a\n", FileFormat("a PNG picture", "picture", "PNG")),
    (0, b"GIF8", FileFormat("a GIF picture", "picture", "GIF")),
    (8, b"WEBP", FileFormat("a WebP picture", "picture", "WEBP")),
    (4, b"jP  \r\n\x87\n", FileFormat("a JPEG 2000 picture", "picture", "JPEG2000")),
    (0, b"\xff\x4f\xff\x51", FileFormat("a JPEG 2000 picture", "picture", "JPEG2000")),
    (0, b"\0\0\1\0", FileFormat("an ICO picture", "picture", "ICO")),
    (0, b"\xff\x0a", FileFormat("a JPEG XL picture", "picture")),
    (4, b"JXL \r\n\x87\n", FileFormat("a JPEG XL picture", "picture")),
    (0, b"II\xbc\x01", FileFormat("a JPEG XR picture", "picture")),
    (8, b"CR\2\0", _RAW),  # Canon CR2, whose first bytes are those of a TIFF
    (0, b"IIRO", _RAW),  # Olympus
    (0, b"IIRS", _RAW),
    (0, b"IIU\0", _RAW),  # Panasonic
    (0, b"FUJIFILMCCD-RAW", _RAW),
    (0, b"FOVb", _RAW),  # Sigma
    (6, b"HEAPCCDR", _RAW),  # Canon CRW
    (0, b"II*\0", FileFormat("a TIFF picture", "picture", "TIFF")),
    (0, b"MM\0*", FileFormat("a TIFF picture", "picture", "TIFF")),
    (0, b"II+\0", FileFormat("a BigTIFF picture", "picture", "TIFF")),
    (0, b"MM\0+", FileFormat("a BigTIFF picture", "picture", "TIFF")),
    (0, b"8BPS", FileFormat("a Photoshop picture", "picture")),
    (0, b"gimp xcf", FileFormat("a GIMP picture", "picture")),
    (0, b"v/1\x01", FileFormat("an OpenEXR picture", "picture")),
    (0, b"#?RADIANCE", FileFormat("a Radiance HDR picture", "picture")),
    (0, b"qoif", FileFormat("a QOI picture", "picture")),
    (0, b"DDS ", FileFormat("a DDS picture", "picture")),
    (0, b"icns", FileFormat("an ICNS picture", "picture")),
    (0, b"\0\0\2\0", FileFormat("a CUR or TGA picture", "picture")),
    (0, b"BPG\xfb", FileFormat("a BPG picture", "picture")),
    (0, b"FLIF", FileFormat("a FLIF picture", "picture")),
    (0, b"AT&TFORM", FileFormat("a DjVu document", "document")),
    (128, b"DICM", FileFormat("a DICOM picture", "picture")),
    (0, b"%!PS", FileFormat("a PostScript (EPS) drawing, which is a program", "drawing")),
    (0, b"\xc5\xd0\xd3\xc6", FileFormat("a PostScript (EPS) drawing, which is a program", "drawing")),
    (0, b"\xd7\xcd\xc6\x9a", FileFormat("a WMF drawing", "drawing")),
    (40, b" EMF", FileFormat("an EMF drawing", "drawing")),
    (0, b"%PDF-", FileFormat("a PDF document", "document")),
    (0, b"PK\3\4", FileFormat("a ZIP archive or office document", "archive")),
    (0, b"\x1f\x8b", FileFormat("a gzip archive", "archive")),
    (0, b"7z\xbc\xaf\x27\x1c", FileFormat("a 7z archive", "archive")),
    (0, b"Rar!", FileFormat("a RAR archive", "archive")),
    (8, b"WAVE", FileFormat("a WAV file", "sound", "wav")),
    (0, b"fLaC", FileFormat("a FLAC file", "sound", "flac")),
    (0, b"OggS", FileFormat("an Ogg file", "sound", "ogg")),
    (0, b"ID3", FileFormat("an MP3 file", "sound", "mp3")),
    (8, b"AIFF", FileFormat("an AIFF file", "sound", "aiff")),
    (0, b"caff", FileFormat("a CAF file", "sound", "caf")),
    (0, b"#!AMR", FileFormat("an AMR file", "sound", "amr")),
    (0, b"wvpk", FileFormat("a WavPack file", "sound", "wv")),
    (0, b"MThd", FileFormat("a MIDI file", "sound")),
    (0, b".ra\xfd", FileFormat("a RealAudio file", "sound")),
    (0, b"MPCK", FileFormat("a Musepack file", "sound")),
    (0, b"MP+", FileFormat("a Musepack file", "sound")),
    (0, b"TTA1", FileFormat("a TTA file", "sound")),
    (0, b"tBaK", FileFormat("a TAK file", "sound")),
    (0, b"ajkg", FileFormat("a Shorten file", "sound")),
    (0, b"DSD ", FileFormat("a DSD file", "sound")),
    (0, b"FRM8", FileFormat("a DSD file", "sound")),
    (0, b"Creative Voice File", FileFormat("a VOC file", "sound")),
    (0, b"IMPM", FileFormat("a tracker module", "sound")),
    (0, b"Extended Module:", FileFormat("a tracker module", "sound")),
    (8, b"AVI ", FileFormat("an AVI video", "video", "avi")),
    (0, b"\x1a\x45\xdf\xa3", FileFormat("a Matroska or WebM video", "video", "matroska")),
    (0, b"\0\0\1\xba", FileFormat("an MPEG video", "video", "mpeg")),
    (0, b"FLV", FileFormat("an FLV video", "video", "flv")),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", FileFormat("a Windows Media file", "video", "asf")),
    (4, b"moov", FileFormat("a QuickTime video", "video", "mov")),
    (0, b".RMF", FileFormat("a RealMedia video", "video")),
    (0, b"FWS", FileFormat("a Flash film", "video")),
    (0, b"CWS", FileFormat("a Flash film", "video")),
    (0, b"ZWS", FileFormat("a Flash film", "video")),
    (0, b"\x06\x0e\x2b\x34", FileFormat("an MXF video", "video")),
    (0, b"DKIF", FileFormat("an IVF video", "video")),
    (0, b"YUV4MPEG2", FileFormat("a Y4M video", "video")),
    (0, b"BIKi", FileFormat("a Bink video", "video")),
    (0, b"NuppelVideo", FileFormat("a NuppelVideo", "video")),
    (0, b"\xb7\xd8\x00\x20\x37\x49\xda\x11", FileFormat("a WTV video", "video")),
    (0, b"BM", FileFormat("a BMP picture", "picture", "BMP")),  # two bytes, so after all others
)
# Brands in the first box of an ISO base media file (ISO/IEC 14496-12); every other brand is a video's.
_BRANDS = {
    **dict.fromkeys((b"avif", b"avis"), _AVIF),
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"), _HEIC),
    **dict.fromkeys((b"mif1", b"msf1"), _HEIF),
    b"crx ": _RAW,
    b"jxl ": FileFormat("a JPEG XL picture", "picture"),
}


def file_format(head: bytes) -> FileFormat | None:
    """The format of the file that begins with `head`, None where no signature fits."""
    if head[4:8] == b"ftyp":
        length = min(int.from_bytes(head[:4]), len(head))
        brands = [head[8:12], *(head[at : at + 4] for at in range(16, length - 3, 4))]
        if (
            brands[0] not in _BRANDS
        ):  # compatible brands alone make no picture: cameras write videos with them
            return _MP4
        coded = [_BRANDS[brand] for brand in brands if brand in _BRANDS and _BRANDS[brand] is not _HEIF]
        return coded[0] if coded else _HEIF
    for offset, signature, found in _SIGNATURES:
        if head.startswith(signature, offset):
            return found
    return None


def unreadable_format(found: FileFormat, expected: str) -> str | None:
    """Why a file of this format cannot be read as `expected`, and the remedy; None where it can.

    `expected` is a key of `EXPECTED`. Sound may be in a video file. A video file without pictures is found
    when it is decoded.
    """
    if found.medium == "archive":
        return f"{found.label}; unpack it and name the files in it"
    fits = found.medium == expected or {found.medium, expected} <= {"sound", "video"}
    if fits or (found.decoder == "GIF" and expected == "video"):
        if found.is_readable:
            return None
        remedy = "install pillow-heif, or convert it" if found.decoder == HEIF else "convert it"
        return f"{found.label}, which cannot be read here; {remedy} to {CONVERT_TO[expected]}"
    if found.medium in ("drawing", "document") and expected == "picture":
        return f"{found.label} and no picture; convert it to {CONVERT_TO[expected]}"
    return f"{found.label}, where {EXPECTED[expected]} is expected"


def text_or_empty(head: bytes) -> str | None:
    """A description of an empty file or a text file, None for all other files."""
    if not head:
        return "the file is empty (0 bytes)"
    text = head.decode("utf-8", errors="ignore").lstrip("\ufeff").lstrip().lower()
    if "<svg" in text:
        return "an SVG, which is a drawing and no bitmap; convert it to PNG or JPEG"
    if text.startswith(("<!doctype html", "<html")):
        return "a web page, perhaps an error message of the server; download the file again"
    if all(byte >= 32 or byte in b"\t\n\f\r" for byte in head) and len(text) > 0.9 * len(head):
        return f"a text, it begins with {head[:40].decode('utf-8', errors='ignore')!r}"
    return None
