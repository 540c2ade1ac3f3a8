"""What a foreign model raises, of any kind, as one `EncoderError`: where, why and what to do. No torch."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from recsys.errors import EncoderError, RecsysError

_COLOURS = re.compile(r"\x1b\[[\d;]*m")  # the exporter writes for a terminal
ANOTHER_MODEL = "choose another model; docs/encoders.md says which are supported"


@contextmanager
def step(name: str, doing: str, remedy: str = ANOTHER_MODEL) -> Iterator[None]:
    """Whatever is raised within becomes an `EncoderError` of the model `name`; our own errors pass.

    `doing` ends the sentence "while ...". The cause is chained.
    """
    try:
        yield
    except RecsysError:
        raise
    except Exception as error:  # transformers, torch and the exporter raise of all kinds
        said = (_COLOURS.sub("", str(error)).strip().splitlines() or ["no message"])[0]
        raise EncoderError(
            f"{name!r}: failed while {doing}: {type(error).__name__}: {said[:300]}; {remedy}"
        ) from error
