"""An ablation of a small log: results equal those of single fits, and no fit is repeated."""

from pathlib import Path
from typing import Any

import pytest
from ablation_parts import run_of_a_log
from evaluation_parts import evaluated
from fit_parts import fit_split

import training.experiments.ablation
from features.inputs.histories import SeenItems
from recsys.config import changed
from recsys.errors import ConfigError
from training.evaluation.system import System
from training.experiments.ablation import ablate
from training.experiments.options import BASE
from training.experiments.results import Ablation
from training.fitting.fit import fit
from training.fitting.inputs import AuditedInputs
from training.pipeline import Run
from training.run_directory import RunDirectory


def test_figures_are_those_of_the_project_s_evaluation(tmp_path: Path) -> None:
    run = run_of_a_log(tmp_path)
    found = ablate(run, ["mean-fusion"], num_seeds=1)
    assert found == Ablation.load(tmp_path / "ablation.json")
    systems, config = [], changed(run.config, {"model.item.fusion": "mean"})
    for name, settings in {BASE: run.config, "mean-fusion": config}.items():
        fitted = fit_split(run.dataset, run.vectors, run.split, settings)
        histories = run.split.before_test(fitted.builder)
        systems.append(System(name, fitted.recommender, histories))
    expected = evaluated(
        systems,
        split=run.split,
        items=fitted.features,
        seen=SeenItems(histories),
        ks=(2, 4),
        main_model="mean-fusion",
    )
    assert set(found.views) == set(expected.views)
    for name, view in expected.views.items():
        assert (found.views[name].num_users, found.views[name].num_pairs) == (view.num_users, view.num_pairs)
        for metric, change in view.differences.get(BASE, {}).items():
            mine = found.rows[1].views[name][metric]
            assert mine.value == view.models["mean-fusion"][metric]
            assert mine.change == change
    assert found.rows[1].validation_ndcg == fitted.retriever.best_score


def test_only_what_is_missing_is_fitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fits: list[tuple[str, int]] = []

    def counted(audited: AuditedInputs, **named: Any) -> Any:
        config = audited.inputs.config
        fits.append((config.model.item.fusion, config.train.seed))
        if stop_at == fits[-1]:
            raise KeyboardInterrupt
        return fit(audited, **named)

    monkeypatch.setattr(training.experiments.ablation, "fit", counted)
    changes = {"train": {"epochs": 1, "seed": 5}}
    stop_at: tuple[str, int] | None = ("mean", 5)
    with pytest.raises(KeyboardInterrupt):
        ablate(run_of_a_log(tmp_path, **changes), ["mean-fusion"], num_seeds=1)
    assert not (tmp_path / "ablation.json").exists()
    stop_at = None
    ablate(run_of_a_log(tmp_path, **changes), ["mean-fusion"], num_seeds=1)
    found = ablate(run_of_a_log(tmp_path, **changes), ["mean-fusion"], num_seeds=2)
    assert fits == [("attention", 5), ("mean", 5), ("mean", 5), ("attention", 6), ("mean", 6)]
    assert found.seeds == (5, 6)
    assert {path.suffix for path in (tmp_path / "ablation").iterdir()} == {".json", ".parquet"}


@pytest.mark.long
def test_options_beyond_the_towers_share_those_of_the_base(tmp_path: Path) -> None:
    run = run_of_a_log(tmp_path, model={"ranker": {"enabled": True}}, train={"epochs": 2})
    found = ablate(run, ["model.ranker.enabled=false", "mean-fusion"], num_seeds=2)
    base, without_ranker, other_towers = found.rows
    assert without_ranker.validation == base.validation != other_towers.validation
    assert without_ranker.cpu_seconds is None  # nothing was trained: the towers were there
    assert base.cpu_seconds is not None
    assert other_towers.cpu_seconds is not None
    assert without_ranker.by_seed["warm"] != base.by_seed["warm"]
    assert {path.suffix for path in (tmp_path / "ablation").iterdir()} == {".json", ".parquet"}


def test_a_misspelt_option_is_an_error_before_the_data_are_read(tmp_path: Path) -> None:
    run = Run(
        RunDirectory(tmp_path), tmp_path / "no dataset", run_of_a_log(tmp_path).config, cache_dir=tmp_path
    )
    with pytest.raises(ConfigError, match="did you mean 'mean-fusion'"):
        ablate(run, ["mean-fusin"])
