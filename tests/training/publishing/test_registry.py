"""A bundle in MLflow's registry: logged with size and metrics, found by its alias, answering as over HTTP."""

import os
import warnings
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from bundle_parts import write_tiny_bundle
from publish_parts import make_run
from walk_parts import recsys as recsys_command

import features
import recsys
import serving
from recsys.bundle import Bundle, Store, Version, now
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


def registered_store(root: Path, versions: tuple[str | None, ...]) -> list[str]:
    """A store that served a bundle for each name in a registry of `versions`; the stored versions."""
    store, added = Store.create(root / "store"), []
    for number, registered in enumerate(versions):
        bundle = write_tiny_bundle(root / f"bundle{number}", seed=number)

        def record(opened: Bundle, registered: str | None = registered) -> Version:
            return Version(
                version=opened.version,
                published_at=now(),
                run="run",
                dataset="zoo",
                dataset_fingerprint="f00d" * 4,
                created_at=opened.manifest.created_at,
                size_bytes=1,
                registered=registered,
            )

        with store.writing():
            added.append(store.add(bundle.path, record).version)
            store.point_to(added[-1], action="publish")
    return added


@pytest.mark.long
def test_a_roll_back_moves_the_alias_of_the_registry(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    added = registered_store(tmp_path, ("zoo/1", "zoo/2"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        client = mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)
        client.create_registered_model("zoo")
        for _ in added:
            client.create_model_version("zoo", source=str(tmp_path))
        client.set_registered_model_alias("zoo", CHAMPION, "2")
        client.set_registered_model_alias("zoo", CHALLENGER, "2")

    answer = recsys_command("rollback", tmp_path / "store", "--registry", uri)
    assert answer.code == 0, answer.err
    assert "Alias champion of the registry: zoo/1." in answer.out
    assert Store.open(tmp_path / "store").pointer.current == added[0]
    numbers = [client.get_model_version_by_alias("zoo", name).version for name in (CHAMPION, CHALLENGER)]
    assert list(map(int, numbers)) == [1, 2]

    assert recsys_command("rollback", tmp_path / "store", "--registry", uri).code == 0
    assert int(client.get_model_version_by_alias("zoo", CHAMPION).version) == 2


def test_a_roll_back_names_the_alias_that_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an address, with `none`, and of a version that was never registered, no alias moves."""
    moved: list[tuple[str, str]] = []
    monkeypatch.setattr(MlflowRegistry, "set_alias", lambda _, *given: moved.append(given))
    for name in ("MLFLOW_REGISTRY_URI", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    registered_store(tmp_path, (None, "zoo/1", "zoo/2"))
    store = tmp_path / "store"
    missing = recsys_command("rollback", store)
    assert missing.code == 0
    told = " ".join((missing.out + missing.err).split())
    assert "alias champion was not moved to zoo/1: name the registry with --registry" in told
    assert recsys_command("rollback", store, "--registry", "none").code == 0  # to zoo/2
    assert moved == []
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", "http://registry")
    assert recsys_command("rollback", store).code == 0
    assert moved == [("zoo/1", CHAMPION)]
    unregistered = Store.open(store).versions()
    (first,) = (each.version for each in unregistered if each.registered is None)
    assert recsys_command("rollback", store, "--to", first).code == 0
    assert moved == [("zoo/1", CHAMPION)]


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
