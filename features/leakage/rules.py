"""What each protocol promises, said once more for the audit; features/protocols.py is what makes it true."""

from dataclasses import dataclass

from features.parts import CONTEXT, NOWHERE, TEST, TRAIN, VALIDATION

_OUTSIDE_TRAINING = (VALIDATION, TEST, CONTEXT, NOWHERE)


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Of one protocol.

    order         parts whose events of one user stand wholly before those of the next ones, by time and row
    for_all       the same by time alone, over all users
    new_items     items of test events have no event in training or validation
    held          parts whose (user, item) pairs may have no readable review
    cut_off       parts whose first event of an author ends what may be read of their reviews
    derived       the cut-off hangs on how two files were cut
    """

    order: tuple[str, ...] = (TRAIN, VALIDATION)
    for_all: bool = False
    new_items: bool = False
    held: tuple[str, ...] = _OUTSIDE_TRAINING
    cut_off: tuple[str, ...] = (VALIDATION,)
    derived: bool = False


RULES = {
    "leave_one_out": Rules(order=(TRAIN, VALIDATION, TEST), cut_off=(VALIDATION, TEST)),
    "user_temporal": Rules(order=(TRAIN, VALIDATION, TEST), cut_off=(VALIDATION, TEST)),
    "global_temporal": Rules(order=(TRAIN, VALIDATION, TEST), for_all=True, cut_off=(VALIDATION, TEST)),
    "held_out_items": Rules(new_items=True),
    "given": Rules(held=(VALIDATION, TEST, CONTEXT), derived=True),
    "refit": Rules(held=(VALIDATION,)),
}
# A split by other hands: what holds whatever the protocol.
ANY = Rules(order=(), held=(VALIDATION, TEST, CONTEXT), cut_off=())


def rules_of(protocol: str) -> Rules:
    return RULES.get(protocol, ANY)
