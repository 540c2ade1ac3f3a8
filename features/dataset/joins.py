"""Ids that join two tables: ids without a match, and ids that match when a difference is ignored.

Ids are equal only character by character. A near miss is an id that is unknown as it is written and known
when leading zeros, case, white space or the Unicode normalisation are ignored.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import polars as pl

from features.dataset.table_checker import TableChecker

NEAR_SCHEMA = {"id": pl.String, "known": pl.String, "ignored": pl.String}


def _without_zeros(text: pl.Expr) -> pl.Expr:
    return text.str.replace(r"^0+(.)", "$1")


def _without_blanks(text: pl.Expr) -> pl.Expr:
    return text.str.replace_all(r"\s+", "")


def _folded(text: pl.Expr) -> pl.Expr:
    return _without_zeros(_without_blanks(text.str.normalize("NFC").str.to_lowercase()))


# The difference between two ids -> an id without it.
DIFFERENCES: dict[str, Callable[[pl.Expr], pl.Expr]] = {
    "leading zeros": _without_zeros,
    "case": lambda text: text.str.to_lowercase(),
    "white space": _without_blanks,
    "Unicode normalisation": lambda text: text.str.normalize("NFC"),
    "leading zeros, case, white space and Unicode normalisation": _folded,
}


class KnownIds:
    """The ids of one table, to which another table refers."""

    def __init__(self, ids: pl.Series) -> None:
        self.ids = ids.cast(pl.String).drop_nulls()

    def lacks(self, ids: pl.Series) -> pl.Series:
        """Which of `ids` are not known as they are written; null where the id is."""
        return ~ids.is_in(self.ids.implode())

    def near_misses(self, ids: pl.Series) -> pl.DataFrame:
        """The distinct near misses among `ids`, with the columns `NEAR_SCHEMA`.

        `id` differs from the known id `known` only in `ignored`.
        """
        unknown = ids.cast(pl.String).drop_nulls().unique(maintain_order=True).alias("id")
        rest = unknown.filter(self.lacks(unknown)).to_frame()
        found = [pl.DataFrame(schema=NEAR_SCHEMA)]
        for ignored, key in DIFFERENCES.items():
            if not rest.height:
                break
            keyed = rest.with_columns(key(pl.col("id")).alias("key"))
            near = keyed.join(self._keys[ignored], on="key", maintain_order="left")
            found.append(near.select("id", "known", pl.lit(ignored).alias("ignored")))
            rest = rest.join(found[-1], on="id", how="anti", maintain_order="left")
        return pl.concat(found)

    @cached_property
    def _keys(self) -> dict[str, pl.DataFrame]:
        """For each difference a frame of unique keys and, for each key, a known id that has it."""
        known = pl.DataFrame({"known": self.ids})
        return {
            ignored: known.select(key(pl.col("known")).alias("key"), "known").unique("key", keep="first")
            for ignored, key in DIFFERENCES.items()
        }


def reject_near_misses(
    table: TableChecker, ids: pl.Series, column: str, known: KnownIds, difference: str
) -> pl.DataFrame:
    """Reject the rows whose id is a near miss; returns `KnownIds.near_misses` of the ids.

    The reason of a rejected row starts with `difference`.
    """
    near = known.near_misses(ids.filter(pl.Series(table.kept)))
    for ignored in near["ignored"].unique(maintain_order=True):
        near_ids = near.filter(pl.col("ignored") == ignored)["id"]
        table.reject(
            ids.is_in(near_ids.implode()), column, f"{difference} in {ignored} only; write both alike"
        )
    return near


def reject_unknown_items(table: TableChecker, item: pl.Series, column: str, items: KnownIds | None) -> None:
    """Reject the rows whose item is not in the items' table."""
    if items is None or not len(items.ids):
        return  # the problem of the table of items is already recorded
    unknown = items.lacks(item)
    reject_near_misses(
        table, item.set(~unknown, None), column, items, "an item that differs from one of the items table"
    )
    table.reject(unknown, column, "an item that the items table does not have")


class UserJoins:
    """The joins of the users of other tables with the users of the interactions.

    `unmatched_ids` counts the ids without a match, on both sides of each join; `warnings` describes near
    misses. If most users of a table are near misses, the table has a problem: its data would be lost.
    """

    def __init__(self, users: pl.Series | None) -> None:
        """`users` are the users of the interactions; None where these have a problem or do not exist.

        With None nothing is checked.
        """
        self.active = None if users is None else KnownIds(users.unique())
        self.warnings: list[str] = []
        self.unmatched_ids: dict[str, int] = {}

    def check_users(self, table: TableChecker, users: pl.Series, column: str) -> None:
        """`users` are the ids of the users' table."""
        self._check(table, users, column, _USERS)

    def check_reviewers(self, table: TableChecker, users: pl.Series, column: str) -> None:
        """`users` are the authors of the reviews.

        A review is rejected where its author is a near miss of a user with interactions: the rule that hides
        the reviews of test pairs would not find it.
        """
        distinct = users.filter(pl.Series(table.kept)).drop_nulls().unique(maintain_order=True)
        self._check(table, distinct, column, _REVIEWERS)
        if self.active is not None:
            reject_near_misses(
                table, users, column, self.active, "a user who differs from one of the interactions"
            )

    def _check(self, table: TableChecker, ids: pl.Series, column: str, words: "_Words") -> None:
        """Count the distinct `ids` without interactions; a problem where most are near misses."""
        if self.active is None:
            return
        unmatched = ids.filter(self.active.lacks(ids))
        without = int(KnownIds(ids).lacks(self.active.ids).sum())
        self.unmatched_ids[f"{words.rows} without interactions"] = len(unmatched)
        self.unmatched_ids[f"users of the interactions without {words.row}"] = without
        if not len(unmatched):
            return
        count = (
            f"column {column!r}: {len(ids) - len(unmatched):,} of {len(ids):,} {words.ids} have interactions"
        )
        near = self.active.near_misses(unmatched)
        if near.height:
            found = describe_near_misses(near, "users of the interactions")
            message = f"{count}; {found}: write both alike, {words.else_}"
            if 2 * near.height > len(ids):
                table.problem_of_table(message)
            else:
                self.warnings.append(table.named(message))
        elif len(unmatched) == len(ids):
            example = self.active.ids.sort().first()
            self.warnings.append(
                table.named(
                    f"{count} (the first is {unmatched.sort()[0]!r}, the interactions have {example!r}); "
                    "unless all of them are new, write their ids as in the interactions"
                )
            )


@dataclass(frozen=True, kw_only=True)
class _Words:
    """Words of messages about a table that names users."""

    rows: str
    row: str
    ids: str
    else_: str  # consequence of a near miss


_USERS = _Words(
    rows="rows of users", row="a row", ids="users", else_="else nothing is learned from their fields"
)
_REVIEWERS = _Words(
    rows="reviewers",
    row="a review",
    ids="reviewers",
    else_="else their reviews could not be hidden from a test",
)


def describe_near_misses(near: pl.DataFrame, whose: str) -> str:
    """Counts of the near misses by their difference from ids of `whose`, with an example each."""
    counts = near.group_by("ignored", maintain_order=True).agg(pl.len(), pl.col("id", "known").first())
    return ", ".join(
        f"{row['len']:,} differ from {whose} in {row['ignored']} only ({row['id']!r} here, {row['known']!r} "
        "there)"
        for row in counts.iter_rows(named=True)
    )
