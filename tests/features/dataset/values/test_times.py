"""Times: forms and units that are read, and the hints where they are not."""

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from dataset_parts import load, problems, reasons, write
from prepared_parts import streamed

from features.dataset.load import load_dataset
from features.dataset.values.times import as_time, unit_hint
from features.event_log.report import all_reasons
from recsys.errors import DataError

SECOND = 1_000_000
NOON = datetime(2020, 9, 23, 12, 0, tzinfo=UTC)


def micros(time: datetime) -> int:
    return int(time.timestamp() * SECOND)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2019-10-01 00:00:00 UTC", datetime(2019, 10, 1, tzinfo=UTC)),
        ("2020-09-23T12:00Z", NOON),
        ("2020-09-23 12:00 GMT", NOON),
        ("2020-09-23T12:00:00z", NOON),
        ("2020-09-23T14:00:00+0200", NOON),
        ("2020-09-23 05:00:00 -07", NOON),
        ("20200923T120000Z", NOON),
        ("20200923120000", NOON),
        ("2020/09/23", datetime(2020, 9, 23, tzinfo=UTC)),
        ("20200923", datetime(2020, 9, 23, tzinfo=UTC)),
        ("2020-9-3", datetime(2020, 9, 3, tzinfo=UTC)),
        ("2020/9/3 7:05", datetime(2020, 9, 3, 7, 5, tzinfo=UTC)),
        ("2020-09-23 12:00:00,25", NOON.replace(microsecond=250_000)),
        ("2020-09-23T12:00:00.123456789Z", NOON.replace(microsecond=123_456)),
    ],
)
def test_forms_that_put_the_year_first(text: str, expected: datetime) -> None:
    assert as_time(pl.Series([text]), "iso").to_list() == [micros(expected)]


@pytest.mark.parametrize(
    "text",
    ["23/09/2020", "09-23-2020", "2020-02-30", "2020-13-01", "2020-09", "2020", "2020-09-23 25:00", "x"],
)
def test_what_is_no_time_is_never_guessed(text: str) -> None:
    assert as_time(pl.Series([text]), "iso").to_list() == [None]


def test_dates_as_whole_numbers() -> None:
    day = micros(datetime(2020, 9, 23, tzinfo=UTC))
    assert as_time(pl.Series([20200923, None, 1]), "iso").to_list() == [day, None, None]
    assert as_time(pl.Series([20200923.0, float("nan")]), "iso").to_list() == [day, None]


@pytest.mark.parametrize("dtype", [pl.Int64, pl.String, pl.UInt64, pl.Float64])
@pytest.mark.parametrize(
    ("unit", "value", "expected"),
    [
        ("unix_s", 1_600_000_000, 1_600_000_000 * SECOND),
        ("unix_ms", 1_600_000_000_123, 1_600_000_000_123_000),
        ("unix_us", 1_600_000_000_123_456, 1_600_000_000_123_456),
        ("unix_ns", 1_600_000_000_123_456_789, 1_600_000_000_123_456),
        ("order", 7, 7),
    ],
)
def test_units(unit: str, value: int, expected: int, dtype: pl.DataType) -> None:
    assert as_time(pl.Series([value, None]).cast(dtype), unit).to_list() == [expected, None]  # type: ignore[arg-type]


def test_a_column_in_another_unit_gets_a_hint_with_the_unit() -> None:
    per_second = {"unix_s": 1, "unix_ms": 10**3, "unix_us": 10**6, "unix_ns": 10**9}
    for meant, scale in per_second.items():
        values = pl.Series([1_600_000_000 * scale] * 3)
        for declared in (*per_second, "iso"):
            hint = unit_hint(values, declared)  # type: ignore[arg-type]
            assert hint is None if declared == meant else hint is not None and f"time = {meant!r}" in hint


def test_nanoseconds_are_asked_for_by_their_name_and_then_read(tmp_path: Path) -> None:
    log = "user,item,time\na,1,1600000000000000000\nb,2,1600000000000001000\n"
    (found,) = problems(tmp_path, {"events.csv": log}, interactions={"time": "unix_s"})
    assert "did you mean time = 'unix_ns'?" in found
    dataset = load(tmp_path, {"events.csv": log}, interactions={"time": "unix_ns"})
    assert dataset.interactions["timestamp"].to_list() == [1_600_000_000_000_000, 1_600_000_000_000_001]


def test_a_row_in_another_unit_is_rejected_with_the_factor(tmp_path: Path) -> None:
    log = "user,item,time\na,1,1600000000000000\na,2,1600000000\na,3,1600000000000000000\n"
    dataset = load(tmp_path, {"events.csv": log}, interactions={"time": "unix_us"})
    assert dataset.interactions.height == 1
    assert [reason.partition("; ")[2] for *_, reason in reasons(dataset)] == [
        "multiply it by 1000000",
        "divide it by 1000",
    ]


@pytest.mark.parametrize(
    ("text", "unit", "expected"),
    [
        ("yesterday", "iso", "known forms: 2020-09-23, 2020/09/23, 20200923,"),
        ("03/04/2020", "iso", "day and month could be read in either order; write the year first"),
        ("2020-09-23", "unix_s", "did you mean time = 'iso'?"),
        ("1600000000", "iso", "did you mean time = 'unix_s'?"),
    ],
)
def test_a_column_without_times_names_the_forms(tmp_path: Path, text: str, unit: str, expected: str) -> None:
    (found,) = problems(
        tmp_path, {"events.csv": f"user,item,time\na,1,{text}\n"}, interactions={"time": unit}
    )
    assert expected in found


def test_a_single_bad_time_names_value_row_and_forms(tmp_path: Path) -> None:
    log = "user,item,time\na,1,2020/09/23\na,2,23.9.2020\n"
    dataset = load(tmp_path, {"events.csv": log}, interactions={"time": "iso"})
    ((_, row, column, value, reason),) = reasons(dataset)
    assert (row, column, value) == (1, "time", "23.9.2020")
    assert "known forms: 2020-09-23" in reason


def test_zoned_and_dated_columns_of_parquet() -> None:
    zoned = pl.Series([NOON]).dt.convert_time_zone("Europe/Berlin")
    assert as_time(zoned, "iso").to_list() == [micros(NOON)]
    nanoseconds = pl.Series([NOON]).cast(pl.Datetime("ns", "UTC"))
    assert as_time(nanoseconds, "unix_s").to_list() == [micros(NOON)]


DATES = [f"2020-09-{day:02}" for day in range(1, 10)]


@pytest.mark.parametrize(
    ("number", "unit"),
    [("1577836800", "seconds"), ("1577836800000", "milliseconds"), ("1609123123456", "milliseconds")],
)
def test_a_few_numbers_among_dates_are_rejected_rows(tmp_path: Path, number: str, unit: str) -> None:
    """The last of them has the digits of a date in the year 1609."""
    rows = "".join(f"a,1,{time}\n" for time in [*DATES, number])
    root = write(tmp_path, {"events.csv": f"user,item,time\n{rows}"}, interactions={"time": "iso"})
    expected = (
        9,
        number,
        f"a number, not a date; in {unit} since 1970 it would be a date: write it as a date",
    )
    for dataset in (load_dataset(root), streamed(root, part_rows=3)):
        assert dataset.interactions.height == 9
        (reason,) = all_reasons(dataset)
        assert (reason["example"]["row"], reason["example"]["value"], reason["reason"]) == expected


def test_a_column_that_is_mostly_numbers_is_refused_with_the_unit(tmp_path: Path) -> None:
    """Whichever part of the log the dates are in; half of the values is not most of them."""
    numbers = ["1577836800"] * 10
    for times in (DATES + numbers, numbers + DATES):
        rows = "".join(f"a,1,{time}\n" for time in times)
        root = write(tmp_path, {"events.csv": f"user,item,time\n{rows}"}, interactions={"time": "iso"})
        for read in (load_dataset, lambda root: streamed(root, part_rows=3)):
            with pytest.raises(DataError, match="holds numbers, not dates; did you mean time = 'unix_s'"):
                read(root)
    assert unit_hint(pl.Series([*DATES, *numbers[:9]]), "iso") is None
