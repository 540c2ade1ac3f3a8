"""The tables of an evaluation for the terminal."""

import io
from collections.abc import Sequence

import pytest
from evaluation_parts import ITEMS, SEEN, TEST, Fixed, evaluated, make_split
from rich.console import Console

from recsys.errors import ConfigError
from training.evaluation.tables import metrics_table, parse_metrics, slice_tables, view_tables


class TestTable:
    MODELS = (
        Fixed("bxacy", name="main"),
        Fixed("abcxy", name="als"),
        Fixed("bacxy", name="oracle"),
        Fixed("yxcba", name="random"),
    )

    def text(self, test: Sequence[tuple[str, str]] = TEST, *, colour: bool = False) -> str:
        evaluation = evaluated(self.MODELS, split=make_split(test), items=ITEMS, seen=SEEN, ks=(2, 3))
        out = io.StringIO()
        palette = "standard" if colour else None
        console = Console(width=200, file=out, force_terminal=colour, color_system=palette, _environ={})
        console.print(metrics_table(evaluation, metrics=["recall@2"]))
        return out.getvalue()

    def test_groups_rows_and_figures(self) -> None:
        text = self.text()
        header = [line for line in text.splitlines() if "warm" in line]
        assert len(header) == 1
        assert header[0].index("warm") < header[0].index("cold_full") < header[0].index("cold_pool")
        rows = [line.split() for line in text.splitlines() if "±" in line]
        assert [row[1] for row in rows] == ["main", "als", "oracle", "chance"]
        # als answers 1 with b c and 3 with a b (all that is warm), 2 with a c; main 1 with b x, 2 with x a.
        assert [cell for cell in rows[1] if "." in cell and "±" not in cell] == ["1.0000", "0.0000", "1.0000"]
        assert [cell for cell in rows[0] if "." in cell and "±" not in cell] == ["0.7500", "0.7500", "1.0000"]

    def test_the_best_is_bold_and_a_reference_never(self) -> None:
        lines = self.text(colour=True).splitlines()
        als, oracle = (next(line for line in lines if name in line) for name in ("als", "oracle"))
        assert "\x1b[1m1.0000" in als
        assert "\x1b[1m" not in oracle

    def test_the_other_figures_in_a_table_a_view_and_a_slice(self) -> None:
        evaluation = evaluated(
            self.MODELS, split=make_split(TEST), items=ITEMS, seen=SEEN, ks=(2,), beyond_accuracy=True
        )
        out = io.StringIO()
        console = Console(width=200, file=out)
        for table in (*view_tables(evaluation, ["map@2", "ild@2"]), *slice_tables(evaluation, ["arp@2"])):
            console.print(table)
        for table in slice_tables(evaluation):
            console.print(table)
        text = out.getvalue()
        assert text.index("warm: 2 users, 3 pairs, 5 items ranked") < text.index("cold_pool: 2 users")
        assert "tail items: 2 users" in text
        assert "hot items: " not in text, "no user counts in it"
        (row, *_) = (line for line in text.splitlines() if "map@2" in line)
        assert [cell for cell in row.split() if "." in cell and "±" not in cell][:2] == ["0.7500", "1.0000"]
        (row, *_) = (line for line in text.splitlines() if "ild@2" in line)
        assert row.count("–") == 4, "no item has content"
        assert text.index("Slices by items") < text.index("Slices by users")
        assert "tail: other warm items" in " ".join(text.split())

    def test_names_of_metrics(self) -> None:
        assert parse_metrics("map@2, coverage@3,map@2", (2, 3)) == ("map@2", "coverage@3")
        assert len(parse_metrics("all", (2, 3))) == 20
        with pytest.raises(ConfigError, match="unknown metric 'ndgc@2'; did you mean 'ndcg@2'"):
            parse_metrics("ndgc@2", (2,))

    def test_views_without_users_are_left_out_and_named(self) -> None:
        text = self.text([("1", "b")])
        assert "cold_pool" not in text.splitlines()[2]
        assert "No user to measure on in: cold_full, cold_pool." in " ".join(text.split())
