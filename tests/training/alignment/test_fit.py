"""The shared space as a whole: a known linear relation, missing modalities, bad input, export."""

import numpy as np
import pytest
from alignment_parts import linear_catalogue

from recsys.arrays import unit
from recsys.config import AlignmentConfig
from recsys.errors import BundleError, DataError, RequestError
from recsys.search import OnnxHeads
from training.alignment import cross_modal_recall, fit_alignment
from training.alignment import fit as fit_module
from training.alignment.views import Views

CLOSED_FORM = AlignmentConfig(method="closed_form", dim=8)


def recall_at_1(fitted, vectors, held_out):
    return cross_modal_recall(fitted, vectors, held_out)["Recall@1"].to_list()


def test_a_known_linear_relation_is_found_on_held_out_items():
    vectors = linear_catalogue(num_items=300)
    fitted = fit_alignment(vectors, CLOSED_FORM, items=np.arange(200))
    assert fitted.kinds == ("text", "image")
    assert fitted.record.method == "closed_form"
    assert min(recall_at_1(fitted, vectors, np.arange(200, 300))) > 0.9


def test_held_out_items_are_not_read():
    vectors = linear_catalogue(num_items=120)
    first = fit_alignment(vectors, CLOSED_FORM, items=np.arange(100))
    for values, _ in vectors.values():
        values[100:] = 1e6
    second = fit_alignment(vectors, CLOSED_FORM, items=np.arange(100))
    np.testing.assert_array_equal(
        *(each.project("text", vectors["text"][0][:100]) for each in (first, second))
    )


def test_items_with_a_part_of_the_modalities_join_where_they_have_a_pair():
    names = ("title", "text", "image", "review_audio")
    vectors = linear_catalogue(names, num_items=600, present={"text": 0.6, "image": 0.5, "review_audio": 0.4})
    fitted = fit_alignment(vectors, CLOSED_FORM, items=np.arange(500))
    found = cross_modal_recall(fitted, vectors, np.arange(500, 600))
    assert set(fitted.kinds) == {"text", "image", "audio"}
    assert found.height == 12
    assert found["Recall@1"].min() > 0.9


def test_the_same_seed_gives_the_same_heads():
    vectors = linear_catalogue(num_items=100, noise=1.0)
    first, second = (fit_alignment(vectors, CLOSED_FORM, seed=3) for _ in range(2))
    assert first.record == second.record
    for kind in first.kinds:
        np.testing.assert_array_equal(*(each.project(kind, vectors[kind][0][:9]) for each in (first, second)))


@pytest.mark.parametrize(
    ("vectors", "reason"),
    [
        (linear_catalogue(("title", "text")), "all vectors are of text"),
        (linear_catalogue(num_items=9), "9 items have two of text, pictures and sound; 10 are needed"),
        (linear_catalogue(present={"image": 0.0, "text": 0.0}), "no item has a vector"),
        ({}, "no item has a vector"),
    ],
)
def test_nothing_to_align(vectors, reason, tmp_path):
    fitted = fit_alignment(vectors, CLOSED_FORM)
    assert fitted.record.method == "none"
    assert fitted.record.reason.startswith("nothing to align: ")
    assert reason in fitted.record.reason
    assert (fitted.kinds, fitted.dim) == ((), 0)
    assert fitted.write(tmp_path / "heads") == {}
    assert OnnxHeads.open(tmp_path / "heads").kinds == ()
    with pytest.raises(RequestError, match="this catalogue has no shared space"):
        fitted.project("text", np.ones((1, 24), np.float32))


def test_all_problems_of_the_vectors_are_named():
    vectors = linear_catalogue(("title", "text", "image"), num_items=50)
    vectors["title"] = (vectors["title"][0][:, :5], vectors["title"][1])
    vectors["text"][0][7, 2] = np.nan
    vectors["image"] = (vectors["image"][0][:49], vectors["image"][1][:49])
    with pytest.raises(DataError) as caught:
        fit_alignment(vectors, CLOSED_FORM)
    text, image, widths = caught.value.problems
    assert text == "text: the vector of row 7 is not finite; encode the medium again or mark it missing"
    assert image == "image: 49 rows, the modality before it has 50; all have one catalogue"
    assert widths == "text: vectors of widths [5, 24]; all vectors of a kind come from one encoder"


def test_a_missing_vector_may_be_anything():
    vectors = linear_catalogue(num_items=60)
    vectors["text"][0][5], vectors["text"][1][5] = np.nan, False
    assert fit_alignment(vectors, CLOSED_FORM).kinds == ("text", "image")


SPACES = {"text": "clip@1", "image": "clip@1", "audio": None}


def test_few_validation_items_are_drawn_several_times():
    large, small = (Views.of(linear_catalogue(num_items=size)) for size in (2700, 500))
    assert [len(each.items) for each in fit_module._splits(large, 0.15, 0)[0]] == [2295, 405]
    assert len(fit_module._splits(large, 0.15, 0)) == 1
    splits = fit_module._splits(small, 0.15, 0)
    assert [len(validation.items) for _, validation in splits] == [75] * 5
    for training, validation in splits:
        assert sorted([*training.items, *validation.items]) == list(range(500))
    assert not np.array_equal(splits[0][1].items, splits[1][1].items)


class TestCommonSpace:
    """Encoders whose directories name one space."""

    def aligned(self, num_items=60, noise=0.0):
        rng = np.random.default_rng(0)
        shared = rng.standard_normal((num_items, 24))
        has = np.ones(num_items, bool)
        noisy = (shared + noise * rng.standard_normal(shared.shape)).astype(np.float32)
        return {"text": (shared.astype(np.float32), has), "image": (noisy, has)}

    def test_is_used_where_nothing_is_better(self):
        vectors = self.aligned()
        fitted = fit_alignment(vectors, CLOSED_FORM, spaces=SPACES)
        assert fitted.record.method == "encoders"
        assert set(fitted.record.scores) == {"encoders", "closed_form"}
        np.testing.assert_allclose(
            fitted.project("text", vectors["text"][0]), unit(vectors["text"][0]), atol=1e-6
        )

    def test_is_left_where_validation_improves(self):
        """The encoders claim one space, but one of them is turned."""
        turn = np.linalg.qr(np.random.default_rng(1).standard_normal((24, 24)))[0].astype(np.float32)
        vectors = self.aligned(num_items=400)
        vectors["image"] = (vectors["image"][0] @ turn, vectors["image"][1])
        assert fit_alignment(vectors, CLOSED_FORM, spaces=SPACES).record.method == "closed_form"

    def test_needs_no_pairs(self):
        vectors = self.aligned(num_items=4)
        vectors["image"][1][:3] = False
        fitted = fit_alignment(vectors, CLOSED_FORM, spaces=SPACES)
        assert (fitted.record.method, fitted.kinds, fitted.dim) == ("encoders", ("text", "image"), 24)

    def test_of_one_kind_is_none(self):
        spaces = {"text": "clip@1", "image": "clip@2"}
        fitted = fit_alignment(self.aligned(), CLOSED_FORM, spaces=spaces)
        assert fitted.record.method == "closed_form"

    def test_other_kinds_join_by_regression(self):
        vectors = self.aligned(num_items=400)
        audio = vectors["text"][0] @ np.random.default_rng(2).standard_normal((24, 30)).astype(np.float32)
        vectors["review_audio"] = (audio, vectors["text"][1])
        fitted = fit_alignment(vectors, CLOSED_FORM, items=np.arange(300), spaces=SPACES)
        assert (fitted.record.method, fitted.dim) == ("encoders", 24)
        assert min(recall_at_1(fitted, vectors, np.arange(300, 400))) > 0.9


class TestExport:
    """The walk exports heads every day, and the export compares them with torch."""

    @pytest.mark.long
    def test_graphs_equal_torch(self, tmp_path):
        vectors = linear_catalogue(("text", "image", "review_audio"), num_items=80)
        fitted = fit_alignment(vectors, CLOSED_FORM)
        parity = fitted.write(tmp_path / "heads")
        assert set(parity) == {"text", "image", "audio"}
        assert max(parity.values()) < 1e-5
        heads = OnnxHeads.open(tmp_path / "heads")
        assert (heads.kinds, heads.dim) == (("text", "image", "audio"), fitted.dim)
        for kind, name in {"text": "text", "image": "image", "audio": "review_audio"}.items():
            for rows in (1, 70):
                given = vectors[name][0][:rows]
                np.testing.assert_allclose(heads.project(kind, given), fitted.project(kind, given), atol=1e-5)

    def test_heads_that_differ_are_not_written(self, tmp_path, monkeypatch):
        fitted = fit_alignment(linear_catalogue(num_items=40), CLOSED_FORM)
        monkeypatch.setattr(fit_module, "TOLERANCE", -1.0)
        with pytest.raises(BundleError, match=r"text\.onnx: the alignment head differs from torch by"):
            fitted.write(tmp_path / "heads")
        assert list(tmp_path.iterdir()) == []
