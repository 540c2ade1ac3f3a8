"""The record of a fit, and the fields that a second record of the same fit keeps."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
from fit_parts import fit_split
from fitting_parts import config, log, media

from features.leakage.audit import Audit
from features.splits.make import make_split
from training.fitting.fit import Fitted
from training.fitting.record import machine, read_audits, read_fit_records, record_audit, record_fit, versions


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    data, settings = log(), config(model={"ranker": {"enabled": False}})
    return fit_split(data, media(data), make_split(data, settings.split), settings)


def test_a_fit_is_written_down(tmp_path: Path, fitted: Fitted) -> None:
    record_fit(tmp_path / "fit_records.json", "main", fitted)
    main = read_fit_records(tmp_path / "fit_records.json")["main"]
    assert list(main.curve) == fitted.retriever.curve
    assert (main.best_epoch, main.best_score) == (fitted.retriever.best_epoch, fitted.retriever.best_score)
    assert main.ranker is None
    assert main.cold_items == fitted.cold_items
    reviewed = make_split(log(), config().split).reviews["item_id"].n_unique()
    assert main.coverage == {"title": 25, "review_text": reviewed, "colour": 25}
    assert main.num_items == 25
    assert main.versions["python"]
    assert main.machine["cores"] >= 1


def test_stages_stand_beside_each_other_and_keep_their_time(tmp_path: Path, fitted: Fitted) -> None:
    record_fit(tmp_path / "fit_records.json", "main", fitted)
    text = (tmp_path / "fit_records.json").read_text().replace("+00:00", "-long-ago")
    (tmp_path / "fit_records.json").write_text(text)
    record_fit(tmp_path / "fit_records.json", "refit", fitted)
    record_fit(tmp_path / "fit_records.json", "main", fitted)
    fits = read_fit_records(tmp_path / "fit_records.json")
    assert list(fits) == ["main", "refit"]
    assert fits["main"].at.endswith("-long-ago"), "reading a checkpoint again is no training"
    other = replace(fitted, retriever=replace(fitted.retriever, curve=[{"loss": 1.0}]))
    record_fit(tmp_path / "fit_records.json", "main", other)
    assert read_fit_records(tmp_path / "fit_records.json")["main"].at.endswith("+00:00")


def test_without_validation_there_is_no_score(tmp_path: Path, fitted: Fitted) -> None:
    record_fit(
        tmp_path / "fit_records.json",
        "main",
        replace(fitted, retriever=replace(fitted.retriever, best_score=math.nan)),
    )
    assert read_fit_records(tmp_path / "fit_records.json")["main"].best_score is None
    assert "NaN" not in (tmp_path / "fit_records.json").read_text(), "NaN is not JSON"


def test_nothing_written_yet(tmp_path: Path) -> None:
    assert read_fit_records(tmp_path / "fit_records.json") == {}


def test_the_machine_has_no_name() -> None:
    import platform

    assert platform.node() not in machine().values()
    assert set(machine()) == {"processor", "cores", "system"}
    assert versions()["polars"]


class TestAudits:
    def test_stages_stand_beside_each_other(self, tmp_path: Path) -> None:
        assert read_audits(tmp_path / "audit.json") == {}
        first = Audit(checked=("a", "b"), not_checked=("c",), seconds=0.5)
        record_audit(tmp_path / "audit.json", "main", Audit(checked=()))
        record_audit(tmp_path / "audit.json", "main", first)
        record_audit(tmp_path / "audit.json", "test", Audit(checked=("d",)))
        assert read_audits(tmp_path / "audit.json") == {"main": first, "test": Audit(checked=("d",))}
        assert [path.name for path in tmp_path.iterdir()] == ["audit.json"]
