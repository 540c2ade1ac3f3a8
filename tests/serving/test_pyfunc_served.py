"""`mlflow models predict` and `mlflow models serve` on the logged model, where torch cannot be imported."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bundle_parts import ITEMS, REFUSE_TRAINING_PACKAGES, write_histories, write_tiny_bundle

import features
import recsys
import serving
from recsys.bundle import Bundle
from training.publishing import ModelCode, save_model

# MLflow warns about its own code.
pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore")]
PACKAGES = tuple(Path(package.__path__[0]) for package in (recsys, features, serving))
SECONDS_TO_START = 90


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("served")
    write_tiny_bundle(root / "run/bundle")
    write_histories(root / "histories.parquet", {"ann": ITEMS[:1], "bob": ITEMS[1:3]})
    (root / "sitecustomize.py").write_text(REFUSE_TRAINING_PACKAGES)  # Python imports it at every start
    code = ModelCode(script=PACKAGES[-1] / "pyfunc.py", packages=PACKAGES)
    save_model(root / "model", Bundle.open(root / "run/bundle"), code)
    return root / "model"


def environment(model: Path) -> dict[str, str]:
    root = model.parent
    return os.environ | {"PYTHONPATH": str(root), "RECSYS_HISTORIES": str(root / "histories.parquet")}


def mlflow_models(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "mlflow", "models", *map(str, arguments), "--env-manager", "local"]


def test_predict(model: Path, tmp_path: Path) -> None:
    asked, answered = tmp_path / "asked.json", tmp_path / "answered.json"
    rows = [{"history": ["i01", "i02"]}, {"history": [{"item": "i00"}]}]
    asked.write_text(json.dumps({"dataframe_records": rows, "params": {"k": 3}}))
    command = mlflow_models("predict", "-m", model, "-i", asked, "-t", "json", "-o", answered)
    run = subprocess.run(
        command, env=environment(model), cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    predictions = json.loads(answered.read_text())["predictions"]
    assert [len(each["item_ids"]) for each in predictions] == [3, 3]


@pytest.fixture(scope="module")
def address(model: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (model.parent / "serve.log").open("w")
    command = mlflow_models("serve", "-m", model, "-p", port, "-h", "127.0.0.1")
    process = subprocess.Popen(command, env=environment(model), cwd=model.parent, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(SECONDS_TO_START):
            try:
                urllib.request.urlopen(f"{address}/ping").close()
                break
            except OSError:
                assert process.poll() is None, (model.parent / "serve.log").read_text()
                time.sleep(1)
        yield address
    finally:
        process.terminate()
        process.wait()
        log.close()


def invoke(address: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(
        f"{address}/invocations", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)["predictions"]


def test_serve_answers_users_and_histories(address: str) -> None:
    rows = [{"user_id": "bob"}, {"user_id": "nobody"}, {"history": ["i01", "i02"]}]
    params = {"k": 3, "filters": '{"kind": ["even"]}'}
    bob, nobody, history = invoke(address, {"dataframe_records": rows, "params": params})
    assert bob["item_ids"] == history["item_ids"]
    assert len(bob["item_ids"]) == 3
    assert (bob["degraded"], nobody["degraded"]) == ([], ["unknown_user: popularity"])
    assert nobody["item_ids"] == ["i00", "i02", "i04"]


def test_serve_refuses_a_mistake_with_400(address: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        invoke(address, {"dataframe_records": [{"user_id": "bob"}], "params": {"k": 0}})
    with refused.value as error:
        assert error.code == 400
        assert "k = 0: must be from 1 to 500" in json.load(error)["message"]
