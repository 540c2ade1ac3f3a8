"""The note of torch.fx is not logged inside of the context, other records of its logger are."""

import logging

import pytest

from recsys.progress import TRACING_NOTE, without_tracing_note


def test_only_the_note_is_left_out_and_only_inside(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("torch.fx._symbolic_trace")
    before = list(logger.filters)
    with without_tracing_note(), without_tracing_note():
        logger.warning("%s for both", TRACING_NOTE)
        logger.warning("another")
    assert [record.getMessage() for record in caplog.records] == ["another"]
    assert logger.filters == before
    logger.warning("%s for both", TRACING_NOTE)
    assert TRACING_NOTE in caplog.text


def test_an_inner_context_does_not_end_the_outer_one(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("torch.fx._symbolic_trace")
    with without_tracing_note():
        with without_tracing_note():
            pass
        logger.warning(TRACING_NOTE)
    assert not caplog.records
