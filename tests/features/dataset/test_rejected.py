from pathlib import Path

import polars as pl
import pytest
from dataset_parts import EVENTS, load, write
from prepared_parts import streamed

from features.dataset.load import load_dataset
from features.dataset.rejected import count_reasons, summarise, write_rejected
from features.event_log.report import check_dataset
from recsys.errors import DataError


def test_what_was_rejected_is_written_and_counted(tmp_path: Path) -> None:
    dataset = load(tmp_path, {"events.csv": EVENTS + "a,8,1\na,9,1\n,1,1\n"})
    for name in ("out.csv", "out.parquet"):
        assert write_rejected(dataset.rejected, tmp_path / name) == 3
    assert pl.read_parquet(tmp_path / "out.parquet")["value"].sort().to_list() == ["", "8", "9"]
    assert "an item that the items table does not have" in (tmp_path / "out.csv").read_text()
    first, second = count_reasons(dataset.rejected)
    assert (first["column"], first["count"], first["example"]["value"]) == ("item", 2, "8")
    assert second["count"] == 1
    with pytest.raises(DataError, match=r"neither \.csv nor \.parquet"):
        write_rejected(dataset.rejected, tmp_path / "out.txt")


def test_summary(tmp_path: Path) -> None:
    items = "id,title\n1,One\n2,\n3,Three\n4,Four\n"
    events = "user,item,time,stars\na,1,10,5\na,2,10,1\nb,1,30,5\nb,3,40,1\n"
    dataset = load(
        tmp_path, {"items.csv": items, "events.csv": events}, interactions={"positive": "stars > 2"}
    )
    summary = summarise(dataset)
    assert summary["counts"]["items"] == 4
    assert summary["counts"]["items with interactions"] == 3
    assert summary["positive_share"] == 0.5
    assert summary["coverage"]["title"] == {"items": 0.75, "interactions": 0.75}
    assert summary["coverage"]["image"] == {"items": 0.0, "interactions": 0.0}
    assert summary["time"]["tied_share"] == 0.5
    assert summary["time"]["first"].startswith("1970-01-01")
    assert summary["rejected"] == []


@pytest.mark.parametrize("unit", ["unix_s", "order"])
def test_the_report_is_in_words_with_units(tmp_path: Path, unit: str) -> None:
    root = write(
        tmp_path, {"events.csv": "user,item,time\na,1,10\na,2,10\nb,3,30\n"}, interactions={"time": unit}
    )
    for dataset in (load_dataset(root), streamed(root)):
        words = check_dataset(dataset).summary
        assert words["rows"]["interactions"] == 3
        assert words["share of the interactions"] == {
            "positive": "100.0%", "at the same time as another of the user": "66.7%",
        }  # fmt: skip
        assert words["times"] == (
            {
                "are": "dates",
                "first (UTC)": "1970-01-01 00:00:10.000000",
                "last (UTC)": "1970-01-01 00:00:30.000000",
            }
            if unit == "unix_s"
            else {
                "are": "an order without dates",
                "first (position in the order of the events)": "10",
                "last (position in the order of the events)": "30",
            }
        )
        assert words["present in"]["title"] == "100.0% of the items, 100.0% of the interactions"
