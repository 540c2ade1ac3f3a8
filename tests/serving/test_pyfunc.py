"""The bundle as an MLflow model: what it answers, what it refuses, and that it needs no torch."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import polars as pl
import pytest
from bundle_parts import ITEMS, REFUSE_TRAINING_PACKAGES, write_histories, write_tiny_bundle
from mlflow.exceptions import MlflowException

import features
import recsys
import serving
from recsys.bundle import Bundle
from serving.engine import Engine
from training.publishing import ModelCode, save_model

# MLflow warns about its own code.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
PACKAGES = tuple(Path(package.__path__[0]) for package in (recsys, features, serving))
CODE = ModelCode(script=PACKAGES[-1] / "pyfunc.py", packages=PACKAGES)
USERS = {"ann": ITEMS[:1], "bob": ITEMS[1:3]}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`bundle`, `histories.parquet`, and `model`, which has no histories."""
    root = tmp_path_factory.mktemp("pyfunc")
    write_tiny_bundle(root / "run/bundle")
    write_histories(root / "histories.parquet", USERS)
    save_model(root / "model", Bundle.open(root / "run/bundle"), CODE)
    return root


@pytest.fixture(scope="module")
def model(root: Path) -> Any:
    return mlflow.pyfunc.load_model(str(root / "model"))


@pytest.fixture(scope="module")
def engine(root: Path) -> Iterator[Engine]:
    with Engine.open(
        root / "run/bundle", histories=root / "histories.parquet", state=Path(":memory:")
    ) as engine:
        yield engine


def names(engine: Engine, user: str, k: int, **options: Any) -> list[str]:
    ranked = engine.recommend(engine.state.histories([user]), k, **options)
    return [engine.item_id(int(item)) for item in ranked.items[0] if item]


def ask(model: Any, rows: list[dict[str, Any]], **params: Any) -> pd.DataFrame:
    return model.predict(pd.DataFrame(rows), params=params)


def test_a_history_is_answered_as_the_engine_answers_it(model: Any, engine: Engine) -> None:
    answer = ask(model, [{"history": ["i01", "i02"]}, {"history": ["i00"]}], k=5)
    assert answer["item_ids"].to_list() == [names(engine, "bob", 5), names(engine, "ann", 5)]
    ranked = engine.recommend(engine.state.histories(["bob"]), 5)
    np.testing.assert_allclose(answer["scores"][0], ranked.scores[0], rtol=1e-6)
    assert answer["degraded"].to_list() == [[], []]


def test_entries_may_be_objects_json_text_or_arrays(model: Any) -> None:
    objects = [
        {"item": "i01", "event": "buy", "timestamp": 60},
        {"item": "i02", "event": "view", "timestamp": 120},
    ]
    rows = [
        {"history": ["i01", "i02"]},
        {"history": objects},
        {"history": json.dumps(objects)},
        {"history": '["i01", "i02"]'},
        {"history": np.array(["i01", "i02"])},
    ]
    lists = ask(model, rows, k=3)["item_ids"].to_list()
    assert all(each == lists[0] for each in lists)


def test_parameters(model: Any, engine: Engine) -> None:
    row = [{"history": ["i00"]}]
    assert "i00" not in ask(model, row)["item_ids"][0]
    assert len(ask(model, row)["item_ids"][0]) == len(ITEMS) - 1
    assert "i00" in ask(model, row, exclude_seen=False)["item_ids"][0]
    even = ask(model, row, filters='{"kind": ["even"]}')["item_ids"][0]
    assert set(even) == {f"i{at:02}" for at in range(2, 12, 2)}
    varied = ask(model, row, diversity=5.0, k=4)["item_ids"][0]
    assert varied == names(engine, "ann", 4, diversity=5.0) != names(engine, "ann", 4)


def test_mlflow_drops_an_unknown_parameter_with_a_warning(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As docs/publishing.md says: the parameter does not reach this code, and the default holds."""
    said: list[str] = []
    monkeypatch.setattr("mlflow.models.utils._logger.warning", said.append)
    rows = [{"user_id": "u1"}]
    assert ask(model, rows, kk=3).equals(ask(model, rows))
    assert len(said) == 1
    assert "Unrecognized params ['kk'] are ignored" in said[0]


def test_users_without_histories_are_unknown_and_the_answer_says_so(model: Any) -> None:
    answer = ask(model, [{"user_id": "ann"}, {"history": ["i00"], "user_id": None}], k=2)
    assert answer["degraded"].to_list() == [["unknown_user: popularity"], []]
    assert answer["item_ids"][0] == ["i00", "i01"]  # the most popular ones


@pytest.mark.parametrize("how", ["configured", "variable", "logged"])
def test_histories_come_with_the_model_or_when_it_is_loaded(
    root: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, how: str
) -> None:
    path, config = root / "model", {}
    if how == "configured":
        config = {"histories": str(root / "histories.parquet")}
    elif how == "variable":
        monkeypatch.setenv("RECSYS_HISTORIES", str(root / "histories.parquet"))
    else:
        path = tmp_path / "with"
        save_model(path, Bundle.open(root / "run/bundle"), CODE, histories=root / "histories.parquet")
    model = mlflow.pyfunc.load_model(str(path), model_config=config or None)
    answer = ask(model, [{"user_id": "bob"}, {"user_id": "nobody"}], k=4)
    assert answer["item_ids"][0] == names(engine, "bob", 4)
    assert answer["degraded"].to_list() == [[], ["unknown_user: popularity"]]


def test_unknown_items_are_ignored_and_named(model: Any) -> None:
    answer = ask(model, [{"history": ["i00", "gone"]}, {"history": ["gone"]}], k=1)
    assert answer["ignored"].to_list() == [["gone"], ["gone"]]
    assert answer["degraded"].to_list() == [[], ["unknown_items: popularity"]]


def test_an_empty_history_is_answered_like_a_user_without_events(model: Any) -> None:
    answer = ask(model, [{"history": []}], k=2)
    assert answer["degraded"].to_list() == [["empty_history: popularity"]]
    assert answer["item_ids"].to_list() == [["i00", "i01"]]


@pytest.mark.parametrize(
    ("row", "params", "message"),
    [
        ({"user_id": "ann", "history": ["i00"]}, {}, r"row 1.*give user_id or history, one of the two"),
        ({"history": None}, {}, r"row 1.*give user_id or history, one of the two"),
        ({"history": "[1"}, {}, r"row 1: history = '\[1': is no JSON"),
        ({"history": [{"thing": "i00"}]}, {}, r"row 1: history\.0\.item"),
        ({"history": [{"item": "i00", "event": "steal"}]}, {}, r"row 1: history\.0\.event = 'steal'"),
        ({"history": ["i00"]}, {"k": 0}, r"k = 0: must be from 1 to 500"),
        ({"history": ["i00"]}, {"diversity": 100.5}, r"diversity = 100\.5: must be from 0 to 100"),
        ({"history": ["i00"]}, {"diversity": -1.0}, r"diversity = -1\.0: must be from 0 to 100"),
        ({"history": ["i00"]}, {"diversity": float("nan")}, r"diversity = nan: must be from 0 to 100"),
        ({"history": ["i00"]}, {"filters": "even"}, r"filters = 'even': is no JSON"),
        ({"history": ["i00"]}, {"filters": "[]"}, r"filters = '\[\]': is no JSON object"),
        ({"history": ["i00"]}, {"filters": '{"kidn": ["even"]}'}, r"kidn.*did you mean 'kind'"),
    ],
)
def test_a_mistake_names_row_and_field(
    model: Any, row: dict[str, Any], params: dict[str, Any], message: str
) -> None:
    with pytest.raises(MlflowException, match=message) as raised:
        ask(model, [{"history": ["i00"]}, row], **params)
    assert raised.value.error_code == "INVALID_PARAMETER_VALUE"  # 400 over HTTP


@pytest.mark.parametrize("column", ["x", "userid", "History"])
def test_rows_without_a_known_column_are_refused(model: Any, column: str) -> None:
    message = r"columns: the input has none of the known columns, user_id and history"
    with pytest.raises(MlflowException, match=message):
        ask(model, [{column: "ann"}, {column: "bob"}], k=2)


def test_a_table_without_rows_gets_a_table_without_rows(model: Any) -> None:
    assert len(model.predict(pd.DataFrame({"user_id": pd.Series([], dtype=object)}))) == 0


def test_the_saved_model_says_what_it_needs(root: Path) -> None:
    saved = mlflow.models.Model.load(str(root / "model"))
    assert saved.signature.inputs.input_names() == ["user_id", "history"]
    assert {each.name: each.default for each in saved.signature.params} == {
        "k": 20, "filters": "{}", "exclude_seen": True, "diversity": 0.0,
    }  # fmt: skip
    lines = (root / "model/requirements.txt").read_text().split()
    names = {line.partition("==")[0] for line in lines}
    assert {"mlflow", "numpy", "onnxruntime-gpu", "polars", "fastapi", "pydantic"} <= names
    assert not {name for name in names if "torch" in name or "transformers" in name}
    assert all("==" in line for line in lines)
    example = saved.load_input_example(str(root / "model"))
    assert example["history"].to_list() == [["i00", "i01"], [{"item": "i00"}]]
    assert not list((root / "model").rglob("histories.parquet"))
    assert not list((root / "model/code").rglob("*.opus"))


@pytest.mark.long
def test_the_model_runs_by_its_own_code_where_there_is_no_torch(
    root: Path, engine: Engine, tmp_path: Path
) -> None:
    code = REFUSE_TRAINING_PACKAGES + (
        "import mlflow, pandas as pd\n"
        "model = mlflow.pyfunc.load_model(sys.argv[1])\n"
        "answer = model.predict(pd.DataFrame({'history': [['i01', 'i02']]}), params={'k': 4})\n"
        "import recsys, serving.engine\n"
        "assert recsys.__file__.startswith(sys.argv[1]), recsys.__file__\n"
        "print(*answer['item_ids'][0])"
    )
    command = [sys.executable, "-c", code, root / "model"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == names(engine, "bob", 4)


def test_owned_items_are_listed_for_their_owner_alone(root: Path, tmp_path: Path) -> None:
    def add(directory: Path) -> dict[str, Any]:
        catalogue = pl.read_parquet(directory / "catalogue.parquet", glob=False)
        owners = pl.Series("owner", ["ann", "bob", *[None] * (len(ITEMS) - 2)])
        catalogue.with_columns(owners).write_parquet(directory / "catalogue.parquet")
        return {}

    bundle = write_tiny_bundle(tmp_path / "bundle", add=add)
    save_model(tmp_path / "model", bundle, CODE)
    owned = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    rows = [{"user_id": user, "history": None} for user in ("ann", "bob", "eve")]
    found = ask(owned, [*rows, {"user_id": None, "history": [ITEMS[0], ITEMS[2]]}], k=len(ITEMS))
    lists, everybodys = [set(items) for items in found["item_ids"]], set(ITEMS[2:])
    assert lists[:3] == [everybodys | {ITEMS[0]}, everybodys | {ITEMS[1]}, everybodys]
    assert lists[3] == everybodys - {ITEMS[2]}
    assert list(found["ignored"])[3] == [ITEMS[0]]
