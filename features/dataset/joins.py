"""Ids that join two tables: which find no partner, and in what other form they would.

Ids are equal only character by character. A near miss is an id that is unknown as it is written and known
once leading zeros, case, white space or the Unicode normalisation are left out of account.
"""

from collections.abc import Callable
from functools import cached_property

import polars as pl

from features.dataset.table_checker import TableChecker

NEAR_SCHEMA = {"id": pl.String, "known": pl.String, "form": pl.String}


def _without_zeros(text: pl.Expr) -> pl.Expr:
    return text.str.replace(r"^0+(.)", "$1")


def _without_blanks(text: pl.Expr) -> pl.Expr:
    return text.str.replace_all(r"\s+", "")


def _folded(text: pl.Expr) -> pl.Expr:
    return _without_zeros(_without_blanks(text.str.normalize("NFC").str.to_lowercase()))


# What the two ids differ in -> the part of an id that counts when this is left out of account.
FORMS: dict[str, Callable[[pl.Expr], pl.Expr]] = {
    "with other leading zeros": _without_zeros,
    "in another case": lambda text: text.str.to_lowercase(),
    "with other white space": _without_blanks,
    "in another Unicode normalisation": lambda text: text.str.normalize("NFC"),
    "with other leading zeros, case, white space and Unicode normalisation": _folded,
}


class KnownIds:
    """The ids of one table, to which another table refers."""

    def __init__(self, ids: pl.Series) -> None:
        self.ids = ids.cast(pl.String).drop_nulls()

    def lacks(self, ids: pl.Series) -> pl.Series:
        """Which of `ids` are not known as they are written; null where the id is."""
        return ~ids.is_in(self.ids.implode())

    def near_misses(self, ids: pl.Series) -> pl.DataFrame:
        """The distinct near misses among `ids`: columns `NEAR_SCHEMA`; `id` is near to `known`."""
        unknown = ids.cast(pl.String).drop_nulls().unique(maintain_order=True).alias("id")
        rest = unknown.filter(self.lacks(unknown)).to_frame()
        found = [pl.DataFrame(schema=NEAR_SCHEMA)]
        for form, key in FORMS.items():
            if not rest.height:
                break
            keyed = rest.with_columns(key(pl.col("id")).alias("key"))
            near = keyed.join(self._keys[form], on="key", maintain_order="left")
            found.append(near.select("id", "known", pl.lit(form).alias("form")))
            rest = rest.join(found[-1], on="id", how="anti", maintain_order="left")
        return pl.concat(found)

    @cached_property
    def _keys(self) -> dict[str, pl.DataFrame]:
        """By form: `key`, unique, and an id that has it."""
        known = pl.DataFrame({"known": self.ids})
        return {
            form: known.select(key(pl.col("known")).alias("key"), "known").unique("key", keep="first")
            for form, key in FORMS.items()
        }


def reject_near_misses(
    table: TableChecker, ids: pl.Series, column: str, known: KnownIds, what: str
) -> pl.DataFrame:
    """Reject the rows whose id is a near miss; returns `KnownIds.near_misses` of the rows that were kept."""
    near = known.near_misses(ids.filter(pl.Series(table.kept)))
    for form in near["form"].unique(maintain_order=True):
        mine = near.filter(pl.col("form") == form)["id"]
        table.reject(ids.is_in(mine.implode()), column, f"{what} {form} only; write both alike")
    return near


def reject_unknown_items(table: TableChecker, item: pl.Series, column: str, items: KnownIds | None) -> None:
    """Reject the rows whose item is not in the items' table."""
    if items is None or not len(items.ids):
        return  # the items themselves are the problem, already written down
    unknown = items.lacks(item)
    reject_near_misses(table, item.set(~unknown, None), column, items, "an item that the items table has")
    table.reject(unknown, column, "an item that the items table does not have")


class UserJoins:
    """How the users of other tables find their interactions.

    `lonely_ids` counts the ids without a partner, on both sides of each join; `warnings` names near misses.
    """

    def __init__(self, users: pl.Series | None) -> None:
        """`users` are those of the interactions; None where these cannot be read: nothing is checked then."""
        self.active = None if users is None else KnownIds(users.unique())
        self.warnings: list[str] = []
        self.lonely_ids: dict[str, int] = {}

    def check_users(self, table: TableChecker, users: pl.Series, column: str) -> None:
        """`users` are the ids of the users' table."""
        self._count(table, users, column, "rows of users", "a row")

    def check_reviewers(self, table: TableChecker, users: pl.Series, column: str) -> None:
        """`users` are the authors of the reviews.

        A review is rejected where its author is a near miss of a user with interactions: the rule that hides
        the reviews of test pairs would not find it. It is an error where most authors are near misses.
        """
        distinct = users.filter(pl.Series(table.kept)).drop_nulls().unique()
        self._count(table, distinct, column, "reviewers", "a review")
        if self.active is None:
            return
        near = reject_near_misses(table, users, column, self.active, "a user who has interactions")
        if 2 * near.height > len(distinct):
            first = near.row(0, named=True)
            table.problem(
                column,
                f"names {near.height:,} of {len(distinct):,} users {first['form']} than the interactions do, "
                f"such as {first['id']!r} for {first['known']!r}: their reviews could not be hidden from a "
                "test; write both alike",
            )

    def _count(self, table: TableChecker, ids: pl.Series, column: str, whose: str, what: str) -> None:
        if self.active is None:
            return
        alone = ids.filter(self.active.lacks(ids))
        without = int(KnownIds(ids).lacks(self.active.ids).sum())
        self.lonely_ids[f"{whose} without interactions"] = len(alone)
        self.lonely_ids[f"users of the interactions without {what}"] = without
        if len(alone) and (warning := _warning(alone, self.active, len(ids))):
            self.warnings.append(table.named(f"column {column!r}: {warning}"))


def _warning(alone: pl.Series, active: KnownIds, num_ids: int) -> str | None:
    """What to say of the ids without interactions: where any is a near miss, or all of them are alone."""
    count = f"{len(alone):,} of {num_ids:,} ids have no interactions"
    near = active.near_misses(alone)
    if near.height:
        first = near.row(0, named=True)
        return (
            f"{count}; {near.height:,} of them are written otherwise there, such as {first['id']!r}, there "
            f"{first['known']!r} {first['form']}: write both alike"
        )
    if len(alone) == num_ids:
        example = active.ids.sort().first()
        return f"{count}, such as {alone.sort()[0]!r}; the interactions have ids such as {example!r}"
    return None
