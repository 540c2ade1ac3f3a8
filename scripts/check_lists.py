"""Check that evaluation, batch and HTTP return equal lists for a finished run, and that lists are prefixes.

    python -m scripts.check_lists RUN [--port 8765] [--users 100]

The bundle of RUN must have been exported with `train.refit=false`, so that it has the model of the run's
checkpoint. The lists of all users of histories.parquet and of some unknown users are compared; `--users`
takes an evenly spaced part of the former. A server is started on `--port` and stopped at the end. Prints a
table, and exits with status 1 if any list differs.

Lists of torch and of ONNX Runtime are equal if they have the same items above every rank at which
neighbouring scores differ by more than 1e-4 in both. The score of a cold item is interpolated between the
scores of its neighbours, so cold items are compared separately, by the retriever's scores. The column "tied"
counts the ranks with different items in lists that are equal by this rule. Prefixes must be exactly equal,
with equal scores.

Legend: L ranks of a list.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl

from features.conversion import default_cache_dir
from features.inputs import load_histories
from recsys.arrays import Bools, Floats, Ints
from recsys.bundle import Bundle
from recsys.columns import Columns
from recsys.history import History
from recsys.retrieval import Recommender
from serving.batch import BatchRequest, recommend_to_parquet
from serving.engine import Engine
from training.evaluation import System
from training.pipeline import Run
from training.run_directory import RunDirectory

TOLERANCE = 1e-4  # items whose scores differ by less may be in either order
LENGTHS = (1, 5, 10, 20, 100, 101, 500)
DIVERSITY = 0.3
UNKNOWN = tuple(f"no such user {at}" for at in range(5))
USERS_AT_ONCE = 256
START_SECONDS = 120.0


@dataclass(frozen=True)
class Listed:
    """One list: items and their scores, best first."""

    items: Ints  # [L]
    scores: Floats  # [L]
    retriever_scores: Floats | None = None  # [L], of torch alone


@dataclass
class Row:
    """One row of the table."""

    what: str
    users: str
    num_users: int
    num_lists: int = 0
    num_equal: int = 0
    num_tied: int = 0  # ranks with different items in equal lists
    first: str = ""

    def count(self, user: str, place: int | None, num_tied: int) -> None:
        """Count one list; `place` is the index of its first difference, None if it is equal."""
        self.num_lists += 1
        self.num_equal += place is None
        self.num_tied += num_tied if place is None else 0
        if place is not None and not self.first:
            self.first = f"user {user!r}, rank {place + 1}"


@dataclass
class Table:
    """All rows, and the kind of each user."""

    kinds: Mapping[str, str]
    rows: dict[tuple[str, str], Row] = field(default_factory=dict)

    def count(self, what: str, user: str, place: int | None, num_tied: int = 0) -> None:
        kind = self.kinds[user]
        if (what, kind) not in self.rows:
            num_users = sum(each == kind for each in self.kinds.values())
            self.rows[what, kind] = Row(what, kind, num_users)
        self.rows[what, kind].count(user, place, num_tied)

    def print(self) -> bool:
        """Print the rows. Returns whether all lists are equal."""
        print("| check | users | number | lists | equal | tied | first difference |")
        print("|---|---|---|---|---|---|---|")
        for row in self.rows.values():
            counts = (row.num_users, row.num_lists, row.num_equal, row.num_tied)
            print("| " + " | ".join(map(str, (row.what, row.users, *counts, row.first))) + " |")
        return all(row.num_lists == row.num_equal for row in self.rows.values())


def first_difference(torch: Listed, served: Listed, is_cold_N: Bools, k: int) -> int | None:
    """Index of the first difference that ties do not explain; None if the lists are equal."""
    if len(torch.items) != len(served.items):
        return min(len(torch.items), len(served.items))
    different = np.flatnonzero(torch.items != served.items)
    if not len(different):
        return None
    cold_L = is_cold_N[torch.items]
    place = int(different[0])
    if (cold_L != is_cold_N[served.items]).any():
        return place
    ends = len(torch.items) < k  # a list that ends early has no further item that could tie with its last
    assert torch.retriever_scores is not None
    apart_warm = _apart(torch.scores[~cold_L], TOLERANCE) & _apart(served.scores[~cold_L], TOLERANCE)
    apart_cold = _apart(torch.retriever_scores[cold_L], TOLERANCE)
    for part_L, apart in ((~cold_L, apart_warm), (cold_L, apart_cold)):
        if not _same_above(torch.items[part_L], served.items[part_L], apart, ends=ends):
            return place
    return None


def _apart(score_L: Floats, tolerance: float) -> Bools:
    """Whether each score exceeds the next one by more than the tolerance. Shape [L - 1]."""
    apart_L: Bools = score_L[:-1] - score_L[1:] > tolerance
    return apart_L


def _same_above(first_L: Ints, second_L: Ints, apart: Bools, *, ends: bool) -> bool:
    """Whether both lists have the same items above every rank whose entry in `apart` is True."""
    cuts = [*(np.flatnonzero(apart) + 1).tolist(), *([len(first_L)] if ends else [])]
    return all(set(first_L[:cut].tolist()) == set(second_L[:cut].tolist()) for cut in cuts)


def prefix_difference(found: Listed, longest: Listed, k: int) -> int | None:
    """Index of the first difference of `found` from the first `k` entries of `longest`; None without one."""
    items, scores = longest.items[:k], longest.scores[:k]
    if len(found.items) != len(items):
        return min(len(found.items), len(items))
    different = np.flatnonzero((found.items != items) | (found.scores != scores))
    return int(different[0]) if len(different) else None


def of_torch(
    recommender: Recommender,
    histories: Mapping[str, History],
    users: Sequence[str],
    k: int,
    *,
    exclude_seen: bool,
) -> dict[str, Listed]:
    """The lists of evaluation's `System`, with their scores."""
    system = System("torch", recommender, histories, exclude_seen=exclude_seen)
    lists = {}
    for start in range(0, len(users), USERS_AT_ONCE):
        names = users[start : start + USERS_AT_ONCE]
        items_BL = system.recommend(names, k, allowed=None)
        found = recommender.recommend([histories.get(user) for user in names], k, exclude_seen=exclude_seen)
        assert (found.items == items_BL).all(), "the lists of System and of the recommender differ"
        for row, user in enumerate(names):
            real_L = items_BL[row] > 0
            lists[user] = Listed(
                items_BL[row][real_L], found.scores[row][real_L], found.retriever_scores[row][real_L]
            )
    return lists


def of_batch(engine: Engine, folder: Path, users: Sequence[str], k: int, **options: Any) -> dict[str, Listed]:
    """The lists of `recommend_to_parquet`."""
    pl.DataFrame({Columns.USER: users}).write_parquet(folder / "users.parquet")
    request = BatchRequest(users=folder / "users.parquet", k=k, **options)
    recommend_to_parquet(engine, request, folder / "lists.parquet")
    table = pl.read_parquet(folder / "lists.parquet", glob=False).sort(Columns.USER, Columns.RANK)
    item_ids = engine.bundle.item_ids
    lists = {user: Listed(np.empty(0, np.int64), np.empty(0, np.float32)) for user in users}
    grouped = table.group_by(Columns.USER, maintain_order=True).agg(Columns.ITEM, Columns.SCORE)
    for user, items, scores in grouped.iter_rows():
        lists[user] = Listed(item_ids.encode(items), np.array(scores, np.float32))
    return lists


class Server:
    """A client of `recsys serve`, which runs in another process."""

    def __init__(self, bundle: Bundle, port: int) -> None:
        self._item_ids = bundle.item_ids
        self._connection = HTTPConnection("127.0.0.1", port, timeout=60)

    def list_of(self, user: str, k: int, **options: Any) -> Listed:
        body = json.dumps({"user_id": user, "k": k, **options})
        # The server may have closed a connection that was idle during the batch.
        self._connection.close()
        self._connection.request("POST", "/v1/recommend", body, {"Content-Type": "application/json"})
        response = self._connection.getresponse()
        answer = json.loads(response.read())
        if response.status != 200:
            sys.exit(f"the server answered {response.status}: {answer}")
        items = answer["items"]
        return Listed(
            self._item_ids.encode([each["item_id"] for each in items]),
            np.array([each["score"] for each in items], np.float32),
        )

    def wait(self, process: "subprocess.Popen[bytes]") -> None:
        """Return when the server is ready; exit if it does not start."""
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and process.poll() is None:
            try:
                self._connection.request("GET", "/readyz")
                if self._connection.getresponse().read():
                    return
            except OSError:
                self._connection.close()
                time.sleep(0.2)
        sys.exit("the server did not start")


@contextmanager
def served(bundle: Bundle, port: int) -> Iterator[Server]:
    """A server of `bundle` with its state in memory; it is stopped at the end."""
    command = [sys.executable, "-m", "recsys.cli", "serve", str(bundle.path), "--port", str(port)]
    process = subprocess.Popen(
        [*command, "--state", ":memory:"], stdout=subprocess.DEVNULL, stderr=sys.stderr
    )
    try:
        server = Server(bundle, port)
        server.wait(process)
        yield server
    finally:
        process.terminate()
        process.wait()


def check_equal(table: Table, torch: Recommender, histories: Mapping[str, History], by: "Served") -> None:
    """Compare the lists of torch with those of batch and HTTP, with and without seen items."""
    is_cold_N = ~torch.items.trained
    for exclude_seen in (True, False):
        words = "seen items left out" if exclude_seen else "seen items kept"
        expected = of_torch(torch, histories, by.users, by.longest, exclude_seen=exclude_seen)
        batch = by.batch(by.longest, exclude_seen=exclude_seen)
        for user in by.users:
            over_http = by.server.list_of(user, by.longest, exclude_seen=exclude_seen)
            for name, found in (("batch", batch[user]), ("HTTP", over_http)):
                place = first_difference(expected[user], found, is_cold_N, by.longest)
                num_tied = 0 if place is not None else int((expected[user].items != found.items).sum())
                table.count(f"torch = {name}, {words}", user, place, num_tied)


@dataclass(frozen=True)
class Served:
    """A bundle served in batch and over HTTP, and the users and lengths to compare."""

    engine: Engine
    server: Server
    folder: Path
    users: Sequence[str]
    lengths: Sequence[int]

    @property
    def longest(self) -> int:
        return self.lengths[-1]

    def batch(self, k: int, **options: Any) -> dict[str, Listed]:
        return of_batch(self.engine, self.folder, self.users, k, **options)


def check_prefixes(table: Table, by: Served) -> None:
    """Compare shorter lists with the longest one."""
    found = frequent_value(by.engine.bundle)
    http: dict[str, dict[str, Any]] = {"plain": {}, f"diversity {DIVERSITY}": {"diversity": DIVERSITY}}
    files: dict[str, dict[str, Any]] = {"plain": {}}
    if found is not None:
        name, value, items = found
        (by.folder / "candidates.txt").write_text("\n".join(items), "utf-8")
        files["candidates of a file"] = {"candidates": by.folder / "candidates.txt"}
        http[f"filter {name} = {value}"] = {"filters": {name: [value]}}
        http["diversity and filter"] = {"diversity": DIVERSITY, "filters": {name: [value]}}
    for words, options in files.items():
        lists = {k: by.batch(k, **options) for k in by.lengths}
        _count_prefixes(table, f"prefixes in batch, {words}", by, lambda user, k, at=lists: at[k][user])
    for words, options in http.items():
        _count_prefixes(
            table,
            f"prefixes over HTTP, {words}",
            by,
            lambda user, k, options=options: by.server.list_of(user, k, **options),
        )


def _count_prefixes(table: Table, what: str, by: Served, list_of: Callable[[str, int], Listed]) -> None:
    for user in by.users:
        longest = list_of(user, by.longest)
        for k in by.lengths:
            table.count(what, user, prefix_difference(list_of(user, k), longest, k))


def frequent_value(bundle: Bundle) -> tuple[str, str, list[str]] | None:
    """A category field, its most frequent value, and the items with this value; None without categories."""
    for column in bundle.catalogue.columns:
        if column.startswith(Columns.CATEGORY_PREFIX):
            pairs = bundle.catalogue.select(Columns.ITEM, column).explode(column).drop_nulls()
            if pairs.height:
                value = sorted(pairs[column].mode().to_list())[0]
                items = pairs.filter(pl.col(column) == value)[Columns.ITEM].to_list()
                return column.removeprefix(Columns.CATEGORY_PREFIX), value, items
    return None


def torch_of(path: Path) -> Recommender:
    """The recommender of the run's checkpoint, without tracking."""
    directory = RunDirectory.open(path)
    config = directory.config()
    config = config.model_copy(update={"track": config.track.model_copy(update={"enabled": False})})
    cache = directory.cache_dir() or default_cache_dir()
    run = Run(directory, directory.dataset_path(), config, cache_dir=cache)
    with directory.locked():
        return run.fitted.recommender


def main(path: Path, port: int, num_users: int | None) -> int:
    bundle = Bundle.open(path / "bundle")
    if bundle.manifest.refit:
        sys.exit(f"{bundle.path} has a refitted model; compare a run with --set train.refit=false")
    histories = load_histories(
        path / "histories.parquet", bundle.item_ids, bundle.event_ids, bundle.profile_ids
    )
    known = sorted(histories)
    if num_users is not None:
        known = known[:: max(1, len(known) // num_users)]
    kinds = {user: "with events" if len(histories[user]) else "without events" for user in known}
    kinds |= dict.fromkeys(UNKNOWN, "unknown")
    table = Table(kinds)
    torch = torch_of(path)
    lengths = [k for k in LENGTHS if k <= torch.settings.max_list_length]
    with (
        TemporaryDirectory() as folder,
        Engine.open(bundle.path, state=Path(":memory:")) as engine,
        served(bundle, port) as server,
    ):
        by = Served(engine, server, Path(folder), list(kinds), lengths)
        check_equal(table, torch, histories, by)
        check_prefixes(table, by)
    return 0 if table.print() else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m scripts.check_lists", description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--port", type=int, default=8765)
    parser.add_argument("--users", type=int, default=None)
    asked = parser.parse_args()
    sys.exit(main(asked.run, asked.port, asked.users))
