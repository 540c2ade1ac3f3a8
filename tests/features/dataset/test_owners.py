"""The column of the users who alone may see an item."""

from pathlib import Path

from dataset_parts import load, problems, reasons

from recsys.columns import Columns

ROWS = "id,title,whose\n1,One,7\n2,Two,\n3,Three,8\n"


def owners(root: Path, rows: str) -> list[str | None]:
    return load(root, {"items.csv": rows}, items={"owner": "whose"}).items[Columns.OWNER].to_list()


def test_owners_are_read_as_ids_of_users(tmp_path: Path) -> None:
    assert owners(tmp_path / "numbers", ROWS) == ["7", None, "8"]
    assert owners(tmp_path / "names", ROWS.replace("7", " Ann ")) == ["Ann", None, "8"]


def test_an_item_with_a_bad_owner_is_rejected_and_not_shown_to_everybody(tmp_path: Path) -> None:
    data = load(tmp_path, {"items.csv": ROWS.replace("7", "x" * 2000)}, items={"owner": "whose"})
    assert data.items[Columns.ITEM].to_list() == ["2", "3"]
    ((table, row, column, _, reason),) = [each for each in reasons(data) if each[0] == "items"]
    assert (table, row, column) == ("items", 0, "whose")
    assert "characters" in reason


def test_without_the_role_there_is_no_column(tmp_path: Path) -> None:
    data = load(tmp_path / "a", {"items.csv": ROWS})
    owned = load(tmp_path / "b", {"items.csv": ROWS}, items={"owner": "whose"})
    assert Columns.OWNER not in data.items.columns
    assert data.fingerprint() != owned.fingerprint()
    (problem,) = problems(tmp_path / "c", {"items.csv": ROWS}, items={"owner": "who"})
    assert "who" in problem
