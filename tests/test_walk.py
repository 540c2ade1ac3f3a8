"""From generated media to lists of items, through the command line and over HTTP."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from fastapi.testclient import TestClient
from PIL import Image
from walk_parts import WITHOUT_EVENTS, Answer, Walk, every_ranker_helps, interrupted_after, recsys, refused

import training.alignment.fit
import training.export.graph_files
from recsys.bundle.load import Bundle
from serving.engine import Engine
from serving.http.app import create_app
from training.evaluation.evaluate import Evaluation
from training.evaluation.tables import describe
from training.fitting.record import read_audits
from training.knockouts.measure import Knockouts
from training.knockouts.words import contributions
from training.onnx_graph import Graph

K = 7


@pytest.fixture
def recommended(walk: Walk, tmp_path: Path) -> pl.DataFrame:
    out = tmp_path / "recommended.parquet"
    answer = recsys("recommend", walk.bundle, "--out", out, "-k", K)
    assert answer.code == 0, answer.err
    return pl.read_parquet(out)


@pytest.fixture
def client(walk: Walk) -> Iterator[TestClient]:
    with Engine.open(walk.bundle) as engine, TestClient(create_app(engine)) as client:
        yield client


def encoded(answer: Answer) -> dict[str, tuple[int, int]]:
    """Medium -> how many were encoded, and how many came from the cache."""
    cells = [
        [cell.strip() for cell in line.split("│")[1:-1]] for line in answer.out.splitlines() if "│" in line
    ]
    # The table of what each step took stands below, and is wider.
    return {row[0]: (int(row[1]), int(row[2])) for row in cells if len(row) == 3}


def test_the_walk_arrives(walk: Walk) -> None:
    assert walk.answer.code == 0, walk.answer.err
    names = {path.name for path in walk.run.iterdir()}
    assert names >= {
        "config.toml", "dataset.json", "checkpoints", "split", "metrics.json", "rejected.csv",
        "timings.json", "histories.parquet", "bundle", "tracking", "plots", "fit_records.json",
        "predictions.parquet", "examples.json", "knockouts.json", "report.html",
    }  # fmt: skip
    assert "agree in 100.00% of the ranks" in walk.answer.out
    assert "ndcg@10" in walk.answer.out
    assert f"Report: {walk.run / 'report.html'}" in walk.answer.out
    assert set(json.loads((walk.run / "timings.json").read_text())) >= {"features", "train main", "export"}
    assert not [name for name in names if name.startswith(".")], "nothing half written is left"


def test_every_competitor_is_in_the_figures(walk: Walk) -> None:
    metrics = json.loads((walk.run / "metrics.json").read_text())
    assert set(metrics["views"]) == {"warm", "cold_full", "cold_pool"}
    for view in metrics["views"].values():
        assert list(view["models"]) == ["recsys", "recsys, towers alone", "popularity", "random", "oracle"]
        assert all(0 <= each["ndcg@10"]["value"] <= 1 for each in view["models"].values())
        assert list(view["differences"]) == list(view["models"])[1:]
    slices = {kind: list(parts) for kind, parts in metrics["slices"].items()}
    assert slices == {
        "items": ["hot", "warm", "tail", "cold"],
        "users": ["no history", "new", "light", "heavy"],
    }
    assert metrics["content"] == ["title", "text", "image", "review_text", "review_audio"]
    chance, oracle = (metrics["views"]["warm"]["models"][name]["ndcg@10"] for name in ("random", "oracle"))
    assert oracle["value"] > chance["value"]


def test_the_split_holds_what_others_need_for_the_same_figures(walk: Walk) -> None:
    history, ground_truth = (
        pl.read_parquet(walk.run / "split" / f"{name}.parquet", glob=False)
        for name in ("history", "ground_truth")
    )
    assert not set(history["row"]) & set(ground_truth["row"])
    assert ground_truth["positive"].all()
    latest = history.group_by("user_id").agg(pl.col("timestamp").max())
    joined = ground_truth.join(latest, on="user_id", suffix="_before")
    assert (joined["timestamp"] >= joined["timestamp_before"]).all()


def test_every_fit_and_the_test_were_audited_for_leaks(walk: Walk) -> None:
    audits = read_audits(walk.run / "audit.json")
    assert set(audits) == {"main", "refit", "test"}
    assert all(audit.checked and not audit.not_checked for audit in audits.values())
    assert (
        "Audited for leaks, none found: every event is in one part" in (walk.run / "report.html").read_text()
    )


def test_check_says_what_is_there(walk: Walk, tmp_path: Path) -> None:
    answer = recsys("check", walk.shop, "--rejected", tmp_path / "rejected.csv")
    assert answer.code == 0
    assert "sample-shop" in answer.out
    assert "spoken reviews" in answer.out
    assert "first (UTC)" in answer.out
    assert (tmp_path / "rejected.csv").read_text().startswith("table,")


def test_a_second_extraction_encodes_nothing(walk: Walk) -> None:
    again = encoded(recsys("features", walk.shop, *walk.options))
    assert set(again) == {"title", "text", "image", "review_audio", "review_text"}
    assert all(new == 0 and old > 10 for new, old in again.values())


def test_ten_new_items_are_all_that_is_encoded(walk: Walk, tmp_path: Path) -> None:
    shop, cache = tmp_path / "shop", tmp_path / "cache"
    shutil.copytree(walk.shop, shop)
    shutil.copytree(walk.cache, cache)
    items = pl.read_parquet(shop / "items.parquet")
    new = items.head(10).with_columns(
        item_id=pl.format("new-{}", "item_id"),
        title=pl.format("{} again", "title"),
        description=pl.format("Not {}", pl.col("description").fill_null("said")),
        image=pl.format("images/new-{}.png", "item_id"),
    )
    for at, name in enumerate(new["image"]):
        Image.new("RGB", (32, 32), (at, 2 * at, 3 * at)).save(shop / name)
    pl.concat([items, new]).write_parquet(shop / "items.parquet")
    answer = recsys("features", shop, "--config", walk.settings, "--cache", cache)
    counts = {name: new for name, (new, _) in encoded(answer).items()}
    assert counts == {"title": 10, "text": 10, "image": 10, "review_audio": 0, "review_text": 0}


def test_recommending_twice_gives_the_same(walk: Walk, recommended: pl.DataFrame, tmp_path: Path) -> None:
    assert recsys("recommend", walk.bundle, "--out", tmp_path / "again.parquet", "-k", K).code == 0
    assert pl.read_parquet(tmp_path / "again.parquet").equals(recommended)
    assert recommended.columns == ["user_id", "item_id", "rank", "score"]
    assert recommended["user_id"].n_unique() == 60 + len(WITHOUT_EVENTS)


def test_http_answers_with_the_lists_of_the_batch(recommended: pl.DataFrame, client: TestClient) -> None:
    lists = recommended.group_by("user_id", maintain_order=True).agg("item_id", "rank", "score")
    for user, items, ranks, scores in lists.iter_rows():
        answer = client.post("/v1/recommend", json={"user_id": user, "k": K}).json()
        assert [item["item_id"] for item in answer["items"]] == items
        assert [item["rank"] for item in answer["items"]] == ranks == list(range(1, K + 1))
        assert [item["score"] for item in answer["items"]] == pytest.approx(scores, abs=1e-4)
        assert answer["degraded"] == (["empty_history: popularity"] if user in WITHOUT_EVENTS else [])


def test_what_a_user_has_seen_is_left_out_unless_asked_for(
    walk: Walk, recommended: pl.DataFrame, tmp_path: Path
) -> None:
    seen = pl.read_csv(walk.shop / "interactions.csv", glob=False).select("user_id", "item_id").unique()
    assert recommended.join(seen, on=["user_id", "item_id"], how="semi").is_empty()
    out = tmp_path / "seen.parquet"
    assert recsys("recommend", walk.bundle, "--out", out, "-k", 60, "--no-exclude-seen").code == 0
    assert pl.read_parquet(out).join(seen, on=["user_id", "item_id"], how="semi").height == seen.height


def test_candidates_restrict_the_catalogue(walk: Walk, tmp_path: Path) -> None:
    named = Bundle.open(walk.bundle).catalogue["item_id"].to_list()[::6]
    (tmp_path / "candidates.txt").write_text("\n".join(named))
    out = tmp_path / "few.parquet"
    answer = recsys("recommend", walk.bundle, "--out", out, "--candidates", tmp_path / "candidates.txt")
    assert answer.code == 0, answer.err
    found = pl.read_parquet(out)
    assert set(found["item_id"]) <= set(named)
    assert found["item_id"].n_unique() > 3


def test_named_users_alone_and_unknown_ones_with_what_is_popular(walk: Walk, tmp_path: Path) -> None:
    (tmp_path / "users.txt").write_text("U00003\nnobody\n")
    out = tmp_path / "two.parquet"
    answer = recsys("recommend", walk.bundle, "--out", out, "--users", tmp_path / "users.txt", "-k", 3)
    said = " ".join(answer.out.split())
    assert "6 recommendations for 2 users" in said
    assert "unknown users: 1" in said
    catalogue = Bundle.open(walk.bundle).catalogue
    best = catalogue.sort("popularity", descending=True, maintain_order=True)["popularity"][:3].to_list()
    popular = pl.read_parquet(out).filter(pl.col("user_id") == "nobody").join(catalogue, on="item_id")
    assert popular.sort("rank")["popularity"].to_list() == best


def test_show_tells_titles_and_reasons(walk: Walk) -> None:
    answer = recsys("show", walk.bundle, "--user", "U00003", "-k", 4)
    assert answer.code == 0, answer.err
    assert "Recommended to U00003" in answer.out
    assert answer.out.count("because you chose") == 4


def test_evaluating_again_gives_the_same_figures(walk: Walk) -> None:
    before = (walk.run / "metrics.json").read_text()
    with every_ranker_helps():
        answer = recsys("evaluate", walk.run, "--metrics", "map@10,coverage@10", "--slices")
    assert answer.code == 0, answer.err
    assert (walk.run / "metrics.json").read_text() == before
    main, others = answer.out.index("ndcg@10"), answer.out.index("coverage@10")
    assert main < others < answer.out.index("hot items: ") < answer.out.index("heavy users: ")


def test_knocking_out_again_gives_the_same_figures(walk: Walk) -> None:
    assert "Knock-outs: change of recall@20" in walk.answer.out
    before = (walk.run / "knockouts.json").read_text()
    with every_ranker_helps():
        answer = recsys("knockouts", walk.run)
    assert answer.code == 0, answer.err
    assert (walk.run / "knockouts.json").read_text() == before
    table = {line.split("│")[1].strip() for line in answer.out.splitlines() if line.startswith("│")}
    assert table >= {"title", "text", "image", "review_audio", "id", "texts"}
    knockouts = Knockouts.load(walk.run / "knockouts.json")
    assert knockouts is not None
    said = " ".join(answer.out.split())
    for target in knockouts.groups:
        (sentence,) = [each.text for each in contributions(knockouts) if each.group == target]
        assert " ".join(sentence.split()) in said
        for view, whole in knockouts.views.items():
            if whole.num_users:
                assert verdict_by_hand(knockouts, target, view) in sentence


def verdict_by_hand(knockouts: Knockouts, target: str, view: str) -> str:
    """The words that the sentence of a group must contain for the view, from the intervals."""
    absent = knockouts.of(target, "absent").views[view]["recall@20"].change
    shuffled = knockouts.of(target, "shuffled").views[view]["recall@20"].change
    whole = knockouts.views[view]
    gains = absent.low > 0 or shuffled.low > 0
    if whole.metrics["recall@20"].value == 0 and not gains:
        return "the full model has no hit"
    if whole.num_users < 30:
        return "fewer than 30 users"
    if absent.high < 0 or shuffled.high < 0:
        return "both help and harm" if gains else " help "
    return " harm " if gains else "contribute nothing"


def test_baselines_alone_print_what_they_are_asked_for(walk: Walk, tmp_path: Path) -> None:
    asked = ("--metrics", "coverage@10", "--slices")
    answer = recsys("baselines", walk.shop, "--out", tmp_path / "base", *walk.options, *asked)
    assert answer.code == 0, answer.err
    main, others = answer.out.index("ndcg@10"), answer.out.index("coverage@10")
    assert main < others < answer.out.index("hot items: ") < answer.out.index("heavy users: ")
    evaluation = Evaluation.from_json((tmp_path / "base" / "metrics.json").read_text())
    assert "ild@20" in evaluation.views["warm"].models["popularity"]
    message = refused(
        "baselines", walk.shop, "--out", tmp_path / "typo", *walk.options, "--metrics", "ndgc@10"
    )
    assert "unknown metric 'ndgc@10'" in message


def test_an_ablation_of_the_shop(walk: Walk, tmp_path: Path) -> None:
    asked = ("--seeds", 1, "--options", "mean-fusion", "--metrics", "ndcg@20", "--set", "train.epochs=1")
    answer = recsys("ablate", walk.shop, "--out", tmp_path, *walk.options, *asked)
    assert answer.code == 0, answer.err
    assert "Ablation: ndcg@20" in answer.out
    assert "Towers alone, one seed." in answer.out
    found = json.loads((tmp_path / "ablation.json").read_text())
    assert [row["name"] for row in found["rows"]] == ["as configured", "mean-fusion"]
    assert (tmp_path / "ablation.md").exists()


def test_an_interrupted_run_goes_on_to_the_same_end(walk: Walk, tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = ("train", walk.shop, "--out", out, *walk.options, "--set", "track.enabled=false")
    with interrupted_after(epoch=2):
        answer = recsys(*command)
    assert answer.code == 130
    assert "the same command continues from here" in answer.err
    stopped = torch.load(out / "checkpoints" / "main.pt", weights_only=True)
    assert stopped["state"]["epoch"] == 2
    with interrupted_after(epoch=2):  # never comes again: training starts with epoch 3
        assert recsys(*command).code == 0
    whole, resumed = (
        torch.load(run / "checkpoints" / "main.pt", weights_only=True) for run in (walk.run, out)
    )
    assert resumed["state"]["curve"] == whole["state"]["curve"]
    assert resumed["state"]["epoch"] == 3
    first, second = whole["parts"][0], resumed["parts"][0]
    assert all(torch.equal(second[name], first[name]) for name in first)


def test_a_finished_bundle_is_exported_again_only_where_it_is_damaged(
    walk: Walk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second export takes the graphs of the first, since they take most of its time."""

    def copy_graph(graph: Graph, path: Path) -> None:
        (found,) = walk.bundle.rglob(path.name)
        shutil.copyfile(found, path)

    monkeypatch.setattr(training.export.graph_files, "write_graph", copy_graph)
    monkeypatch.setattr(training.alignment.fit, "write_graph", copy_graph)
    run = tmp_path / "run"
    shutil.copytree(walk.run, run)
    version, written = Bundle.open(run / "bundle").version, (run / "bundle" / "manifest.json").stat().st_ino
    export = ("export", run, "--dataset", walk.shop)
    with every_ranker_helps():
        assert recsys(*export).code == 0
        assert (run / "bundle" / "manifest.json").stat().st_ino == written
        (run / "bundle" / "item_ids.npy").write_bytes(b"damaged")
        assert recsys(*export).code == 0
    assert Bundle.open(run / "bundle").version != version


def test_a_run_of_another_configuration_is_refused(walk: Walk) -> None:
    answer = recsys("train", walk.shop, "--out", walk.run, *walk.options, "--set", "train.epochs=9")
    assert answer.code == 1
    assert f"{walk.run} contains a run of {walk.shop.name} with other settings than" in answer.err
    assert "train.epochs = 9; name another --out" in answer.err
    assert "Traceback" not in answer.err


def test_an_evaluation_as_a_frame(walk: Walk) -> None:
    evaluation = Evaluation.from_json((walk.run / "metrics.json").read_text())
    frame = describe(evaluation)
    assert frame.columns == ["view", "model", "metric", "value", "low", "high"]
    flat = {f"{view}/{model}/{metric}": value for view, model, metric, value, *_ in frame.iter_rows()}
    assert evaluation.search is not None
    assert flat | evaluation.search.flat() == evaluation.flat()


def test_the_bundle_searches_with_the_settings_that_evaluation_measured(walk: Walk) -> None:
    kept = json.loads((walk.run / "search_settings.json").read_text())["settings"]
    manifest = json.loads((walk.run / "bundle" / "manifest.json").read_text())
    assert manifest["search"] == kept
    assert kept["fusion_reason"], "validation reviews were asked"
    assert "validation queries of known users" in kept["personal_reason"]
    assert not kept["personal_reason"].startswith("0: 0 "), "cross-fitted rankers have asked, too"


def test_an_interval_is_that_of_users_drawn_again(walk: Walk) -> None:
    """Recall counted from the kept answers, and users drawn with another seed."""
    table = pl.read_parquet(walk.run / "predictions.parquet", glob=False).filter(
        pl.col("ground_truth_warm").list.len() > 0
    )
    lists = table.select("ground_truth_warm", "recsys").cast(pl.List(pl.String)).iter_rows()
    recall = np.array([len({*sought} & {*(found or [])}) / len(sought) for sought, found in lists])
    drawn = recall[np.random.default_rng(1).integers(len(recall), size=(4000, len(recall)))].mean(1)
    evaluation = Evaluation.from_json((walk.run / "metrics.json").read_text())
    estimate = evaluation.views["warm"].models["recsys"]["recall@20"]
    assert estimate.value == pytest.approx(recall.mean())
    low, high = np.quantile(drawn, (0.025, 0.975))
    assert high - low > 0.02
    assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=(high - low) / 5)


class TestMistakes:
    """One clear message, exit code 1, and nothing written."""

    def test_an_unknown_user(self, walk: Walk) -> None:
        assert "unknown user 'nobody'" in refused("show", walk.bundle, "--user", "nobody")

    def test_candidates_that_are_not_in_the_catalogue(self, walk: Walk, tmp_path: Path) -> None:
        (tmp_path / "few.txt").write_text("P0001\nunheard-of\n")
        out = tmp_path / "out.parquet"
        message = refused("recommend", walk.bundle, "--out", out, "--candidates", tmp_path / "few.txt")
        assert "line 2: unknown item 'unheard-of'" in message
        assert not out.exists()

    def test_no_items_at_all(self, walk: Walk, tmp_path: Path) -> None:
        assert "at least 1" in refused("recommend", walk.bundle, "--out", tmp_path / "out.parquet", "-k", 0)

    def test_a_metric_that_is_not_measured(self, walk: Walk) -> None:
        message = refused("evaluate", walk.run, "--metrics", "ndgc@10")
        assert "unknown metric 'ndgc@10'; did you mean 'ndcg@10'?" in message

    def test_an_altered_bundle(self, walk: Walk, tmp_path: Path) -> None:
        shutil.copytree(walk.bundle, tmp_path / "bundle")
        manifest = json.loads((tmp_path / "bundle" / "manifest.json").read_text())
        (tmp_path / "bundle" / "maps.json").write_text("{}")
        message = refused("show", tmp_path / "bundle")
        assert "maps.json was altered" in message
        assert manifest["files"]["maps.json"] in message
