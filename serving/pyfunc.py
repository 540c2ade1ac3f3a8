"""The bundle as an MLflow model (models from code): users or histories in, recommended items out.

MLflow runs this file by its path; no other module imports it. Input, one row a list:
    user_id   a user of the histories, where the model has them
    history   in place of user_id: a list, oldest first, of item ids or objects with item, timestamp, event,
              value; or the JSON text of the list, where a table has no lists (CSV)
Output, a row for each row of the input:
    item_ids  scores      best first
    degraded              why the list does not come from the model and the user's history, as over HTTP
    ignored               items of the history that the catalogue does not have
Parameters: k, filters (JSON text, as over HTTP), exclude_seen, diversity.

Histories are optional, since a user can ask to be erased. They are logged with the model, or named when the
model is loaded, by `model_config={"histories": PATH}` or the variable RECSYS_HISTORIES. Without histories a
`user_id` is answered like an unknown user, and `degraded` says so.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext
from pydantic import ValidationError

from recsys.errors import RecsysError, RequestError
from recsys.history import History
from recsys.ids import PAD
from serving.engine import Engine
from serving.http import MAX_K, Subject
from serving.requests import Event
from serving.rules import seed_of

HISTORIES_VARIABLE: Final = "RECSYS_HISTORIES"
DEFAULTS: Final = {"k": 20, "filters": "{}", "exclude_seen": True, "diversity": 0.0}
ROWS_AT_ONCE: Final = 256


class BundleModel(PythonModel):  # type: ignore[misc]  # MLflow's classes are not followed by mypy
    """Opens the bundle among the artifacts, answers with the recommender that HTTP answers with."""

    def load_context(self, context: PythonModelContext) -> None:
        config = context.model_config or {}
        logged, configured = context.artifacts.get("histories"), config.get("histories")
        named = configured or os.environ.get(HISTORIES_VARIABLE) or logged
        self._engine = Engine.open(
            Path(context.artifacts["bundle"]),
            histories=Path(named) if named else None,
            state=Path(":memory:"),
            device=config.get("device", "cpu"),
            rules=Path(config["rules"]) if config.get("rules") else None,
        )

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """A list for each row. Raises `MlflowException`, over HTTP a 400, that names row and field."""
        options = DEFAULTS | {name: value for name, value in (params or {}).items() if name in DEFAULTS}
        try:
            subjects = _subjects(model_input)
            histories, ignored = self._histories(subjects)
            users = [subject.user_id for subject in subjects]
            return self._lists(users, histories, ignored, options)
        except RecsysError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from None

    def _histories(self, subjects: Sequence[Subject]) -> tuple[list[History | None], list[list[str]]]:
        """The history of each row, None for an unknown user, and the items that are not in the catalogue."""
        users = [subject.user_id for subject in subjects if subject.user_id is not None]
        of_users = iter(self._engine.histories(users))
        histories: list[History | None] = []
        ignored: list[list[str]] = []
        for at, subject in enumerate(subjects):
            if subject.history is None:
                histories.append(next(of_users))
                ignored.append([])
                continue
            entries = [Event(**entry.model_dump()) for entry in subject.history]
            try:
                history, missing = self._engine.request_reader.history(entries)
            except RequestError as error:
                raise RequestError(f"row {at}: {error.field}", error.message, error.value) from None
            histories.append(history)
            ignored.append(missing)
        return histories, ignored

    def _lists(
        self,
        users: Sequence[str | None],
        histories: Sequence[History | None],
        ignored: Sequence[list[str]],
        options: Mapping[str, Any],
    ) -> pd.DataFrame:
        engine, k = self._engine, int(options["k"])
        if not 1 <= k <= MAX_K:
            raise RequestError("k", f"must be from 1 to {MAX_K}", k)
        # The filters hold for all rows; `recommend` leaves each user the items that they may see.
        allowed, _ = engine.operator_reader.allowed(None, _filters(options["filters"]))
        rows: list[dict[str, Any]] = []
        for start in range(0, len(histories), ROWS_AT_ONCE):
            some = histories[start : start + ROWS_AT_ONCE]
            named = users[start : start + ROWS_AT_ONCE]
            ruled = engine.recommend_by_rules(
                some,
                k,
                engine.rule_book.operator,
                seeds=[seed_of(engine.bundle.version, user) for user in named],
                users=named,
                exclude_seen=bool(options["exclude_seen"]),
                allowed=allowed,
                diversity=float(options["diversity"]),
            )
            ranked = ruled.recommendations
            for row, history in enumerate(some):
                found = ranked.items[row][ranked.items[row] != PAD]
                rows.append(
                    {
                        "item_ids": [engine.item_id(int(item)) for item in found],
                        "scores": [float(score) for score in ranked.scores[row][: len(found)]],
                        "degraded": engine.degraded(history, ranked.answered_by[row]),
                        "ignored": ignored[start + row],
                    }
                )
        return pd.DataFrame(rows, columns=["item_ids", "scores", "degraded", "ignored"])


def _subjects(table: pd.DataFrame) -> list[Subject]:
    unknown = sorted(set(table.columns) - {"user_id", "history"})
    if unknown:
        raise RequestError("columns", "only user_id and history", unknown)
    # MLflow has dropped the columns that the signature does not have, and with the last one the rows.
    if table.columns.empty:
        raise RequestError("columns", "the input has none of the known columns, user_id and history")
    return [_subject(at, row) for at, row in enumerate(table.to_dict("records"))]


def _subject(at: int, row: Mapping[str, Any]) -> Subject:
    """Whom a row is about, checked as over HTTP."""
    user, history = (_present(row.get(name)) for name in ("user_id", "history"))
    if (user is None) == (history is None):
        raise RequestError(f"row {at}", "give user_id or history, one of the two")
    if isinstance(history, str):
        history = _json(history, f"row {at}: history")
    try:
        return Subject.model_validate({"user_id": user, "history": _plain(history)})
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise RequestError(f"row {at}: {field}", str(first["msg"]).removeprefix("Value error, ")) from None


def _present(value: Any) -> Any:
    """None for what a table puts in place of a missing value."""
    return None if value is None or (isinstance(value, float) and np.isnan(value)) else value


def _plain(value: Any) -> Any:
    """Lists in place of numpy's arrays; entries of an object that a table filled up are left out."""
    if isinstance(value, np.ndarray | list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items() if _present(each) is not None}
    return value.item() if isinstance(value, np.generic) else value


def _filters(text: Any) -> Any:
    filters = _json(text, "filters") if isinstance(text, str) else text
    if not isinstance(filters, dict):
        raise RequestError("filters", 'is no JSON object; write {"genres": ["Comedy"]}', str(text))
    return filters


def _json(text: str, field: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise RequestError(field, f"is no JSON ({error})", text) from None


set_model(BundleModel())
