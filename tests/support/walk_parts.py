"""The command line called in this process, and one whole walk over a tiny shop."""

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import polars as pl
import tomli_w
from tiny_encoders import write_tiny_audio, write_tiny_image, write_tiny_text

from recsys import cli

WITH_FIELDS, WITHOUT_FIELDS = ("F0", "F1"), ("E0",)  # users of the walk who have no event
WITHOUT_EVENTS = (*WITH_FIELDS, *WITHOUT_FIELDS)
SHOP = ("--items", 60, "--users", 60, "--set", "picture_size=32", "--set", "events_per_user=9")


@dataclass(frozen=True)
class Answer:
    """Exit code and output of a command."""

    code: int
    out: str
    err: str


def recsys(*arguments: object) -> Answer:
    """Call the entry point with arguments as from the shell."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with (
        patch.object(sys, "argv", ["recsys", *map(str, arguments)]),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            cli.main()
        except SystemExit as stop:
            code = int(stop.code or 0)
    return Answer(code, out.getvalue(), err.getvalue())


def refused(*arguments: object) -> str:
    """The error message of a command that must fail."""
    answer = recsys(*arguments)
    assert answer.code == 1, answer
    assert "Traceback" not in answer.err + answer.out
    return answer.err


def write_settings(path: Path, encoders: Path, uri: str) -> Path:
    """A configuration whose encoders and models are tiny."""
    settings = {
        "encoders": {
            "text": str(write_tiny_text(encoders / "text")),
            "image": str(write_tiny_image(encoders / "image")),
            "audio": str(write_tiny_audio(encoders / "audio")),
            "transcriber": "none",
        },
        "model": {
            "dim": 16,
            "user": {"num_blocks": 1, "num_heads": 2, "max_length": 20},
            "item": {"num_heads": 2},
            "cold_start": {"content_regression": True},
            "ranker": {"num_candidates": 20, "history_length": 10, "num_epochs": 2},
        },
        "train": {"epochs": 3, "steps_per_epoch": 5, "precision": "float32"},
        "evaluate": {"id_only": False, "baselines": ["popularity"]},
        "search": {"alignment": {"method": "closed_form"}},
        "track": {"uri": uri},
    }
    path.write_text(tomli_w.dumps(settings), "utf-8")
    return path


@dataclass(frozen=True)
class Walk:
    """The folders of one `recsys sample` and one `recsys run`, and the output of the run."""

    root: Path
    answer: Answer

    @property
    def shop(self) -> Path:
        return self.root / "shop"

    @property
    def settings(self) -> Path:
        return self.root / "settings.toml"

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def bundle(self) -> Path:
        return self.run / "bundle"

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.root.parent / 'mlflow.db'}"  # in an address "?" has a meaning

    @property
    def options(self) -> tuple[object, ...]:
        """Those of the run."""
        return ("--config", self.settings, "--cache", self.cache)


def take_walk(root: Path) -> Walk:
    """Sample a shop, then features, training, evaluation and export."""
    walk = Walk(root, Answer(0, "", ""))
    made = recsys("sample", walk.shop, *SHOP)
    assert made.code == 0, made.err
    _add_users_without_events(walk.shop / "users.csv")
    write_settings(walk.settings, root / "encoders", walk.uri)
    with every_ranker_helps():
        return Walk(root, recsys("run", walk.shop, "--out", walk.run, *walk.options))


def _add_users_without_events(path: Path) -> None:
    """`WITH_FIELDS` have the fields of the first users, those of `WITHOUT_FIELDS` are blank."""
    users = pl.read_csv(path, glob=False)
    with_fields = users.head(len(WITH_FIELDS)).with_columns(user_id=pl.Series(WITH_FIELDS))
    without_fields = pl.DataFrame({"user_id": WITHOUT_FIELDS})
    pl.concat([users, with_fields, without_fields], how="diagonal").write_csv(path)


@contextmanager
def every_ranker_helps() -> Iterator[None]:
    """Each epoch of the ranker counts as better than the one before, so that bundles have one.

    Whether one truly helps is luck with a model this small; tests/training/ranker/test_ranker.py looks at it.
    """
    from training.ranker import RankedLists

    scores = count(1)

    def rising(lists: RankedLists, ranker_BK: object) -> np.ndarray:
        return np.full(len(lists.label_BK), next(scores) / 1e6)

    with patch.object(RankedLists, "ndcg", rising):
        yield


@contextmanager
def interrupted_after(epoch: int) -> Iterator[None]:
    """Training that is stopped by Ctrl-C once `epoch` has been written to the checkpoint."""
    from training.towers import trainer as retriever

    real = retriever.save_state

    def save_state(
        path: Path, fingerprint: str, state: retriever.TrainingState, *parts: Any, **named: Any
    ) -> None:
        real(path, fingerprint, state, *parts, **named)
        if state.epoch == epoch:
            raise KeyboardInterrupt

    with patch.object(retriever, "save_state", save_state):
        yield
