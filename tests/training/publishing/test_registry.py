"""A bundle in MLflow's registry: logged with size and metrics, found by its alias, answering as over HTTP."""

import os
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from publish_parts import make_run

import features
import recsys
import serving
from recsys.bundle import Store
from recsys.config import PublishConfig
from recsys.errors import ConfigError
from training.publishing import CHALLENGER, CHAMPION, MlflowRegistry, ModelCode, publish
from training.publishing.registry import requirements

# MLflow warns about its own code and that of SQLAlchemy.
pytestmark = pytest.mark.filterwarnings("ignore")
CONFIG = PublishConfig(latency_users=5, max_latency_ratio=50.0)
PACKAGES = tuple(Path(package.__path__[0]) for package in (recsys, features, serving))
CODE = ModelCode(script=PACKAGES[-1] / "pyfunc.py", packages=PACKAGES)


@pytest.mark.long
def test_aliases_address_the_bundles_of_the_store(tmp_path: Path) -> None:
    """A refused bundle is the challenger, the served one stays the champion."""
    uri, root = f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "store"
    before, variables = mlflow.get_tracking_uri(), set(os.environ)
    registry = MlflowRegistry(uri, CODE, experiment="tests", run_id="of another server")
    first = publish(make_run(tmp_path / "usual"), root, CONFIG, registry=registry)
    worse = publish(make_run(tmp_path / "worse", skill=0.2), root, CONFIG, registry=registry)
    assert [each.version.registered for each in (first, worse)] == ["recsys-zoo/1", "recsys-zoo/2"]
    assert mlflow.get_tracking_uri() == before
    assert not [name for name in os.environ if name.startswith("MLFLOW_") and name not in variables]
    assert (tmp_path / "mlartifacts").is_dir()
    assert Store.open(root).version(first.version.version).registered == "recsys-zoo/1"
    client = mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)
    aliases = {name: client.get_model_version_by_alias("recsys-zoo", name) for name in (CHAMPION, CHALLENGER)}
    numbers = {name: int(found.version) for name, found in aliases.items()}
    assert numbers == {CHAMPION: 1, CHALLENGER: 2}
    assert aliases[CHAMPION].tags["bundle"] == first.version.version
    logged = client.get_logged_model(aliases[CHAMPION].source.removeprefix("models:/"))
    metrics = {metric.key: metric.value for metric in logged.metrics}
    assert metrics["size_bytes"] == first.version.size_bytes
    assert metrics["warm ndcg_at_10"] == first.version.metrics["warm ndcg@10"]
    mlflow.set_tracking_uri(uri)
    try:
        model = mlflow.pyfunc.load_model("models:/recsys-zoo@champion")
    finally:
        mlflow.set_tracking_uri(None)
    answer = model.predict(pd.DataFrame({"history": [["i00", "i01"]]}), params={"k": 3})
    assert len(answer["item_ids"][0]) == 3


def test_a_registry_that_does_not_answer_moves_nothing(tmp_path: Path) -> None:
    registry = MlflowRegistry("http://127.0.0.1:9", CODE, experiment="tests")
    run, root = make_run(tmp_path / "run"), tmp_path / "store"
    with pytest.raises(
        ConfigError, match=r"the registry at 'http://127.0.0.1:9' refused: .* --registry none"
    ) as raised:
        publish(run, root, CONFIG, registry=registry)
    (note,) = raised.value.__notes__
    assert note.endswith(f"is stored, not published; {root} serves nothing yet")
    assert Store.open(root).pointer.current is None
    assert publish(run, root, CONFIG).promoted  # the version is there already


def test_requirements_are_those_of_the_extra_serve_with_pins() -> None:
    names = [line.partition("==")[0] for line in requirements()]
    assert {"fastapi", "uvicorn", "onnxruntime-gpu", "polars", "pydantic"} <= set(names)
    assert not [name for name in names if name.startswith(("torch", "mlflow", "transformers"))]
    assert all("==" in line for line in requirements())
