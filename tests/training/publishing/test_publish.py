"""The gate refuses worse, leaking, slower, larger and damaged bundles with the reason, and no better ones."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from publish_parts import USERS, held_out_of, make_run

from recsys.bundle import Bundle, Store, Version, bundle_directory
from recsys.config import PublishConfig
from recsys.errors import BundleError, ConfigError, DataError
from training.evaluation import MODEL
from training.publishing import CHALLENGER, CHAMPION, Bar, Published, publish
from training.run_directory import RunDirectory

# A test of one bar must not fail by another one: a busy machine cannot make a bundle 50 times as slow.
CONFIG = PublishConfig(latency_users=5, max_latency_ratio=50.0)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunDirectory]:
    """Runs that finds the held-out items of more and less users, of the same dataset and split."""
    root = tmp_path_factory.mktemp("runs")
    skills = {"worse": 0.3, "usual": 0.5, "better": 0.8}
    return {name: make_run(root / name, skill=skill) for name, skill in skills.items()}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def copy(runs: dict[str, RunDirectory], tmp_path: Path) -> Callable[[str], RunDirectory]:
    """A copy of one of `runs`, to alter."""

    def make(name: str) -> RunDirectory:
        return RunDirectory(Path(shutil.copytree(runs[name].path, tmp_path / f"copy of {name}")))

    return make


def bar_of(published: Published, name: str) -> Bar:
    return next(bar for bar in published.bars if bar.name == name)


def test_the_first_version_needs_no_champion(runs: dict[str, RunDirectory], root: Path) -> None:
    published = publish(runs["usual"], root, CONFIG)
    assert published.promoted
    assert published.failed == []
    assert published.before is None
    assert {bar.name for bar in published.bars} == {
        "audit of leaks", "held-out events", "evaluation", "bundle and evaluation",
        "top-10 agreement", "score difference", "graph parity", "latency",
    }  # fmt: skip
    assert bundle_directory(root).parent.name == published.version.version


def test_a_better_model_is_promoted(runs: dict[str, RunDirectory], root: Path) -> None:
    first = publish(runs["usual"], root, CONFIG)
    second = publish(runs["better"], root, CONFIG)
    assert second.promoted
    assert second.before == first.version.version
    assert bar_of(second, "ndcg@10, warm").found.startswith("0.8")
    pointer = Store.open(root).pointer
    assert (pointer.current, pointer.previous) == (second.version.version, first.version.version)
    assert [move.action for move in pointer.moves] == ["publish", "publish"]


def test_a_worse_model_is_refused_with_the_bar_and_by_how_much(
    runs: dict[str, RunDirectory], root: Path
) -> None:
    first = publish(runs["usual"], root, CONFIG)
    second = publish(runs["worse"], root, CONFIG)
    assert not second.promoted
    assert [bar.name for bar in second.failed] == ["ndcg@10, warm", "ndcg@10, cold_full"]
    bar = second.failed[0]
    values = {
        name: json.loads(runs[name].metrics.read_text())["views"]["warm"]["models"][MODEL]["ndcg@10"]["value"]
        for name in ("usual", "worse")
    }
    assert f"{values['worse']:.4f} against {values['usual']:.4f} of the champion" in bar.found
    assert f"difference {values['worse'] - values['usual']:+.4f} [-" in bar.found
    assert "120 users" in bar.found
    assert bar.required == "the upper end of the interval at least -0.0000"
    assert float(bar.missed_by) > 0.05
    assert bundle_directory(root).parent.name == first.version.version
    kept = Store.open(root).version(second.version.version)
    assert kept.failed == ("ndcg@10, warm", "ndcg@10, cold_full")


def test_a_loss_may_be_allowed(runs: dict[str, RunDirectory], root: Path) -> None:
    publish(runs["usual"], root, CONFIG)
    allowed = CONFIG.model_copy(update={"max_loss": 0.4})
    assert publish(runs["worse"], root, allowed).promoted


def test_non_inferiority_has_to_be_shown(root: Path, tmp_path: Path) -> None:
    """Two models of one skill on other users: nothing shows that the second is not worse."""
    publish(make_run(tmp_path / "one", seed=1), root, CONFIG)
    other = make_run(tmp_path / "two", seed=2)
    strict = CONFIG.model_copy(update={"test": "non_inferiority", "max_loss": 0.01})
    published = publish(other, root, strict)
    assert "ndcg@10, warm" in [bar.name for bar in published.failed]
    assert "the lower end of the interval" in published.failed[0].required
    assert publish(other, root, strict.model_copy(update={"max_loss": 0.4})).promoted


def test_slices_are_compared_where_they_have_enough_users(runs: dict[str, RunDirectory], root: Path) -> None:
    config = CONFIG.model_copy(update={"slices": ("items/cold", "users/new", "users/heavy", "items/tail")})
    publish(runs["usual"], root, config)
    published = publish(runs["worse"], root, config)
    assert "ndcg@10, users/new" in [bar.name for bar in published.failed]  # two known items each
    assert "ndcg@10, items/cold" in [bar.name for bar in published.failed]
    assert bar_of(published, "quality, users/heavy").passed is None
    assert bar_of(published, "quality, users/heavy").found == "0 users: too few to compare"


def test_nothing_to_compare_is_no_pass(runs: dict[str, RunDirectory], root: Path) -> None:
    publish(runs["usual"], root, CONFIG)
    published = publish(runs["better"], root, CONFIG.model_copy(update={"min_users": 121}))
    assert [bar.in_words() for bar in published.failed] == [
        "quality: no slice has enough users; required: 121 users in one of warm, cold_full"
    ]


def test_lists_shorter_than_the_metric_are_padded(runs: dict[str, RunDirectory], root: Path) -> None:
    config = CONFIG.model_copy(update={"metrics": ("ndcg@20",)})
    publish(runs["usual"], root, config)
    assert publish(runs["better"], root, config).promoted


@pytest.mark.parametrize("stage", ["main", "test"])
def test_a_stage_without_audit_is_refused(
    copy: Callable[[str], RunDirectory], root: Path, stage: str
) -> None:
    run = copy("better")
    audits = json.loads(run.audits.read_text())
    del audits[stage]
    run.audits.write_text(json.dumps(audits))
    published = publish(run, root, CONFIG)
    assert [bar.name for bar in published.failed] == ["audit of leaks"]
    assert published.failed[0].found == f"no clean audit of: {stage}"
    with pytest.raises(BundleError, match="has no current version"):
        bundle_directory(root)


def test_a_refitted_bundle_needs_the_audit_of_the_refit(root: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", refit=True)
    assert publish(run, root, CONFIG).failed[0].found == "no clean audit of: refit"


def test_a_test_event_in_the_history_is_refused(copy: Callable[[str], RunDirectory], root: Path) -> None:
    run = copy("better")
    history, truth = (pl.read_parquet(run.split / f"{name}.parquet") for name in ("history", "ground_truth"))
    leaked = truth.head(1).with_columns(part=pl.lit("train")).select(history.columns)
    pl.concat([history, leaked]).write_parquet(run.split / "history.parquet")
    published = publish(run, root, CONFIG)
    assert [bar.name for bar in published.failed] == ["held-out events"]
    assert published.failed[0].found == (
        f"1 of 160 test events are in the history, such as user 'u000', item {held_out_of(0)[0]!r}"
    )
    assert published.failed[0].missed_by == "1 events"


def test_a_pair_of_the_ground_truth_in_the_history_is_refused(
    copy: Callable[[str], RunDirectory], root: Path
) -> None:
    """The same user and item under another row."""
    run = copy("better")
    history = pl.read_parquet(run.split / "history.parquet")
    pair = {"user_id": USERS[5], "item_id": held_out_of(5)[0], "row": 9999}
    leaked = history.head(1).with_columns(pl.lit(value).alias(name) for name, value in pair.items())
    pl.concat([history, leaked.cast(history.schema)]).write_parquet(run.split / "history.parquet")
    published = publish(run, root, CONFIG)
    assert [bar.name for bar in published.failed] == ["held-out events"]
    assert "user 'u005'" in published.failed[0].found


def test_metrics_that_are_not_those_of_the_lists_are_refused(
    copy: Callable[[str], RunDirectory], root: Path
) -> None:
    run = copy("usual")
    metrics = json.loads(run.metrics.read_text())
    metrics["views"]["warm"]["models"][MODEL]["ndcg@10"]["value"] += 0.1
    run.metrics.write_text(json.dumps(metrics))
    published = publish(run, root, CONFIG)
    assert [bar.name for bar in published.failed] == ["evaluation", "bundle and evaluation"]
    assert "largest difference of metrics.json from predictions.parquet, warm ndcg@10" in (
        published.failed[0].found
    )
    assert published.failed[0].missed_by == "0.1"


def test_a_bundle_of_another_evaluation_is_refused(
    runs: dict[str, RunDirectory], copy: Callable[[str], RunDirectory], root: Path
) -> None:
    run = copy("worse")
    shutil.rmtree(run.bundle)
    shutil.copytree(runs["better"].bundle, run.bundle)
    published = publish(run, root, CONFIG)
    assert [bar.name for bar in published.failed] == ["bundle and evaluation"]


@pytest.mark.parametrize(
    ("parity", "names"),
    [
        ({"top10_agreement": 0.99}, ["top-10 agreement"]),
        ({"score_difference": 0.01}, ["score difference"]),
        ({"user_tower.user_vector": 2e-4}, ["graph parity"]),
        ({"top10_agreement": None}, ["top-10 agreement"]),
    ],
)
def test_a_bundle_that_answers_otherwise_than_torch_is_refused(
    root: Path, tmp_path: Path, parity: dict[str, float | None], names: list[str]
) -> None:
    whole = {"user_tower.user_vector": 1e-6, "top10_agreement": 1.0, "score_difference": 1e-5} | parity
    measured = {name: value for name, value in whole.items() if value is not None}
    published = publish(make_run(tmp_path / "run", parity=measured), root, CONFIG)
    assert [bar.name for bar in published.failed] == names


def test_a_slower_bundle_is_refused_with_the_ratio(
    runs: dict[str, RunDirectory], root: Path, tmp_path: Path
) -> None:
    publish(runs["usual"], root, CONFIG)
    slow = make_run(tmp_path / "slow", skill=0.8, slow=8)
    budgets = {"max_latency_ratio": 3.0, "max_latency_ms": 0.001, "max_size_ratio": 1e4}
    config = CONFIG.model_copy(update=budgets)
    published = publish(slow, root, config)
    assert [bar.name for bar in published.failed] == ["latency ratio", "latency"]
    assert "ms of the champion, 5 users" in published.failed[0].found
    assert published.failed[0].required == "at most 3"
    assert published.failed[1].required == "at most 0.001 ms"


def test_a_larger_bundle_is_refused_with_the_ratio(
    runs: dict[str, RunDirectory], root: Path, tmp_path: Path
) -> None:
    publish(runs["usual"], root, CONFIG)
    large = make_run(tmp_path / "large", skill=0.8, slow=1)  # holds a matrix of a megabyte
    published = publish(large, root, CONFIG.model_copy(update={"max_size_mb": 0.5}))
    assert [bar.name for bar in published.failed] == ["size ratio", "size"]
    assert published.failed[0].required == "at most 2"
    assert published.failed[1].found == "1.06 MB"


def test_a_damaged_bundle_is_refused_even_by_force(copy: Callable[[str], RunDirectory], root: Path) -> None:
    run = copy("better")
    vectors = run.bundle / "item_vectors.npy"
    content = bytearray(vectors.read_bytes())
    content[-1] ^= 1
    vectors.write_bytes(content)
    with pytest.raises(BundleError, match=r"item_vectors.npy was altered: expected sha256 \w+, found"):
        publish(run, root, CONFIG, force="no time")
    assert not root.exists()


def test_force_needs_a_reason_that_the_store_keeps(runs: dict[str, RunDirectory], root: Path) -> None:
    publish(runs["usual"], root, CONFIG)
    published = publish(runs["worse"], root, CONFIG, force="the old model lists recalled goods")
    assert published.promoted
    assert len(published.failed) == 2
    move = Store.open(root).pointer.moves[-1]
    assert (move.action, move.reason) == ("force", "the old model lists recalled goods")
    assert (move.version, move.before) == (published.version.version, published.before)


def test_the_same_version_again_changes_nothing(runs: dict[str, RunDirectory], root: Path) -> None:
    publish(runs["usual"], root, CONFIG)
    second = publish(runs["better"], root, CONFIG)
    again = publish(runs["better"], root, CONFIG)
    assert again.promoted
    assert again.version == second.version
    assert Store.open(root).pointer.moves[-1].version == second.version.version
    assert len(Store.open(root).versions()) == 2


def test_a_damaged_version_is_repaired_by_publishing_it_again(
    runs: dict[str, RunDirectory], root: Path
) -> None:
    publish(runs["usual"], root, CONFIG)
    path = bundle_directory(root) / "maps.json"
    path.chmod(0o644)
    path.write_text("{}")
    with pytest.raises(BundleError, match="was altered"):
        Bundle.open(bundle_directory(root))
    publish(runs["usual"], root, CONFIG)
    Bundle.open(bundle_directory(root))


def test_a_damaged_champion_is_named_with_the_remedy(runs: dict[str, RunDirectory], root: Path) -> None:
    publish(runs["usual"], root, CONFIG)
    path = bundle_directory(root) / "maps.json"
    path.chmod(0o644)
    path.write_text("{}")
    published = publish(runs["better"], root, CONFIG)
    assert [bar.name for bar in published.failed] == ["champion"]
    assert "maps.json was altered" in published.failed[0].found
    assert "recsys rollback" in published.failed[0].required


def test_another_split_of_the_same_data_is_not_compared(
    runs: dict[str, RunDirectory], copy: Callable[[str], RunDirectory], root: Path
) -> None:
    publish(runs["usual"], root, CONFIG)
    run = copy("better")
    lists = pl.read_parquet(run.predictions)
    lists.head(100).write_parquet(run.predictions)
    published = publish(run, root, CONFIG)
    found = [bar.found for bar in published.failed if bar.name == "quality"]
    assert found == [
        "the champion was evaluated on another split of the same data; train with its split settings"
    ]


@pytest.mark.parametrize("name", ["metrics.json", "predictions.parquet"])
def test_a_damaged_evaluation_is_named(copy: Callable[[str], RunDirectory], root: Path, name: str) -> None:
    run = copy("usual")
    (run.path / name).write_bytes(b"{")
    with pytest.raises(DataError, match=rf"{name} cannot be read: .*; make it again with: recsys evaluate"):
        publish(run, root, CONFIG)


def test_damaged_lists_of_the_champion_are_named(runs: dict[str, RunDirectory], root: Path) -> None:
    first = publish(runs["usual"], root, CONFIG)
    (Store.open(root).directory(first.version.version) / "predictions.parquet").write_bytes(b"PAR1")
    published = publish(runs["better"], root, CONFIG)
    assert [bar.name for bar in published.failed] == ["quality"]
    assert "the lists of the champion are damaged" in published.failed[0].found


def test_a_run_without_bundle_or_evaluation(copy: Callable[[str], RunDirectory], root: Path) -> None:
    run = copy("usual")
    run.metrics.unlink()
    with pytest.raises(ConfigError, match=r"metrics.json is missing; make it with: recsys evaluate"):
        publish(run, root, CONFIG)
    shutil.rmtree(run.bundle)
    with pytest.raises(ConfigError, match="has no bundle; make one with: recsys export"):
        publish(run, root, CONFIG)


def test_files_beside_the_bundle(runs: dict[str, RunDirectory], root: Path) -> None:
    """The lists of the model alone are kept, and users' histories unless they are not wanted."""
    first = publish(runs["usual"], root, CONFIG)
    second = publish(runs["better"], root, CONFIG, histories=False)
    store = Store.open(root)
    lists = pl.read_parquet(store.directory(first.version.version) / "predictions.parquet")
    assert lists.columns == ["user_id", "num_seen", "ground_truth_warm", "ground_truth_cold", MODEL]
    assert (store.directory(first.version.version) / "histories.parquet").is_file()
    assert not (store.directory(second.version.version) / "histories.parquet").exists()
    assert first.version.newest_event == 120_000_000
    assert first.version.metrics.keys() == {
        f"{view} {metric}" for view in ("warm", "cold_full") for metric in ("ndcg@10", "recall@10")
    }
    assert not any(USERS[0] in blob.read_bytes().decode("latin-1") for blob in (root / "blobs").glob("*/*"))


class FakeRegistry:
    """Remembers what it was asked."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, ...]] = []

    def register(self, name: str, version: Version, bundle: Bundle) -> str:
        assert bundle.version == version.version
        self.calls.append(("register", name))
        return f"{name}/{len(self.calls)}"

    def set_alias(self, registered: str, alias: str) -> None:
        self.calls.append((alias, registered))


def test_the_registry_gets_a_challenger_and_a_champion_only_behind_the_gate(
    runs: dict[str, RunDirectory], root: Path
) -> None:
    registry = FakeRegistry()
    publish(runs["usual"], root, CONFIG, registry=registry)
    publish(runs["worse"], root, CONFIG, registry=registry)
    assert registry.calls == [
        ("register", "recsys-zoo"),
        (CHALLENGER, "recsys-zoo/1"),
        (CHAMPION, "recsys-zoo/1"),
        ("register", "recsys-zoo"),
        (CHALLENGER, "recsys-zoo/4"),
    ]
    named = CONFIG.model_copy(update={"registered_model": "shop"})
    publish(runs["better"], root, named, registry=registry)
    publish(runs["better"], root, named, registry=registry)
    assert registry.calls[5:] == [
        ("register", "shop"),
        (CHALLENGER, "shop/6"),
        (CHAMPION, "shop/6"),
        (CHALLENGER, "shop/6"),
        (CHAMPION, "shop/6"),
    ]
