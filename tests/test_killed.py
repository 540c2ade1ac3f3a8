"""Runs and batches killed with SIGKILL go on to the same end as those that were never killed."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from killed_parts import Ended, Killed, run_killed
from walk_parts import recsys, write_settings

from recsys.search import LexicalIndex, parse_words

SHOP = ("--items", 40, "--users", 40, "--set", "picture_size=32", "--set", "events_per_user=8")
SETTINGS = (
    "track.enabled=false",
    "train.num_threads=1",
    "evaluate.knockout_users=10",
    'evaluate.baselines=["popularity", "als"]',
)
# Small records beside other files, and the report, whose repetition would export the bundle once more.
NOT_KILLED_AT = [f"run/{name}.json" for name in ("timings", "audit", "fit_records", "review_sentiment")]
NOT_KILLED_AT += ["run/report.html"]
RANDOM_TIMES, MAX_SECONDS = 3, 1.5  # of kills at moments that no renaming chooses
WORDS = "vase mug lamp bowl blanket bag"
EVENT_LOG, IN_MEMORY = 0, 1_000_000  # data.stream_above
WITHOUT_TIMES = (
    "metrics.json",
    "knockouts.json",
    "examples.json",
    "histories.parquet",
    "predictions.parquet",
)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny shop, of tiny encoders and of their settings."""
    root = tmp_path_factory.mktemp("killed")
    made = recsys("sample", root / "shop", *SHOP)
    assert made.code == 0, made.err
    write_settings(root / "settings.toml", root / "encoders", "sqlite:///unused.db")
    return root


def command(root: Path, folder: Path, stream_above: int) -> list[str]:
    """`recsys run` with run directory and cache in `folder`."""
    arguments = ("run", root / "shop", "--out", folder / "run", "--cache", folder / "cache")
    options = [part for each in (*SETTINGS, f"data.stream_above={stream_above}") for part in ("--set", each)]
    return [*map(str, (*arguments, "--config", root / "settings.toml")), *options]


def moments(unbroken: Ended, rng: random.Random, num: int | None) -> list[dict[str, Any]]:
    """Before or after the first renaming to each name, in the order of the unbroken run, and random times.

    With `num`, so many names at random. A random time is early, so that the process does not end before it. A
    process that an earlier one has taken past its name is killed at the next one.
    """
    names = [name for name in dict.fromkeys(unbroken.names) if name not in NOT_KILLED_AT]
    chosen: list[dict[str, Any]] = []
    for name in names:
        is_checkpoint = name.endswith(".pt")
        # Twice: the second time after the next epoch, since the first is not written again.
        after, later = is_checkpoint or rng.random() < 0.5, names[names.index(name) + 1 :]
        chosen += [{"name": name, "or_at": later, "after": after}] * (1 + is_checkpoint)
    if num is not None:
        chosen = [chosen[at] for at in sorted(rng.sample(range(len(chosen)), num))]
    for _ in range(RANDOM_TIMES):
        chosen.insert(rng.randrange(len(chosen)), {"seconds": rng.uniform(0, MAX_SECONDS)})
    return chosen


def results(run: Path) -> dict[str, Any]:
    """Everything that a run has found but times: metrics, lists, choices, checksums of the bundle's files."""
    manifest = json.loads((run / "bundle" / "manifest.json").read_text("utf-8"))
    records = json.loads((run / "fit_records.json").read_text("utf-8"))
    chosen = json.loads((run / "baselines.json").read_text("utf-8"))
    found: dict[str, Any] = {f"bundle {name}": sha for name, sha in manifest.pop("files").items()}
    # tantivy names its files at random; two indexes of the same documents give the same answers.
    found = {name: sha for name, sha in found.items() if not name.startswith("bundle search/lexical/")}
    items, scores = LexicalIndex.open(run / "bundle" / "search" / "lexical").search(parse_words(WORDS), 40)
    assert len(items) > 5
    found["lexical index"] = [items.tolist(), scores.tolist()]
    found |= {f"manifest {name}": value for name, value in manifest.items() if name != "created_at"}
    found |= {f"record {stage}": {**each, "at": ""} for stage, each in records.items()}
    found |= {f"baseline {each['name']}": {**each, "cpu_seconds": 0} for each in chosen}
    return found | {name: (run / name).read_bytes() for name in WITHOUT_TIMES}


@pytest.fixture(scope="module")
def finished(shop: Path) -> Ended:
    """A run in the folder of the shop that was never killed, with its log in memory."""
    return unbroken_run(shop, shop, IN_MEMORY)


def unbroken_run(shop: Path, folder: Path, stream_above: int) -> Ended:
    ended = run_killed([Killed(command=command(shop, folder, stream_above))], folder / "whole.log")[0]
    assert ended.code == 0, (folder / "whole.log").read_text()[-3000:]
    return ended


def assert_goes_on(
    shop: Path, whole: Path, tmp_path: Path, kills: list[dict[str, Any]], stream_above: int
) -> None:
    """The run that is killed at `kills` and then ends by itself has the results of the run `whole`."""
    broken = command(shop, tmp_path / "broken", stream_above)
    named = [Killed(command=broken, **each) for each in kills]
    *killed, last = run_killed([*named, Killed(command=broken)], tmp_path / "broken.log")
    assert last.code == 0, (tmp_path / "broken.log").read_text()[-3000:]
    ended = [kill for kill, each in zip(kills, killed, strict=True) if each.code != -9]
    assert len(ended) <= 0.2 * len(killed), f"most are killed before their end; these were not: {ended}"
    expected, found = results(whole), results(tmp_path / "broken" / "run")
    assert expected.keys() == found.keys()
    assert [name for name in expected if found[name] != expected[name]] == []
    assert [
        path for path in (tmp_path / "broken" / "run").rglob("*") if path.suffix in (".tmp", ".old")
    ] == []


@pytest.mark.long
def test_a_run_killed_at_every_step_ends_as_one_that_was_not(shop: Path, tmp_path: Path) -> None:
    """With its log on disk: preparation, extraction, training, evaluation, knock-outs, export."""
    (tmp_path / "whole").mkdir()
    unbroken = unbroken_run(shop, tmp_path / "whole", EVENT_LOG)
    kills = moments(unbroken, random.Random(0), None)
    assert_goes_on(shop, tmp_path / "whole" / "run", tmp_path, kills, EVENT_LOG)


@pytest.mark.long
def test_a_run_in_memory_killed_at_some_steps_ends_as_one_that_was_not(
    shop: Path, finished: Ended, tmp_path: Path
) -> None:
    assert_goes_on(shop, shop / "run", tmp_path, moments(finished, random.Random(1), 6), IN_MEMORY)


@pytest.mark.long
@pytest.mark.usefixtures("finished")
def test_a_batch_killed_at_every_part_ends_as_one_that_was_not(shop: Path, tmp_path: Path) -> None:
    (tmp_path / "users.txt").write_text("\n".join(f"user-{at}" for at in range(3000)), "utf-8")

    def batch(name: str) -> list[str]:
        files = ("--out", tmp_path / name, "--users", tmp_path / "users.txt")
        return [*map(str, ("recommend", shop / "run" / "bundle", *files, "-k", 5, "--state", ":memory:"))]

    unbroken = run_killed([Killed(command=batch("whole.parquet"))], tmp_path / "whole.log")[0]
    assert unbroken.code == 0, (tmp_path / "whole.log").read_text()[-3000:]
    part = next(name for name in unbroken.names if ".parts/" in name).replace("whole", "broken")
    broken = batch("broken.parquet")
    kills = [Killed(command=broken, name=part, after=after) for after in (False, True, True)]
    kills.append(Killed(command=broken, name=f"{tmp_path.name}/broken.parquet"))
    *killed, last = run_killed([*kills, Killed(command=broken)], tmp_path / "broken.log")
    assert [each.code for each in killed] == [-9] * len(kills)
    assert last.code == 0, (tmp_path / "broken.log").read_text()[-3000:]
    assert not last.names[0].startswith(".broken"), "all parts were kept"
    assert (tmp_path / "broken.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    assert not list(tmp_path.glob(".*"))
