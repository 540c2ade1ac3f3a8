"""The whole way with models that were really trained: promoted, refused, promoted, rolled back, served."""

from pathlib import Path

import polars as pl
import pytest
from walk_parts import recsys, refused, write_settings

from recsys.bundle import Bundle, Store

pytestmark = pytest.mark.long
QUICK = (
    "--set", "evaluate.knockouts=false", "--set", "train.refit=false", "--set", "model.dim=32",
    "--set", "model.ranker.enabled=false",
)  # fmt: skip
USUAL = ("--set", "train.epochs=8", "--set", "train.steps_per_epoch=20")
# Random vectors of items: no content, and a learning rate that moves nothing.
UNTRAINED = (
    "--set", "train.epochs=1", "--set", "train.learning_rate=1e-9",
    "--set", "model.item.use_content=false", "--set", "model.item.id_dropout=0",
)  # fmt: skip
GATE = ("--set", "publish.max_latency_ratio=10", "--registry", "none")


def test_a_worse_model_is_refused_and_a_better_one_promoted(tmp_path: Path) -> None:
    shop, settings, store = tmp_path / "shop", tmp_path / "settings.toml", tmp_path / "store"
    size = ("--items", 120, "--users", 400, "--set", "picture_size=32", "--set", "events_per_user=20")
    assert recsys("sample", shop, *size).code == 0
    write_settings(settings, tmp_path / "encoders", f"sqlite:///{tmp_path / 'mlflow.db'}")
    versions = {}
    for name, options in (("untrained", UNTRAINED), ("usual", USUAL), ("again", UNTRAINED)):
        run = tmp_path / name
        given = ("--config", settings, "--cache", tmp_path / "cache", *QUICK, *options)
        seed = ("--set", f"train.seed={len(versions)}")
        answer = recsys("run", shop, "--out", run, *given, *seed)
        assert answer.code == 0, answer.err
        versions[name] = Bundle.open(run / "bundle").version

    assert recsys("publish", tmp_path / "untrained", "--store", store, *GATE).code == 0
    better = recsys("publish", tmp_path / "usual", "--store", store, *GATE)
    assert better.code == 0, better.err
    message = refused("publish", tmp_path / "again", "--store", store, *GATE)
    assert f"still serves {versions['usual']}" in message
    assert "of the champion, difference -0." in message

    assert recsys("rollback", store).code == 0
    assert Store.open(store).pointer.current == versions["untrained"]
    assert recsys("rollback", store).code == 0
    lists = tmp_path / "lists.parquet"
    assert recsys("recommend", store, "--out", lists, "-k", 5).code == 0
    direct = tmp_path / "direct.parquet"
    assert recsys("recommend", tmp_path / "usual", "--out", direct, "-k", 5).code == 0
    assert pl.read_parquet(lists, glob=False).equals(pl.read_parquet(direct, glob=False))
    assert "Removed 1 versions" in recsys("prune", store, "--keep", 0).out
