"""Make broken, huge and unusual media, read them with recsys, and print the messages as tables.

python -m scripts.bad_media    prints the tables of docs/bad-input.md; a test compares them
"""

import io
import json
import os
import struct
import sys
import tempfile
import wave
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import tomli_w
from PIL import Image, TiffImagePlugin

from features.dataset import Dataset, MediaVectors, load_dataset
from features.extraction import extract
from recsys.config import EncoderConfig

RED, BLUE = (255, 0, 0), (0, 0, 255)
RATE = 16_000
MP4_HEAD = b"\0\0\0\x18ftypisom\0\0\2\0isommp41"
CR2_HEAD = b"II*\0\x10\0\0\0CR\2\0"


@dataclass(frozen=True, kw_only=True)
class Case:
    """One medium; `used` describes its use if it is not rejected."""

    words: str
    column: str
    path: str
    make: Callable[[Path], None] | None = None
    used: str = ""


def cases() -> list[Case]:
    """Every medium of the tables, in their order."""
    return [case for chosen in TABLES.values() for case in chosen()]


def _pictures() -> Iterator[Case]:
    yield _picture("a JPEG that is cut off", "cut.jpg", lambda path: _cut(path, noise()))
    yield _picture("a text named .jpg", "text.jpg", lambda path: _write(path, b"To follow on Monday.\n"))
    page = b"<!DOCTYPE html><html><body>404 Not Found</body></html>"
    yield _picture("a web page named .jpg", "page.jpg", lambda path: _write(path, page))
    yield _picture("a file of 0 bytes", "empty.png", lambda path: _write(path, b""))
    drawing = b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>\n'
    yield _picture("an SVG", "drawing.svg", lambda path: _write(path, drawing))
    yield _picture("a HEIC that is cut off", "phone.heic", lambda path: _write(path, heic()))
    yield _picture("a JPEG XL", "new.jxl", lambda path: _write(path, b"\xff\x0a" + bytes(range(99))))
    yield _picture("a Photoshop picture", "layers.psd", lambda path: _write(path, b"8BPS\0\1" + bytes(99)))
    yield _picture("a raw picture of a camera", "raw.cr2", lambda path: _write(path, CR2_HEAD + bytes(99)))
    yield _picture("a TIFF that begins with a thumbnail", "thumbnail.dng", write_thumbnail_tiff)
    yield _picture("a TIFF of an unknown variant", "odd.tif", write_odd_tiff)
    yield _picture("an MP4 named .jpg", "film.jpg", lambda path: _write(path, MP4_HEAD + bytes(99)))
    yield _picture("a PDF", "page.pdf", lambda path: _write(path, b"%PDF-1.7\n"))
    yield _picture("a ZIP archive", "pictures.zip", lambda path: _write(path, b"PK\3\4" + bytes(99)))
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n\x04\xff"
    yield _picture("an EPS, which is a program", "script.eps", lambda path: _write(path, script))
    yield _picture("a PNG of 30,000 x 30,000 pixels", "huge.png", write_huge_png)
    yield _picture("an animated GIF", "moving.gif", write_gif, "its first frame")
    yield _picture("a JPEG in CMYK", "print.jpg", lambda path: _cmyk().save(path), "converted to RGB")
    grey = Image.fromarray(np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8))
    yield _picture("a picture of 16 bits", "deep.png", grey.save, "scaled to 8 bits, not clipped")
    yield _picture(
        "a palette with a transparent colour",
        "palette.png",
        lambda path: _palette().save(path, transparency=0),
        "transparent parts are white",
    )


def _sounds() -> Iterator[Case]:
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(9600) / 96_000)
    yield _sound("a file of 0 bytes", "empty.opus", lambda path: _write(path, b""))
    yield _sound("no samples", "none.wav", lambda path: write_wav(path, np.zeros((0, 1)), RATE))
    yield _sound("a text named .opus", "text.opus", lambda path: _write(path, b"To follow on Monday.\n"))
    yield _sound("a MIDI file", "notes.mid", lambda path: _write(path, b"MThd\0\0\0\6" + bytes(99)))
    yield _sound("a PNG named .opus", "picture.opus", lambda path: noise().save(path, "PNG"))
    yield _sound("silence", "silence.wav", lambda path: write_wav(path, np.zeros((RATE, 1)), RATE))
    yield _sound("10 hours of silence", "hours.wav", write_ten_hours)
    yield _sound(
        "stereo at 96 kHz",
        "fine.wav",
        lambda path: write_wav(path, np.stack([tone, tone], axis=1), 96_000),
        "the mean of its channels at 16 kHz",
    )
    yield _sound("a WAV that is cut off", "cut.wav", _cut_wav, "as far as it goes")


def _videos() -> Iterator[Case]:
    yield _video(
        "no sound", "mute.mp4", lambda path: write_video(path, [RED, BLUE]), "seen; no sound is no mistake"
    )
    yield _video(
        "a silent sound track",
        "silent.mp4",
        lambda path: write_video(path, [RED, BLUE], sound=np.zeros(RATE)),
        "seen; silence is no sound",
    )
    yield _video("an animated GIF", "moving2.gif", write_gif, "seen, each frame as long as it is shown")
    yield _video("an MP4 that is cut off", "cut.mp4", _cut_video)
    yield _video("frames of an unknown codec", "codec.mkv", _write_unknown_codec)
    yield _video("a Flash film", "film.swf", lambda path: _write(path, b"CWS\7" + bytes(range(99))))
    yield _video("a HEIC", "phone2.heic", lambda path: _write(path, heic()))
    yield _video("sound alone", "sound.wav", lambda path: write_wav(path, np.ones((RATE, 1)) / 2, RATE))
    yield _video("frames of 10,000 x 10,000 pixels", "huge.gif", _write_huge_gif)
    playlist = b"ffconcat version 1.0\nfile mute.mp4\n"
    yield _video("a list of other files named .mp4", "list.mp4", lambda path: _write(path, playlist))


def _paths() -> Iterator[Case]:
    outside = "../outside.png"
    yield Case(words="a path that leads nowhere", column="image", path="nowhere.png")
    yield Case(words="a path out of the folder, `../x`", column="image", path=outside)
    yield Case(
        words="a link out of the folder",
        column="image",
        path="link.png",
        make=lambda path: path.symlink_to(path.parent / outside),
    )
    yield Case(words="an absolute path", column="image", path="/srv/pictures/1.png")
    yield Case(words="a URL", column="image", path="https://example.org/1.png")
    yield Case(words="a folder", column="image", path="folder", make=lambda path: path.mkdir())


TABLES = {"Pictures": _pictures, "Sound": _sounds, "Videos": _videos, "Paths, of any medium": _paths}


def _picture(words: str, path: str, make: Callable[[Path], None], used: str = "") -> Case:
    return Case(words=words, column="image", path=path, make=make, used=used)


def _sound(words: str, path: str, make: Callable[[Path], None], used: str = "") -> Case:
    return Case(words=words, column="audio", path=path, make=make, used=used)


def _video(words: str, path: str, make: Callable[[Path], None], used: str = "") -> Case:
    return Case(words=words, column="video", path=path, make=make, used=used)


def write_dataset(root: Path) -> Path:
    """A dataset with every case as the only medium of an item or review, and an intact one last."""
    root.mkdir(parents=True)
    Image.new("RGB", (8, 8), RED).save(root.parent / "outside.png")
    Image.new("RGB", (8, 8), BLUE).save(root / "good.png")
    write_video(root / "good.mp4", [RED, BLUE])
    write_wav(root / "good.wav", np.full((RATE, 1), 0.5), RATE)
    everything = cases()
    for case in everything:
        if case.make is not None:
            case.make(root / case.path)
    media = [{case.column: case.path} for case in everything]
    media.append({"image": "good.png", "video": "good.mp4", "audio": "good.wav"})
    items = [{"id": at, "image": one.get("image"), "video": one.get("video")} for at, one in enumerate(media)]
    reviews = [
        {"user": "u", "item": at, "audio": one["audio"]} for at, one in enumerate(media) if "audio" in one
    ]
    _write(root / "items.jsonl", "\n".join(map(json.dumps, items)).encode())
    _write(root / "reviews.jsonl", "\n".join(map(json.dumps, reviews)).encode())
    _write(root / "events.csv", b"user,item,time\nu,0,1\nu,1,2\n")
    spec = {
        "name": "bad-media",
        "items": {"path": "items.jsonl", "id": "id", "image": "image", "video": "video"},
        "interactions": {
            "path": "events.csv", "user": "user", "item": "item", "timestamp": "time", "time": "unix_s",
        },
        "reviews": {"path": "reviews.jsonl", "user": "user", "item": "item", "audio": "audio"},
    }  # fmt: skip
    _write(root / "dataset.toml", tomli_w.dumps(spec).encode())
    return root


def write_video(
    path: Path,
    colours: Sequence[tuple[int, int, int]],
    *,
    seconds: float = 1.0,
    rate: int = 10,
    codec: str = "mpeg4",
    sound: np.ndarray | None = None,
    options: dict[str, str] | None = None,
    key_every: int = 12,
    size: tuple[int, int] = (32, 32),
) -> Path:
    """`colours` one after the other for equal times, and `sound` [samples] at 16 kHz, as AAC or PCM."""
    with av.open(str(path), "w", options=options or {}) as out:
        pictures = out.add_stream(codec, rate=rate)
        pictures.width, pictures.height = size
        pictures.pix_fmt = "rgb8" if codec == "gif" else "yuv420p"
        pictures.gop_size = key_every
        voice = None
        if sound is not None:
            voice = out.add_stream("aac" if path.suffix == ".mp4" else "pcm_s16le", rate=RATE, layout="mono")
        num_frames = round(seconds * rate)
        for at in range(num_frames):
            pixels = np.full((size[1], size[0], 3), colours[at * len(colours) // num_frames], np.uint8)
            out.mux(pictures.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        out.mux(pictures.encode(None))
        if voice is not None and sound is not None:
            for start in range(0, len(sound), 1024):
                wave_ = (sound[None, start : start + 1024] * 32767).astype(np.int16)
                frame = av.AudioFrame.from_ndarray(wave_, format="s16", layout="mono")
                frame.sample_rate, frame.pts = RATE, start
                out.mux(voice.encode(frame))
            out.mux(voice.encode(None))
    return path


def write_wav(path: Path, samples: np.ndarray, rate: int) -> Path:
    """`samples` [n, channels] in [-1, 1] as 16-bit PCM."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return path


def write_huge_png(path: Path, side: int = 30_000) -> None:
    """A complete black PNG with one bit for each pixel: half a megabyte, 2.7 GB as RGB."""
    packer = zlib.compressobj(1)
    row = bytes(1 + (side + 7) // 8)
    data = b"".join(packer.compress(row * 100) for _ in range(side // 100)) + packer.flush()
    header = side.to_bytes(4) * 2 + bytes([1, 0, 0, 0, 0])
    chunks = ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    _write(
        path,
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            len(body).to_bytes(4) + name + body + zlib.crc32(name + body).to_bytes(4) for name, body in chunks
        ),
    )


def write_ten_hours(path: Path) -> None:
    """Ten hours of zeros at 1 kHz, as a sparse file."""
    num_bytes = 10 * 3600 * 1000 * 2
    head = io.BytesIO()
    with wave.open(head, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(1000)
        file.writeframes(b"")
    content = bytearray(head.getvalue())
    content[4:8] = (num_bytes + 36).to_bytes(4, "little")
    content[40:44] = num_bytes.to_bytes(4, "little")
    _write(path, bytes(content))
    os.truncate(path, len(content) + num_bytes)


def write_gif(path: Path) -> None:
    """Red for 0.3 seconds, then blue for 0.1."""
    red, blue = (Image.new("RGB", (8, 8), colour) for colour in (RED, BLUE))
    red.save(path, save_all=True, append_images=[blue], duration=[300, 100])


def noise() -> Image.Image:
    """64 x 64 pixels of seeded noise."""
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))


def heic(brands: bytes = b"heic\0\0\0\0mif1heic") -> bytes:
    """The head of a HEIF file of these brands, and zeros: enough to know its format, not to decode it."""
    return (8 + len(brands)).to_bytes(4) + b"ftyp" + brands + b"\0\0\1\0meta" + bytes(300)


def write_thumbnail_tiff(path: Path) -> None:
    """A TIFF whose first picture is marked as a reduced copy, as in DNG, NEF and ARW files."""
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[254] = 1
    noise().save(path, "TIFF", tiffinfo=tags)


def write_odd_tiff(path: Path) -> None:
    """A TIFF with a colour model that Pillow does not know: an array of colour filters."""
    noise().convert("L").save(path, "TIFF")
    content = path.read_bytes()
    found = struct.pack("<HHIHH", 262, 3, 1, 1, 0)  # tag PhotometricInterpretation, one SHORT: 1, black is 0
    assert content.count(found) == 1
    _write(path, content.replace(found, struct.pack("<HHIHH", 262, 3, 1, 32803, 0)))


def _write_unknown_codec(path: Path) -> None:
    write_video(path, [RED, BLUE])
    _write(path, path.read_bytes().replace(b"V_MPEG4", b"V_OTHER"))


def _write_huge_gif(path: Path) -> None:
    write_gif(path)
    content = bytearray(path.read_bytes())
    content[6:10] = (10_000).to_bytes(2, "little") * 2
    _write(path, bytes(content))


def _cmyk() -> Image.Image:
    return Image.new("CMYK", (16, 16), (0, 255, 255, 0))


def _palette() -> Image.Image:
    image = Image.new("P", (8, 8))
    image.putpalette([0, 0, 0, 10, 20, 30])
    return image


def _cut(path: Path, image: Image.Image) -> None:
    image.save(path)
    os.truncate(path, path.stat().st_size // 2)


def _cut_wav(path: Path) -> None:
    write_wav(path, np.full((RATE, 1), 0.25), RATE)
    os.truncate(path, RATE)


def _cut_video(path: Path) -> None:
    write_video(path, [RED, BLUE])
    os.truncate(path, path.stat().st_size // 2)


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def read(root: Path, config: EncoderConfig, cache_dir: Path) -> tuple[Dataset, MediaVectors]:
    dataset = load_dataset(root)
    return dataset, extract(dataset, config, cache_dir=cache_dir)


def tables(dataset: Dataset, vectors: MediaVectors) -> str:
    """The cases with their reasons, as Markdown."""
    entries = [(entry.value, entry.reason) for entry in dataset.rejected]
    entries += [(entry.path, entry.reason) for entry in vectors.rejected]
    reasons = dict(entries)
    assert len(reasons) == len(entries), "a medium is rejected twice"
    lines: list[str] = []
    for title, chosen in TABLES.items():
        lines += [f"### {title}", "", "| input | what the user sees |", "|---|---|"]
        for case in chosen():
            reason = reasons.get(case.path)
            lines.append(f"| {case.words} | {f'rejected: `{reason}`' if reason else f'used: {case.used}'} |")
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = write_dataset(Path(folder) / "dataset")
        config = EncoderConfig(transcriber="none", video_frames=4)
        sys.stdout.write(tables(*read(root, config, Path(folder) / "cache")))


if __name__ == "__main__":
    main()
