"""A backtest through the command line: the same results as runs by hand; an interrupted one goes on."""

from pathlib import Path

import polars as pl
import pytest
from walk_parts import Walk, recsys, refused

from training.backtest.measure import _refit
from training.backtest.results import Backtest
from training.fitting import FitChoices, newest_events_split
from training.pipeline import Run

ASKED = (
    "--windows", 2, "--set", "train.epochs=1", "--set", "model.ranker.num_epochs=1",
    "--set", "evaluate.k=[5]", "--set", "train.num_threads=1",
)  # fmt: skip


@pytest.fixture(scope="module")
def out(walk: Walk, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("backtest") / "out"
    answer = recsys("backtest", walk.shop, "--out", out, *walk.options, *ASKED)
    assert answer.code == 0, answer.err
    assert f"Tables: {out / 'backtest.md'}" in answer.out
    return out


@pytest.mark.long
def test_windows_follow_each_other_and_every_model_is_in_them(out: Path) -> None:
    found = Backtest.load(out / "backtest.json")
    one, two = found.windows
    assert one.end == two.start
    models = {"recsys", "recsys, towers alone", "popularity", "random", "recsys, refit"}
    assert set(found.views["all"].models) >= models
    assert all(num > 0 for num in found.views["all"].num_users)
    assert {"backtest.md", "backtest.svg"} < {path.name for path in out.iterdir()}


@pytest.mark.long
def test_no_event_of_a_window_or_after_it_is_read(out: Path) -> None:
    found = Backtest.load(out / "backtest.json")
    for window in found.windows:
        run = Run.open(out / window.name.replace(":", "-"))
        parts = ("train", "validation", "test")
        times = {part: getattr(run.split, part)["timestamp"].to_numpy() for part in parts}
        assert times["train"].max() < window.validation_start <= times["validation"].min()
        assert times["validation"].max() < window.start <= times["test"].min()
        assert times["test"].max() < window.end
        dated = run.dataset.reviews["timestamp"]
        assert dated.null_count() == 0
        assert dated.to_numpy().max() < window.end
        refitted = _refit(run, window)
        assert refitted.features.popularity.sum() == (
            run.dataset.before(window.start).interactions["positive"].sum()
            - refitted_targets(run, window.start)
        )


def refitted_targets(run: Run, start: int) -> int:
    """The number of the ranker's targets, which the refit does not train on; 0 without a ranker."""
    if not FitChoices.of(run.fitted).blend_weight:
        return 0
    split = newest_events_split(run.dataset.before(start), run.config, needs_targets=True)
    return int(split.validation.height)


@pytest.mark.long
def test_an_interrupted_backtest_goes_on(out: Path, walk: Walk, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (out / "backtest.json").read_text()
    monkeypatch.setattr(Run, "evaluate", lambda self: pytest.fail("evaluated a second time"))
    monkeypatch.setattr(Run, "fitted", property(lambda self: pytest.fail("fitted or loaded a second time")))
    answer = recsys("backtest", walk.shop, "--out", out, *walk.options, *ASKED)
    assert answer.code == 0, answer.err
    assert (out / "backtest.json").read_text() == before


def test_what_cannot_be_asked(walk: Walk, tmp_path: Path) -> None:
    out = tmp_path / "out"
    asked = ("backtest", walk.shop, "--out", out, *walk.options)
    error = refused(*asked, "--cutoffs", "2020-01-01")
    assert "need the length of a window: --days" in error
    error = refused(
        "backtest", walk.shop, "--out", out, *walk.options, "--cutoffs", "1999-01-01", "--days", 3
    )
    assert "no positive event for training" in error
    ordered = tmp_path / "ordered"
    ordered.mkdir()
    pl.DataFrame({"u": ["a", "a", "b"], "i": ["x", "y", "x"], "t": [0, 1, 2]}).write_csv(
        ordered / "events.csv"
    )
    (ordered / "dataset.toml").write_text(
        'name = "ordered"\n[interactions]\npath = "events.csv"\n'
        'user = "u"\nitem = "i"\ntimestamp = "t"\ntime = "order"\n'
    )
    assert "times" in refused("backtest", ordered, "--out", out, *walk.options)
    assert not out.exists()
