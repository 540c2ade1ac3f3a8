"""Attention in words."""

import numpy as np
import pytest

from recsys.retrieval.explanations.attention import explain

MODALITIES = ("title", "image", "review_speech", "genres", "id")


def ask(tokens=None, attention=None, items=None):
    return explain(
        token_attention=None if tokens is None else np.array(tokens, np.float32),
        history_attention=None if attention is None else np.array(attention, np.float32),
        history_items=None if items is None else np.array(items),
        modalities=MODALITIES,
        name_of=lambda item: f"item {item}",
    )


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        ([0.1, 0.6, 0.1, 0.1, 0.1], "most telling: its picture"),
        ([0.1, 0.1, 0.6, 0.1, 0.1], "most telling: what reviewers say"),
        ([0.1, 0.1, 0.1, 0.6, 0.1], "most telling: its genres"),
        ([0.1, 0.1, 0.1, 0.1, 0.6], "most telling: who else chose it"),
    ],
)
def test_names_the_modality(tokens, text):
    assert ask(tokens).text == text


def test_an_imputed_modality_is_never_the_reason():
    attention = np.array([0.1, 0.6, 0.2, 0.1, 0.0], np.float32)
    known = {"history_attention": None, "history_items": None, "modalities": MODALITIES, "name_of": str}
    assert explain(token_attention=attention, imputed=["image"], **known).modality == "review_speech"
    assert explain(token_attention=attention, imputed=[], **known).modality == "image"
    assert explain(token_attention=attention * [0, 1, 0, 0, 0], imputed=["image"], **known) is None


def test_padding_and_unknown_items_explain_nothing():
    reason = ask(None, [0.3, 0.5, 0.2], [0, 1, 7])
    assert (reason.text, reason.past_item, reason.modality) == ('because you chose "item 7"', 7, None)
    assert ask(None, [0.5, 0.5], [0, 1]) is None


def test_attention_to_an_item_is_summed_over_its_events():
    assert ask(None, [0.3, 0.4, 0.3], [5, 6, 5]).past_item == 5


def test_no_attention_no_reason():
    assert ask() is None
    assert ask([0, 0, 0, 0, 0], [0.0], [3]) is None


@pytest.mark.parametrize(
    ("reviewers", "said"), [("praise", "reviewers praise it"), ("enthusiasm", "reviewers sound enthusiastic")]
)
def test_what_reviewers_feel_is_added_where_it_is_sure(reviewers, said):
    attention = np.array([0.1, 0.9], np.float32)
    facts = {"history_attention": None, "history_items": None, "modalities": ("title", "image")}
    reason = explain(token_attention=attention, name_of=str, reviewers=reviewers, **facts)
    assert reason.text == f"most telling: its picture; {said}"
    assert explain(token_attention=None, name_of=str, reviewers=reviewers, **facts) is None
