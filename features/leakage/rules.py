"""The guarantees of each protocol, as the audit checks them; features/splits/protocols.py implements them."""

from dataclasses import dataclass

from features.splits import CONTEXT, TEST, TRAIN, UNUSED, VALIDATION

_BY_TIME = (TRAIN, VALIDATION, TEST)
_OUTSIDE_TRAINING = (VALIDATION, TEST, CONTEXT, UNUSED)


@dataclass(frozen=True, kw_only=True)
class Rules:
    """The guarantees of one protocol.

    order         parts in order: each user's events of a part come before those of the next part
    for_all       the same over all users together, by time
    hidden        parts with hidden items, which have no event in training, validation or context
    held          parts whose (user, item) pairs have no review that may be read
    cut_off       parts whose first event is the author's cut-off for reviews
    derived       the cut-off depends on the order of two files in time
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
# A split of an unknown protocol: the guarantees that hold for every protocol.
ANY = Rules(order=(), held=(VALIDATION, TEST, CONTEXT), cut_off=())


def rules_of(protocol: str) -> Rules:
    return RULES.get(protocol, ANY)
