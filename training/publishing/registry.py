"""Bundles as models in MLflow: logged from code, registered, and addressed by aliases."""

import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from recsys.bundle import Bundle, Version
from recsys.errors import ConfigError, MissingExtraError
from training.tracking import artifact_location

PACKAGE: Final = "recsys"
EXTRA: Final = "serve"
# Parts of the packages that no server needs, some of them large: recordings of the sample shop, converters.
LEFT_OUT: Final = ("__pycache__", "sample", "importers", "conversion", "models", "cli", "pyfunc.py")


# Variables of MLflow, where the user has not set them. By default a server that is down costs minutes.
SETTINGS: Final = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}


@dataclass(frozen=True, kw_only=True)
class ModelCode:
    """What a logged model brings along to run by itself."""

    script: Path  # the model from code
    packages: tuple[Path, ...]  # packages that it imports and that no registry of packages has


class MlflowRegistry:
    """Models of the MLflow server or SQLite file at `uri`.

    A model is logged into the run `run_id`, or where that is not there, into a new run of `experiment`.
    """

    def __init__(
        self,
        uri: str,
        code: ModelCode,
        *,
        experiment: str,
        run_id: str | None = None,
        histories: Path | None = None,
    ) -> None:
        self._uri, self._code, self._experiment = uri, code, experiment
        self._run_id, self._histories = run_id, histories

    def register(self, name: str, version: Version, bundle: Bundle) -> str:
        """Log the bundle and register it as `name`; the name and number, as "name/3"."""
        with _connected(self._uri) as mlflow, TemporaryDirectory() as folder:
            parts = _parts(bundle, self._code, self._histories, Path(folder))
            with self._run(mlflow, version):
                info = mlflow.pyfunc.log_model(
                    name="bundle",
                    metadata={"version": version.version, "dataset": version.dataset},
                    params={"dataset_fingerprint": version.dataset_fingerprint},
                    tags={"bundle": version.version},
                    **parts,
                )
                figures = {"size_bytes": float(version.size_bytes), **version.metrics}
                mlflow.log_metrics(
                    {metric.replace("@", "_at_"): value for metric, value in figures.items()},
                    model_id=info.model_id,
                )
            found = mlflow.register_model(info.model_uri, name, tags={"bundle": version.version})
        return f"{name}/{found.version}"

    def set_alias(self, registered: str, alias: str) -> None:
        """Let `alias` name what `register` returned."""
        name, _, number = registered.rpartition("/")
        with _connected(self._uri) as mlflow:
            mlflow.MlflowClient().set_registered_model_alias(name, alias, number)

    @contextmanager
    def _run(self, mlflow: Any, version: Version) -> Iterator[None]:
        """The run that the model was trained in, else a new one."""
        run_id = self._run_id
        if run_id is not None:
            try:
                mlflow.MlflowClient().get_run(run_id)
            except mlflow.exceptions.MlflowException:
                run_id = None
        chosen: dict[str, Any] = {"run_id": run_id}
        if run_id is None:
            chosen = {"experiment_id": self._experiment_id(mlflow), "run_name": f"publish {version.run}"}
        with mlflow.start_run(**chosen):
            yield

    def _experiment_id(self, mlflow: Any) -> str:
        """Not by `mlflow.set_experiment`, which sets a variable that outlasts this call."""
        client = mlflow.MlflowClient()
        found = client.get_experiment_by_name(self._experiment)
        if found is not None:
            return str(found.experiment_id)
        location = artifact_location(self._uri)
        return str(client.create_experiment(self._experiment, artifact_location=location))


def save_model(path: Path, bundle: Bundle, code: ModelCode, *, histories: Path | None = None) -> None:
    """The bundle as an MLflow model in the directory `path`, which must not exist."""
    with _quiet(), TemporaryDirectory() as folder:
        import mlflow.pyfunc

        mlflow.pyfunc.save_model(path, **_parts(bundle, code, histories, Path(folder)))


def _parts(bundle: Bundle, code: ModelCode, histories: Path | None, folder: Path) -> dict[str, Any]:
    """What `log_model` and `save_model` have in common; copies of code are written to `folder`."""
    artifacts = {"bundle": str(bundle.path.resolve())}
    if histories is not None:
        artifacts["histories"] = str(histories.resolve())
    return {
        "python_model": str(code.script),
        "code_paths": _copied(code.packages, folder),
        "artifacts": artifacts,
        "signature": signature(),
        "input_example": input_example(bundle),
        "pip_requirements": requirements(),
        "model_config": {"histories": "", "device": "cpu"},  # what can be set when the model is loaded
    }


def signature() -> Any:
    """Columns and parameters of serving/pyfunc.py."""
    from mlflow.models import ModelSignature
    from mlflow.types import DataType, ParamSchema, ParamSpec, Schema
    from mlflow.types.schema import AnyType, Array, ColSpec

    return ModelSignature(
        inputs=Schema(
            [
                ColSpec(DataType.string, "user_id", required=False),
                # A list of ids, a list of objects, or the JSON text of one of them.
                ColSpec(AnyType(), "history", required=False),
            ]
        ),
        outputs=Schema(
            [
                ColSpec(Array(DataType.string), "item_ids"),
                ColSpec(Array(DataType.double), "scores"),
                ColSpec(Array(DataType.string), "degraded"),
                ColSpec(Array(DataType.string), "ignored"),
            ]
        ),
        params=ParamSchema(
            [
                ParamSpec("k", DataType.long, 20),
                ParamSpec("filters", DataType.string, "{}"),
                ParamSpec("exclude_seen", DataType.boolean, True),
                ParamSpec("diversity", DataType.double, 0.0),
            ]
        ),
    )


def input_example(bundle: Bundle) -> Any:
    """Two histories of the first items of the catalogue, as ids and as objects."""
    import pandas as pd

    first = list(bundle.item_ids.external[:2])
    return pd.DataFrame({"history": [first, [{"item": first[0]}]]})


def requirements() -> list[str]:
    """The direct requirements of the extra `serve`, pinned to the versions that are installed here.

    Raises `ConfigError` where recsys is not installed as a package, so that its requirements are not known.
    """
    from packaging.requirements import Requirement

    try:
        listed = metadata.requires(PACKAGE) or []
    except metadata.PackageNotFoundError:
        raise ConfigError(
            "recsys is not installed as a package, so the requirements of its extra `serve` are unknown; "
            "install it, or publish with --registry none"
        ) from None
    parsed = [Requirement(line) for line in listed]
    needed = [each for each in parsed if each.marker is None or each.marker.evaluate({"extra": EXTRA})]
    return [_pinned(each.name, str(each.specifier)) for each in needed]


def _pinned(name: str, specifier: str) -> str:
    try:
        return f"{name}=={metadata.version(name)}"
    except metadata.PackageNotFoundError:
        return f"{name}{specifier}"


def _copied(packages: tuple[Path, ...], folder: Path) -> list[str]:
    """Copies of the packages without `LEFT_OUT`."""
    for package in packages:
        shutil.copytree(package, folder / package.name, ignore=shutil.ignore_patterns(*LEFT_OUT))
    return [str(folder / package.name) for package in packages]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without MLflow's warnings about its own code, its bars of progress and minutes of retries.

    MLflow's variables are afterwards as before: it sets some of them where one of its addresses is set.
    """
    before = _variables()
    os.environ.update({name: value for name, value in SETTINGS.items() if name not in before})
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name in _variables():
            del os.environ[name]
        os.environ.update(before)


def _variables() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("MLFLOW_")}


@contextmanager
def _connected(uri: str) -> Iterator[Any]:
    """mlflow, its process-wide addresses set to `uri` meanwhile; an error of MLflow names the address."""
    with _quiet():
        try:
            import mlflow
            import mlflow.pyfunc
        except ModuleNotFoundError:
            raise MissingExtraError("mlflow", "train") from None
        setters = (mlflow.set_tracking_uri, mlflow.set_registry_uri)
        try:
            for set_uri in setters:
                set_uri(uri)
            yield mlflow
        except mlflow.exceptions.MlflowException as error:
            raise ConfigError(
                f"the registry at {uri!r} refused: {error.message}; publish again, or with --registry none"
            ) from error
        finally:
            for set_uri in setters:
                set_uri(None)  # what its variable says, which is restored
