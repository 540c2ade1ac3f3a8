"""Reading CTranslate2's `model.bin`, format version 6, into numpy arrays.

Layout, little endian (OpenNMT/CTranslate2, python/ctranslate2/specs/model_spec.py): version u32, name
of the specification, its revision u32, number of variables u32; for each its name, rank u8, dimensions
u32 each, type u8, number of bytes u32, the bytes. A name is its length u16 and as many bytes, the
last of which is zero. Aliases follow; they repeat variables under other names and are left out.
"""

import struct
from pathlib import Path

import numpy as np

from recsys.errors import EncoderError

VERSION = 6
_TYPES = (np.float32, np.int8, np.int16, np.int32, np.float16)


class _Reader:
    def __init__(self, content: bytes) -> None:
        self.content = content
        self.at = 0

    def number(self, kind: str) -> int:
        (value,) = struct.unpack_from("<" + kind, self.content, self.at)
        self.at += struct.calcsize("<" + kind)
        return int(value)

    def text(self) -> str:
        return self.take(self.number("H"))[:-1].decode("utf-8")

    def take(self, size: int) -> bytes:
        self.at += size
        return self.content[self.at - size : self.at]


def read_model(path: Path) -> dict[str, np.ndarray]:
    """Variables by name, in the types that they are stored in.

    Raises `EncoderError` for another version, an unknown type, or a file that ends too early.
    """
    reader = _Reader(path.read_bytes())
    try:
        if (version := reader.number("I")) != VERSION:
            raise EncoderError(f"{path}: CTranslate2 format version {version}; {VERSION} is read")
        reader.text(), reader.number("I")
        return dict(_read_variable(reader) for _ in range(reader.number("I")))
    except (struct.error, ValueError, IndexError) as error:
        raise EncoderError(f"{path}: not a CTranslate2 model: {error}") from error


def _read_variable(reader: _Reader) -> tuple[str, np.ndarray]:
    name = reader.text()
    shape = [reader.number("I") for _ in range(reader.number("B"))]
    dtype = _TYPES[reader.number("B")]
    content = reader.take(reader.number("I"))
    return name, np.frombuffer(content, dtype).reshape(shape)
