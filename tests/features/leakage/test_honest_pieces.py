"""Correct inputs pass the audit for every protocol, in memory and from an event log."""

from dataclasses import replace
from pathlib import Path

import pytest
from leak_parts import PROTOCOLS, pieces, pieces_of, tampered
from prepared_parts import CONFIGS, nasty, streamed

from features.dataset.load import load_dataset
from features.splits.make import make_split
from features.splits.streamed import StreamedSplit
from recsys.config import Config
from training.fitting.refit import newest_events_split


@pytest.mark.parametrize("on_disk", [False, True])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_each_protocol_passes(tmp_path: Path, protocol: str, on_disk: bool) -> None:
    made = pieces(tmp_path, protocol, streamed=on_disk)
    assert isinstance(made.split, StreamedSplit) == (on_disk and protocol != "predefined")
    assert made.targets, "there is something to look at"
    assert sum(map(len, made.ground_truth.values())) >= 10
    assert 0 < made.split.reviews.height < made.dataset.reviews.height
    assert any(history.review_text for history in made.sequences.values())
    for audit in (made.fit(), made.test()):
        assert len(audit.checked) >= 3
        assert any("256 users" in words for words in audit.not_checked) == isinstance(
            made.split, StreamedSplit
        )


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("protocol", CONFIGS)
def test_nasty_logs_pass(tmp_path: Path, protocol: str, seed: int) -> None:
    """Ties, repeated events and all kinds of reviews raise no error."""
    root = nasty(tmp_path, seed)
    for dataset in (load_dataset(root), streamed(root)):
        made = pieces_of(dataset, make_split(dataset, CONFIGS[protocol], root / "parts"))
        made.fit()
        made.test()


def test_a_refit_passes(tmp_path: Path) -> None:
    made = pieces(tmp_path, "leave_one_out")
    refitted = pieces_of(made.dataset, newest_events_split(made.dataset, Config(), needs_targets=False))
    refitted.fit()


def test_the_words_say_what_was_counted_and_what_not(tmp_path: Path) -> None:
    made = pieces(tmp_path, "predefined")
    audit = made.fit()
    counts = {part: getattr(made.split, part).height for part in ("train", "validation", "test", "context")}
    assert ", ".join(f"{count} {part}" for part, count in counts.items()) in audit.checked[0]
    assert f"the {made.split.reviews.height} reviews" in audit.checked[2]
    assert not audit.not_checked
    unsaid = made.fit(split=tampered(made.split, cut=None))
    assert any("the order of the two files in time" in words for words in unsaid.not_checked)


def test_a_protocol_by_other_hands_is_looked_at_as_far_as_it_goes(tmp_path: Path) -> None:
    made = pieces(tmp_path, "leave_one_out")
    audit = made.fit(split=tampered(made.split, protocol="mine"))
    assert any("has no rules for the protocol 'mine'" in words for words in audit.not_checked)


def test_given_files_without_negatives_name_every_review_rule(tmp_path: Path) -> None:
    made = pieces(tmp_path, "predefined")
    kept = made.dataset.interactions.filter("positive")
    dataset = replace(made.dataset, interactions=kept)
    split = make_split(dataset, PROTOCOLS["predefined"], tmp_path / "parts")
    assert not split.context.height
    assert not pieces_of(dataset, split).fit().not_checked
