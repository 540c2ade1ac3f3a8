"""The journal: in order, whole lines only, also after a kill and with several threads."""

import math
import threading
from pathlib import Path

import pytest

from training.tracking.journal import PARENT, Entry, Journal


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "tracking" / "journal.jsonl")


def metrics(step: int, run: str = "train", **values: float) -> Entry:
    return Entry(run=run, kind="metrics", values={"step": step, "metrics": values})


def test_reads_back_what_was_written(journal: Journal) -> None:
    entries = [Entry(run=PARENT, kind="start", values={"name": "店/run"}), metrics(1, loss=2.5)]
    for entry in entries:
        journal.append(entry)
    assert [entry for entry, _ in journal.read()] == entries
    ends = [end for _, end in journal.read()]
    assert ends[-1] == journal.size()
    assert [entry for entry, _ in journal.read(ends[0])] == entries[1:]


def test_a_number_that_is_none_survives(journal: Journal) -> None:
    journal.append(metrics(1, loss=math.nan, gap=math.inf))
    ((entry, _),) = journal.read()
    assert math.isnan(entry.values["metrics"]["loss"])
    assert entry.values["metrics"]["gap"] == math.inf


def test_without_a_file_there_is_nothing(journal: Journal) -> None:
    assert list(journal.read()) == []
    assert journal.size() == 0


def test_a_line_that_a_kill_left_incomplete_is_removed(journal: Journal) -> None:
    journal.append(metrics(1, loss=1.0))
    whole = journal.path.read_bytes()
    journal.path.write_bytes(whole + b'{"run": "tra')
    assert len(list(journal.read())) == 1, "an incomplete line is not read"
    Journal(journal.path).append(metrics(2, loss=0.5))
    assert [entry.values["step"] for entry, _ in journal.read()] == [1, 2]


def test_threads_do_not_mix_their_lines(journal: Journal) -> None:
    def write(number: int) -> None:
        for step in range(50):
            journal.append(metrics(step, f"step {number}", loss=1.0))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    entries = [entry for entry, _ in journal.read()]
    assert len(entries) == 200
    for number in range(4):
        assert [each.values["step"] for each in entries if each.run == f"step {number}"] == list(range(50))
