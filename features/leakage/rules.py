"""What each protocol promises, for the audit; features/splits/protocols.py is what makes it true."""

from dataclasses import dataclass

from features.splits import CONTEXT, TEST, TRAIN, UNUSED, VALIDATION

_BY_TIME = (TRAIN, VALIDATION, TEST)
_OUTSIDE_TRAINING = (VALIDATION, TEST, CONTEXT, UNUSED)


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Of one protocol.

    order         parts whose events of one user stand wholly before those of the next ones, by time and row
    for_all       the same by time alone, over all users
    hidden        parts whose items are hidden: those have no event in training, validation or context
    held          parts whose (user, item) pairs may have no readable review
    cut_off       parts whose first event of an author ends what may be read of their reviews
    derived       the cut-off hangs on how two files were cut
    """

    order: tuple[str, ...] = (TRAIN, VALIDATION)
    for_all: bool = False
    hidden: tuple[str, ...] = ()
    held: tuple[str, ...] = _OUTSIDE_TRAINING
    cut_off: tuple[str, ...] = (VALIDATION,)
    derived: bool = False


RULES = {
    "leave_one_out": Rules(order=_BY_TIME, cut_off=(VALIDATION, TEST)),
    "user_temporal": Rules(order=_BY_TIME, hidden=(UNUSED,), cut_off=(VALIDATION, TEST)),
    "global_temporal": Rules(order=_BY_TIME, hidden=(UNUSED,), for_all=True, cut_off=(VALIDATION, TEST)),
    "held_out_items": Rules(hidden=(TEST, UNUSED)),
    "predefined": Rules(held=(VALIDATION, TEST, CONTEXT), derived=True),
    "refit": Rules(held=(VALIDATION,)),
}
# A split by other hands: what holds whatever the protocol.
ANY = Rules(order=(), held=(VALIDATION, TEST, CONTEXT), cut_off=())


def rules_of(protocol: str) -> Rules:
    return RULES.get(protocol, ANY)
