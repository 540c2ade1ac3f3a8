"""The files of a bundle, and that a graph with other results than torch is refused."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import polars as pl
import pytest
from onnx import numpy_helper
from walk_parts import WITHOUT_EVENTS, Walk

import training.export.graph_files
from features.inputs.review_sentiment import annotate_reviewers
from recsys.bundle.load import Bundle
from recsys.errors import BundleError
from recsys.history import History
from serving.engine import Engine
from training.export.bundle import (
    MIN_AGREEMENT,
    SCORE_TOLERANCE,
    TOLERANCE,
    Provenance,
    check_parity,
    compare,
    export_bundle,
)
from training.fitting.fit import Fitted
from training.onnx_graph import Graph
from training.pipeline import Run

GRAPHS = ("item_tower", "user_tower", "ranker")
PROVENANCE = Provenance(dataset_fingerprint="f00d", refit=True, refit_description="", metrics={})


@pytest.fixture(scope="module")
def run(walked_run: Run) -> Run:
    return walked_run


@pytest.fixture
def bundle(walk: Walk) -> Bundle:
    return Bundle.open(walk.bundle)


def test_every_output_of_every_graph_was_held_against_torch(bundle: Bundle) -> None:
    parity = bundle.manifest.parity
    outputs = {f"{name}.{key}" for name in GRAPHS for key in bundle.manifest.graphs[name].outputs}
    outputs |= {each for each in parity if each.startswith("alignment.")}
    assert set(parity) == outputs | {"top10_agreement", "score_difference"}
    assert parity["top10_agreement"] >= MIN_AGREEMENT
    assert all(0 <= value <= TOLERANCE for name, value in parity.items() if name != "top10_agreement")


def test_the_served_lists_are_those_of_torch(walk: Walk, refitted: Fitted) -> None:
    with Engine.open(walk.bundle) as engine:
        users = list(engine.state.user_ids())
        known = [history for history in engine.state.histories(users) if history is not None]
        served = engine.recommend(known, 10)
    expected = refitted.recommender.recommend(known, 10)
    assert len(known) == 60 + len(WITHOUT_EVENTS)
    np.testing.assert_array_equal(served.items, expected.items)
    np.testing.assert_allclose(served.scores, expected.scores, atol=TOLERANCE)
    assert served.token_attention is not None
    assert expected.token_attention is not None
    np.testing.assert_allclose(served.token_attention, expected.token_attention, atol=TOLERANCE)


def test_the_index_holds_the_vectors_of_the_exported_graph(bundle: Bundle, refitted: Fitted) -> None:
    np.testing.assert_allclose(bundle.item_vectors, refitted.recommender.items.vectors, atol=TOLERANCE)
    np.testing.assert_array_equal(bundle.token_mask, refitted.recommender.items.token_mask)
    np.testing.assert_array_equal(bundle.trained, refitted.features.trained)
    assert bundle.item_ids.external == refitted.features.item_ids.external


def test_the_catalogue_has_the_annotation_of_its_reviewers(walk: Walk, run: Run, bundle: Bundle) -> None:
    assert bundle.reviewers == annotate_reviewers(run.dataset, run.vectors)
    assert (walk.run / "review_sentiment.json").exists()


def test_the_manifest_says_how_the_model_came_about(bundle: Bundle) -> None:
    manifest = bundle.manifest
    assert manifest.refit
    assert "events of the 50% of users on whom the ranker is trained" in manifest.refit_description
    assert "epochs, as chosen on validation" in manifest.refit_description
    assert set(manifest.metrics["views"]) == {"warm", "cold_full", "cold_pool"}
    assert manifest.config["model"]["dim"] == 16
    assert "track" not in manifest.config, "an address may hold a password"
    assert manifest.encoders == {kind: f"encoders/{kind}" for kind in ("text", "image", "audio")}
    for directory in manifest.encoders.values():
        assert (bundle.path / directory / "encoder.toml").is_file()


def test_nothing_that_is_served_names_a_path_of_this_machine(walk: Walk, bundle: Bundle) -> None:
    images = bundle.catalogue["image"].drop_nulls()
    assert len(images) > 40
    assert all((walk.shop / name).is_file() for name in images)
    assert set(bundle.catalogue["image_folder"].drop_nulls()) == {0}, "the dataset's folder"
    assert not [name for name in images if Path(name).is_absolute()]
    for name in bundle.manifest.files:
        if not name.endswith((".onnx", ".npy")):
            assert str(walk.root).encode() not in (bundle.path / name).read_bytes(), name


def test_histories_hold_what_a_refit_may_not_learn_from(walk: Walk, run: Run, refitted: Fitted) -> None:
    """At serving time every review may be read, also of the ranker's targets, which the fit left out."""
    held = pl.read_parquet(walk.run / "histories.parquet", glob=False)
    fitted_on = refitted.builder.build(run.dataset.interactions)
    count = sum(len({*each.review_text, *each.review_audio}) for each in fitted_on.values())
    assert held["review_position"].list.len().sum() > count
    assert held["item_id"].list.len().sum() == run.dataset.interactions.height


class TestRefusal:
    """Graphs that are altered after one export, since an export takes tens of seconds."""

    def export(self, target: Path, run: Run, refitted: Fitted) -> Bundle:
        known: Sequence[History] = list(refitted.builder.build(run.dataset.interactions).values())
        return export_bundle(target, refitted, run.dataset, run.config, PROVENANCE, known)

    @pytest.fixture
    def altered(self, walk: Walk, monkeypatch: pytest.MonkeyPatch) -> Any:
        def choose(wrong: str | None) -> None:
            def write(graph: Graph, path: Path) -> None:
                shutil.copyfile(walk.bundle / path.name, path)
                if path.stem == wrong:
                    alter(path)

            monkeypatch.setattr(training.export.graph_files, "write_graph", write)

        return choose

    def test_the_graphs_as_they_were_are_taken(
        self, altered: Any, tmp_path: Path, run: Run, refitted: Fitted
    ) -> None:
        altered(None)
        bundle = self.export(tmp_path / "bundle", run, refitted)
        assert bundle.manifest.parity["top10_agreement"] >= MIN_AGREEMENT
        assert [path.name for path in tmp_path.iterdir()] == ["bundle"]

    def test_a_ranker_of_blend_weight_0_is_no_part_of_a_bundle(
        self, altered: Any, tmp_path: Path, run: Run, refitted: Fitted
    ) -> None:
        altered(None)
        assert refitted.ranker is not None
        unhelpful = replace(
            refitted,
            ranker=replace(refitted.ranker, blend_weight=0.0),
            recommender=refitted.recommender.without_ranker(),
        )
        bundle = self.export(tmp_path / "bundle", run, unhelpful)
        assert bundle.graph("ranker") is None
        assert bundle.sources_directory is None
        assert set(bundle.manifest.graphs) == {"item_tower", "user_tower"}

    @pytest.mark.parametrize("wrong", GRAPHS)
    def test_a_wrong_graph_is_refused_and_nothing_is_left(
        self, altered: Any, tmp_path: Path, run: Run, refitted: Fitted, wrong: str
    ) -> None:
        altered(wrong)
        with pytest.raises(BundleError, match=f"{wrong}.* differs from torch by"):
            self.export(tmp_path / "bundle", run, refitted)
        assert list(tmp_path.iterdir()) == []

    def test_a_bundle_that_stood_there_stays(
        self, altered: Any, tmp_path: Path, run: Run, refitted: Fitted
    ) -> None:
        altered(None)
        before = self.export(tmp_path / "bundle", run, refitted)
        altered("user_tower")
        with pytest.raises(BundleError):
            self.export(tmp_path / "bundle", run, refitted)
        assert Bundle.open(tmp_path / "bundle").version == before.version
        assert [path.name for path in tmp_path.iterdir()] == ["bundle"]

    def test_an_interruption_leaves_nothing(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, run: Run, refitted: Fitted
    ) -> None:
        def stop(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(training.export.graph_files, "write_graph", stop)
        with pytest.raises(KeyboardInterrupt):
            self.export(tmp_path / "bundle", run, refitted)
        assert list(tmp_path.iterdir()) == []


def alter(path: Path) -> None:
    """Double the largest weight matrix of the graph."""
    model = onnx.load(path)
    matrices = [each for each in model.graph.initializer if len(each.dims) == 2 and each.data_type == 1]
    largest = max(matrices, key=lambda each: int(np.prod(each.dims)))
    array = numpy_helper.to_array(largest) * np.float32(2)
    largest.CopyFrom(numpy_helper.from_array(array, largest.name))
    onnx.save(model, path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ranker.score", 2 * TOLERANCE),
        ("ranker.score", float("nan")),
        ("score_difference", 2 * SCORE_TOLERANCE),
        ("score_difference", float("nan")),
        ("top10_agreement", 0.99),
    ],
)
def test_differences_out_of_tolerance_are_errors(name: str, value: float) -> None:
    good = {"top10_agreement": 1.0, "ranker.score": 0.0, "score_difference": SCORE_TOLERANCE}
    check_parity(good)
    with pytest.raises(BundleError, match="agree in 99.00%" if "top" in name else name):
        check_parity(good | {name: value})


def test_another_order_and_other_scores_are_counted(refitted: Fitted, run: Run) -> None:
    histories = list(refitted.builder.build(run.dataset.interactions).values())[:20]
    recommender = refitted.recommender
    assert compare(recommender, recommender, histories) == {"top10_agreement": 1.0, "score_difference": 0.0}

    class Shifted:
        def recommend(self, *arguments: Any) -> Any:
            found = recommender.recommend(*arguments)
            found.items[:, [0, 1]] = found.items[:, [1, 0]]
            found.scores[:, 5] += 0.5
            return found

    result = compare(recommender, Shifted(), histories)  # type: ignore[arg-type]
    assert result["top10_agreement"] == pytest.approx(0.8)
    assert result["score_difference"] == pytest.approx(0.5)
