"""Text files larger than memory: a file to blocks of whole lines, and a block to a table of strings.

A file, plain or gzip, is opened once and read forward, `block_bytes` at a time. Memory therefore depends on
the size of a block and not on the size of the file.
"""

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import polars as pl

from features.dataset import SCHEMA
from recsys.errors import DataError, did_you_mean
from recsys.progress import Progress, silent

BLOCK_BYTES = 16 * 2**20
LINE = "line"  # a column of every table of this module: the line in the file, counted from 0
BOM = b"\xef\xbb\xbf"
MAX_SHOWN = 200  # characters of an unreadable line that are recorded
Schema = Mapping[str, pl.DataType | type[pl.DataType]]


@dataclass(frozen=True, kw_only=True)
class Block:
    path: Path
    first_line: int  # counted from 0
    content: bytes  # whole lines; the last line of a file may have no line feed

    def num_lines(self) -> int:
        return self.content.count(b"\n") + (not self.content.endswith(b"\n"))


def read_blocks(
    path: Path, *, step: str = "", progress: Progress = silent, block_bytes: int = BLOCK_BYTES
) -> Iterator[Block]:
    """The file in blocks of whole lines. A block has about `block_bytes` and at least one line.

    A `.gz` file is decompressed. `progress` gets the megabytes read so far and the size of the file on disk.
    Raises `DataError` where a gzip file is damaged or incomplete.
    """
    total = path.stat().st_size
    with path.open("rb") as raw:
        file: IO[bytes] = gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw  # type: ignore[assignment]
        line, rest = 0, b""
        while chunk := _read(file, block_bytes, path):
            rest = (rest + chunk).removeprefix(BOM) if line == 0 else rest + chunk
            end = rest.rfind(b"\n") + 1
            if end:
                block = Block(path=path, first_line=line, content=rest[:end])
                rest = rest[end:]
                line += block.num_lines()
                yield block
            progress(step, raw.tell() // 2**20, max(total // 2**20, 1), f"{line:,} lines")
        if rest:
            yield Block(path=path, first_line=line, content=rest)
            line += 1
        progress(step, max(total // 2**20, 1), max(total // 2**20, 1), f"{line:,} lines")


def _read(file: IO[bytes], size: int, path: Path) -> bytes:
    try:
        return file.read(size)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path} is damaged or incomplete ({error}); download it again") from None


def json_lines(block: Block, schema: Schema) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Two frames: the rows, with the columns of `schema` and `LINE`, and the lines that are no JSON object.

    A number or boolean in a String column becomes its text. A missing field becomes null. A string in a List
    column becomes a list with one element.
    """
    try:
        frame = pl.read_ndjson(block.content, schema=schema)
        if (
            frame.height == block.num_lines()
        ):  # else there are empty lines, which only the slow path can count
            lines = pl.int_range(block.first_line, block.first_line + frame.height, dtype=pl.Int64)
            return frame.with_columns(lines.alias(LINE)), pl.DataFrame(schema=SCHEMA)
    except pl.exceptions.PolarsError:
        pass
    return _json_line_by_line(block, schema)


def _json_line_by_line(block: Block, schema: Schema) -> tuple[pl.DataFrame, pl.DataFrame]:
    kept: list[bytes] = []
    lines: list[int] = []
    rejected: list[dict[str, Any]] = []
    for number, line in enumerate(block.content.split(b"\n"), block.first_line):
        if not line.strip():
            continue
        try:
            value = json.loads(line, parse_constant=lambda _: None)
            reason = None if isinstance(value, dict) else "not a JSON object"
        except (ValueError, RecursionError):
            reason = "not JSON; the line may be incomplete"
        if reason is None:
            fields = {name: _wrapped_string(value.get(name), dtype) for name, dtype in schema.items()}
            kept.append(json.dumps(fields).encode())
            lines.append(number)
        else:
            shown = line[:MAX_SHOWN].decode("utf-8", "replace").strip()
            rejected.append({"path": block.path.name, "row": number, "value": shown, "reason": reason})
    frame = (
        pl.read_ndjson(b"\n".join(kept), schema=schema, ignore_errors=True)
        if kept
        else pl.DataFrame(schema=schema)
    )
    return frame.with_columns(pl.Series(LINE, lines, dtype=pl.Int64)), pl.DataFrame(rejected, schema=SCHEMA)


def _wrapped_string(value: Any, dtype: Any) -> Any:
    """A string for a List column as a list with one element; any other value as it is."""
    return [value] if isinstance(value, str) and isinstance(dtype, pl.List) else value


def csv_blocks(
    path: Path,
    columns: Sequence[str],
    *,
    step: str = "",
    progress: Progress = silent,
    block_bytes: int = BLOCK_BYTES,
) -> Iterator[pl.DataFrame]:
    """The named columns as strings, and `LINE`, which counts the rows below the header from 0.

    Fields must not contain line breaks. Raises `DataError` where a column is missing or a row has more
    fields than the header.
    """
    header = b""
    for block in read_blocks(path, step=step, progress=progress, block_bytes=block_bytes):
        content, first_row = block.content, block.first_line - 1
        if not header:
            header, _, content = content.partition(b"\n")
            check_columns(path, pl.read_csv(header, infer_schema=False, glob=False).columns, columns)
            first_row = 0
        try:
            frame = pl.read_csv(
                header + b"\n" + content, columns=list(columns), infer_schema=False, glob=False
            )
        except pl.exceptions.PolarsError as error:
            last_row = block.first_line + block.num_lines() - 2
            first = str(error).partition("\n")[0]
            raise DataError(f"{path}, rows {first_row} to {last_row} cannot be read: {first}") from None
        rows = pl.int_range(first_row, first_row + frame.height, dtype=pl.Int64)
        yield frame.select(*columns, rows.alias(LINE))


def check_columns(path: Path, found: Sequence[str], wanted: Sequence[str]) -> None:
    """Raises `DataError` that names every column of `wanted` that is missing in `found`."""
    missing = [name for name in wanted if name not in found]
    if missing:
        problems = [f"no column {name!r}; {did_you_mean(name, found)}" for name in missing]
        raise DataError(f"{path} does not have the published layout:", problems)
