"""The search part that a run's export writes beside the recommender."""

from dataclasses import replace

import numpy as np
import pytest
from walk_parts import Walk

from features.queries import ItemClause, TextClause
from recsys.bundle import Bundle
from recsys.ids import NUM_RESERVED
from serving.engine import Engine
from serving.search import SearchEngine, SearchRequest
from training.fitting.fit import Fitted


@pytest.fixture
def bundle(walk: Walk) -> Bundle:
    return Bundle.open(walk.bundle)


def test_the_legs_have_the_vectors_of_the_model(bundle: Bundle, refitted: Fitted) -> None:
    assert bundle.search_directory is not None
    for name, vectors in refitted.features.dense.items():
        path = bundle.search_directory / "vectors" / f"{name}.npy"
        if name == "numeric":
            assert not path.exists()
            continue
        saved = np.load(path).astype(np.float32)
        present = refitted.features.present[name]
        lengths = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)
        np.testing.assert_allclose(saved[present], (vectors / lengths)[present], atol=1e-3)
        assert not saved[~present].any()


def test_an_item_is_found_by_its_title_and_by_itself(bundle: Bundle) -> None:
    with Engine.open(bundle.path) as engine:
        search = SearchEngine.of(engine)
        titled = [at for at in range(NUM_RESERVED, bundle.item_ids.size) if engine.title(at)][:5]
        for item in titled:
            query = SearchRequest(
                clauses=(TextClause(name="q", text=engine.title(item) or ""),),
                min_relevance=0.0,
                leg_weights=dict.fromkeys(search.searcher.encoder_kinds, 0.0),  # tiny encoders mean little
            )
            assert item in [hit.item for hit in search.search(query).hits]
        like = SearchRequest(clauses=(ItemClause(name="q", item=titled[0]),), k=5)
        assert titled[0] not in [hit.item for hit in search.search(like).hits]


def test_a_known_user_gets_an_order_of_their_own(bundle: Bundle) -> None:
    with Engine.open(bundle.path) as engine:
        search = SearchEngine.of(engine)
        histories = engine.state.histories(list(engine.state.user_ids()))
        history = max(histories, key=lambda each: 0 if each is None else len(each))
        clauses = (TextClause(name="q", text="soft and warm"),)
        asked = SearchRequest(clauses=clauses, k=50, min_relevance=0.0)
        impersonal = search.search(asked)
        personal = search.search(replace(asked, history=history, personal=1.0))
        assert {hit.item for hit in personal.hits} == {hit.item for hit in impersonal.hits}
        assert [hit.item for hit in personal.hits] != [hit.item for hit in impersonal.hits]
