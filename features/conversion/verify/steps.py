"""Turns errors of foreign models into an `EncoderError` with step, cause and remedy. No torch."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from recsys.errors import EncoderError, RecsysError

_COLOURS = re.compile(r"\x1b\[[\d;]*m")  # the exporter's messages have terminal colours
ANOTHER_MODEL = "choose another model; docs/encoders.md says which are supported"


@contextmanager
def step(name: str, doing: str, remedy: str = ANOTHER_MODEL) -> Iterator[None]:
    """Turns every error of the block into an `EncoderError` on the model `name`, except our own errors.

    `doing` completes the sentence "while ...". The cause is chained.
    """
    try:
        yield
    except RecsysError:
        raise
    except Exception as error:  # transformers, torch and the exporter raise errors of any class
        message = (_COLOURS.sub("", str(error)).strip().splitlines() or ["no message"])[0]
        raise EncoderError(
            f"{name!r}: failed while {doing}: {type(error).__name__}: {message[:300]}; {remedy}"
        ) from error
