"""Why a text file cannot be read: the first faulty line or row, and the remedy.

These functions run only after polars has failed to read a file. They read the file in Python, which is slow.
Each `*_problem` returns a description of the fault, or None where it finds none.
"""

import csv
import gzip
import io
import json
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, cast

from recsys.errors import clipped

_GZIP = b"\x1f\x8b"
_FORMATS = {
    b"PK\x03\x04": "a zip archive or an Excel workbook; unpack it, or save its table as CSV",
    b"\xd0\xcf\x11\xe0": "an Excel workbook; save its table as CSV",
    b"PAR1": "a Parquet file; change the file extension to .parquet",
    b"%PDF": "a PDF; a table is needed",
    b"\xff\xfe": "UTF-16; save it as UTF-8, for instance: iconv -f utf-16 -t utf-8",
    b"\xfe\xff": "UTF-16; save it as UTF-8, for instance: iconv -f utf-16 -t utf-8",
    b"\x28\xb5\x2f\xfd": "compressed with zstd; unpack it, or use gzip",
    b"BZh": "compressed with bzip2; unpack it, or use gzip",
    b"\xfd7zXZ": "compressed with xz; unpack it, or use gzip",
    b"SQLite format 3": "an SQLite database; export the table as CSV",
}


@contextmanager
def open_bytes(path: Path) -> Iterator[BinaryIO]:
    """The bytes of the file, decompressed if the content is gzip; the file name does not matter."""
    with path.open("rb") as file:
        packed = file.read(2) == _GZIP
        file.seek(0)
        if packed:
            with gzip.open(file) as unpacked:
                yield cast(BinaryIO, unpacked)
        else:
            yield file


def diagnose(path: Path, *, separator: str | None) -> str | None:
    """The fault of a CSV file, or of a JSON file where `separator` is None; None where none is found."""
    try:
        found = binary_problem(path) or encoding_problem(path)
        if found:
            return found
        return json_problem(path) if separator is None else row_problem(path, separator)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        return "its gzip compression is damaged or incomplete; copy or write the file again"
    except OSError as error:
        return f"cannot be opened: {error.strerror or error}"


def binary_problem(path: Path) -> str | None:
    """The format of a file that is not text."""
    with open_bytes(path) as file:
        start = file.read(4096)
    for mark, words in _FORMATS.items():
        if start.startswith(mark):
            return f"is {words}"
    if b"\0" in start:
        return "is not text: it has NUL bytes; save it as UTF-8 text"
    return None


def encoding_problem(path: Path) -> str | None:
    """The first line that is not UTF-8."""
    with open_bytes(path) as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                around = line[max(error.start - 20, 0) : error.end + 10].decode("latin-1").strip()
                return (
                    f"line {number} is not UTF-8 (byte {line[error.start]:#04x}, as latin-1: {around!r}); "
                    f"save the file as UTF-8, for instance: iconv -f latin1 -t utf-8 {path.name}"
                )
    return None


def header_problem(path: Path, columns: list[str]) -> str | None:
    """Why the header of a CSV file has no valid column names."""
    text = "".join(columns)
    if columns and not text.strip():
        return "its first line, the header, is blank"
    if "\r" in text:
        return "its lines end with a carriage return only; save it with line feeds (LF or CRLF)"
    if any(sign in text for sign in "\ufffd\0"):
        return binary_problem(path) or encoding_problem(path)
    return binary_problem(path) if not text.isprintable() else None


def row_problem(path: Path, separator: str) -> str | None:
    """The first row of a CSV file that has more fields than the header, or an unclosed quote."""
    limit = csv.field_size_limit(sys.maxsize)
    try:
        with open_bytes(path) as file, io.TextIOWrapper(
            file, "utf-8-sig", errors="replace", newline=""
        ) as text:  # fmt: skip
            return _first_row_problem(csv.reader(text, delimiter=separator, strict=True), separator)
    finally:
        csv.field_size_limit(limit)


def _first_row_problem(rows: Any, separator: str) -> str | None:
    number, line, width = -1, 1, 0
    try:
        for row in rows:
            if number < 0:
                width = len(row)
            elif len(row) > width:
                return (
                    f"row {number} (line {rows.line_num}) has {len(row)} fields, the header {width}: "
                    f"{clipped(separator.join(row))!r}; put a text with {separator!r} in double quotes"
                )
            number, line = number + 1, rows.line_num + 1
    except csv.Error as error:
        where = "the header" if number < 0 else f"row {number}"
        return (
            f"the quotes of {where} (line {line}) are unbalanced: {error}; "
            'write a quote inside a quoted text twice: ""'
        )
    return None


def json_problem(path: Path) -> str | None:
    """The first line of a JSON Lines file that is not an object, or the fault of a JSON array."""
    with open_bytes(path) as file:
        start = file.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()
        file.seek(0)
        if start[:1] == b"[":
            return _array_problem(file.read())
        seen: dict[str, tuple[str, str]] = {}
        for number, line in enumerate(file, 1):
            line = line.removeprefix(b"\xef\xbb\xbf").strip()
            if line and (wrong := _object_problem(line)):
                shown = clipped(line.decode("utf-8", "replace"))
                return (
                    f"line {number} {wrong}: {shown!r}; JSON Lines have one object per line, "
                    'such as {"id": 1}'
                )  # fmt: skip
            if line and (mixed := _mixed_field_problem(json.loads(line), f"line {number}", seen)):
                return mixed
    return None


def _mixed_field_problem(row: dict[str, Any], place: str, seen: dict[str, tuple[str, str]]) -> str | None:
    """The first field of `row` whose kind (list, object or value) differs from earlier rows.

    `seen` has the kind of each field and the first row with it; new fields are added.
    """
    for name, value in row.items():
        if value is None:
            continue
        kind = "a list" if isinstance(value, list) else "an object" if isinstance(value, dict) else "a value"
        before, where = seen.setdefault(name, (kind, place))
        if kind != before:
            shown = clipped(json.dumps(value, ensure_ascii=False))
            return (
                f"{place}: field {name!r} is {kind} ({shown}), but {before} in {where}; write the "
                "same kind in every row"
            )
    return None


def _object_problem(line: bytes) -> str | None:
    try:
        value = json.loads(line, parse_constant=refuse_constant)
    except RecursionError:
        return "is nested too deeply"
    except json.JSONDecodeError as error:
        return f"is not JSON ({error.msg} at character {error.pos})"
    except ValueError as error:
        return f"is not JSON ({error})"
    return None if isinstance(value, dict) else "is not an object"


def _array_problem(content: bytes) -> str | None:
    try:
        values = json.loads(content.decode("utf-8-sig"), parse_constant=refuse_constant)
    except RecursionError:
        return "is nested too deeply"
    except ValueError as error:
        return f"is not JSON: {error}"
    seen: dict[str, tuple[str, str]] = {}
    for number, value in enumerate(values):
        if isinstance(value, dict):
            if mixed := _mixed_field_problem(value, f"entry {number}", seen):
                return mixed
        else:
            shown = clipped(json.dumps(value))
            return f'entry {number} of the array is {shown}, not an object such as {{"id": 1}}'
    return None


def refuse_constant(name: str) -> NoReturn:
    """`parse_constant` of `json.loads`: NaN and infinities raise `ValueError`."""
    raise ValueError(f"{name} is not a JSON number; write null where a number is missing")
