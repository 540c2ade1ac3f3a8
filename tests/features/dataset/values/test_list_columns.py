"""Lists in text columns: split where dataset.toml says how, else a warning with the line to write."""

from pathlib import Path

import polars as pl
import pytest
from dataset_parts import load, problems, reasons, write
from prepared_parts import streamed
from typer.testing import CliRunner

from features.dataset.values.list_columns import list_forms, parse_list
from recsys.cli.app import app

FORMS = {
    "a|b": "|",
    "a;b": ";",
    '"a, b"': ",",
    "\"['a', 'b']\"": "json",
    '"[""a"", ""b""]"': "json",
}


def items(text: str, column: str = "genres") -> dict[str, str | bytes]:
    return {"items.csv": f"id,title,{column}\n1,One,{text}\n2,Two,{text}\n3,Three,\n"}


@pytest.mark.parametrize(("text", "separator"), FORMS.items())
def test_a_column_that_looks_like_lists_is_a_warning_with_the_line_to_write(
    tmp_path: Path, text: str, separator: str
) -> None:
    (warning,) = load(tmp_path, items(text), items={"categories": "genres"}).warnings
    assert warning.startswith("[items] items.csv: column 'genres' looks like lists (")
    assert warning.endswith(f'write under [items] in dataset.toml: lists = {{genres = "{separator}"}}')


@pytest.mark.parametrize(("text", "separator"), FORMS.items())
def test_a_named_column_is_split(tmp_path: Path, text: str, separator: str) -> None:
    spec = {"categories": "genres", "lists": {"genres": separator}}
    dataset = load(tmp_path, items(text), items=spec)
    assert dataset.items["cat:genres"].to_list() == [["a", "b"], ["a", "b"], []]
    assert dataset.warnings == ()
    assert dataset.rejected == ()


def test_users_texts_and_paths_may_be_lists_too(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {
        "items.csv": "id,title,plot,image\n1,One,\"['x', 'y']\",1.jpg|2.jpg\n2,Two,z,1.jpg\n3,Three,,\n",
        "users.csv": "id,likes\na,tea|milk\nb,tea\n",
        "1.jpg": b"1",
        "2.jpg": b"2",
    }
    dataset = load(
        tmp_path,
        files,
        items={"text": "plot", "image": "image", "lists": {"plot": "json", "image": "|"}},
        users={"path": "users.csv", "id": "id", "categories": "likes", "lists": {"likes": "|"}},
    )
    assert dataset.items["text"].to_list() == ["x\ny", "z", None]
    assert [len(paths) for paths in dataset.items["image"].to_list()] == [2, 1, 0]
    assert dataset.users["cat:likes"].to_list() == [["tea", "milk"], ["tea"]]


def test_a_value_that_is_no_list_is_rejected_and_its_item_lives_on(tmp_path: Path) -> None:
    spec = {"categories": "genres", "lists": {"genres": "json"}}
    dataset = load(tmp_path, {"items.csv": "id,title,genres\n1,x,['a'\n2,x,b\n3,x,[{}]\n"}, items=spec)
    assert dataset.items["cat:genres"].to_list() == [[], ["b"], []]
    assert [(row, value) for _, row, _, value, _ in reasons(dataset)] == [(0, "['a'"), (2, "[{}]")]


def test_lists_names_a_column_with_a_role(tmp_path: Path) -> None:
    root = write(tmp_path, {}, items={"categories": "genres", "lists": {"genre": "|"}})
    with pytest.raises(Exception, match="no role that takes lists; did you mean 'genres'"):
        load(root, {}, items={"categories": "genres", "lists": {"genre": "|"}})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('["a","b"]', ["a", "b"]),
        ("['a','b']", ["a", "b"]),
        ("['a' 'b']", ["a", "b"]),  # as numpy prints an array
        ("['it\\'s', \"x'y\"]", ["it's", "x'y"]),
        ("[1, 2.50, 9007199254740993]", ["1", "2.5", "9007199254740993"]),
        ("['a', None, nan]", ["a"]),
        ("[]", []),
        ("rock", ["rock"]),
        ("['a', 'b'", None),
        ("[['a']]", None),
    ],
)
def test_both_bracket_forms(text: str, expected: list[str] | None) -> None:
    assert parse_list(text) == expected


@pytest.mark.parametrize(
    "names",
    [
        ["rock", "pop"],
        ["Company, Inc.", "Foo", "Bar", "Baz"],
        ["Clothing, Shoes & Jewelry", "Toys", "Home", "Books", "Toys"],
        [None, ""],
    ],
)
def test_names_are_no_lists(names: list[str | None]) -> None:
    assert list_forms(pl.Series(names, dtype=pl.String)) == []


@pytest.mark.parametrize("ending", ["jsonl", "json"])
def test_a_list_in_one_row_of_json_and_a_single_value_in_the_next(tmp_path: Path, ending: str) -> None:
    rows = [
        '{"id": 1, "title": "x", "of": ["a", "b"], "plot": "p", "year": 1.5, "at": [1, 2]}',
        '{"id": 2, "title": "y", "of": "c", "plot": ["q", "r"], "at": 9007199254740993}',
        '{"id": 3, "title": null, "of": null}',
    ]
    text = "\n".join(rows) if ending == "jsonl" else f"[{', '.join(rows)}]"
    spec = {"path": f"items.{ending}", "categories": ["of", "at"], "text": "plot", "numeric": "year"}
    dataset = load(tmp_path, {f"items.{ending}": text}, items=spec)
    assert dataset.items["cat:of"].to_list() == [["a", "b"], ["c"], []]
    assert dataset.items["cat:at"].to_list() == [["1", "2"], ["9007199254740993"], []]
    assert dataset.items["text"].to_list() == ["p", "q\nr", None]
    assert dataset.items["num:year"].to_list() == [1.5, None, None]


def test_an_object_among_lists_is_an_error_that_names_row_and_remedy(tmp_path: Path) -> None:
    text = '{"id": 1, "title": "x", "of": ["a"]}\n{"id": 2, "title": "y", "of": {"b": 1}}\n'
    (found,) = problems(tmp_path, {"items.jsonl": text}, items={"path": "items.jsonl", "categories": "of"})
    assert found.endswith("row 1: field 'of' is {\"b\": 1}; write a text or a list of texts in every row")


def test_check_shows_the_warnings_in_memory_and_streamed_alike(tmp_path: Path) -> None:
    log = "user,item,time\n1.2E+18,1,1\nb,2,2\n"
    root = write(tmp_path, items("a|b") | {"events.csv": log}, items={"categories": "genres"})
    assert len(streamed(root).warnings) == 2
    shown = [
        CliRunner().invoke(app, ["check", str(root), "--cache", str(tmp_path / "cache"), "--set", setting])
        for setting in ("data.stream_above=1000", "data.stream_above=0")
    ]
    for result in shown:
        assert result.exit_code == 0, result.output
        assert 'lists = {genres = "|"}' in result.output
        assert "numbers that a spreadsheet shortened" in result.output


@pytest.mark.parametrize("ending", ["jsonl", "json"])
@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ('"One"', '["Two", "Zwei"]', "field 'title' is"),
        ("1", '["Two"]', "field 'title' is a list"),
        ('"One"', '{"en": "Two"}', "field 'title' is"),
    ],
)
def test_a_field_of_one_value_that_is_a_list_in_one_row_is_an_error(
    tmp_path: Path, ending: str, first: str, second: str, expected: str
) -> None:
    rows = [f'{{"id": 1, "title": {first}}}', f'{{"id": 2, "title": {second}}}']
    text = "\n".join(rows) if ending == "jsonl" else f"[{', '.join(rows)}]"
    (found,) = problems(tmp_path, {f"items.{ending}": text}, items={"path": f"items.{ending}"})
    assert expected in found
    assert "row 1" in found or "line 2" in found or "entry 1" in found
    assert "write" in found


def test_a_title_in_brackets_is_a_title(tmp_path: Path) -> None:
    text = '{"id": 1, "title": "[Deluxe]"}\n{"id": 2, "title": "b"}\n{"id": 3}\n'
    dataset = load(tmp_path, {"items.jsonl": text}, items={"path": "items.jsonl"})
    assert dataset.items["title"].to_list() == ["[Deluxe]", "b", None]


MIXED = "id,title,genres\n1,One,a|b\n2,Two,\"['a', 'b']\"\n3,Three,b|c\n"


def test_of_mixed_forms_the_most_frequent_is_advised_and_the_others_are_counted(tmp_path: Path) -> None:
    advice, other = load(tmp_path, {"items.csv": MIXED}, items={"categories": "genres"}).warnings
    assert "('a|b' in row 0, 2 such rows in all)" in advice
    assert advice.endswith('lists = {genres = "|"}')
    assert other == (
        "[items] items.csv: column 'genres': 1 row (\"['a', 'b']\" in row 1): a list of another form, which "
        'lists = {genres = "|"} does not split; write all lists of a column in one form'
    )


@pytest.mark.parametrize(
    ("separator", "value", "row", "parts"),
    [
        ("|", "['a', 'b']", 1, [["a", "b"], ["['a', 'b']"], ["b", "c"]]),
        ("json", "a|b", 0, [["a|b"], ["a", "b"], ["b|c"]]),
    ],
)
def test_lists_of_another_form_than_the_named_one_are_counted(
    tmp_path: Path, separator: str, value: str, row: int, parts: list[list[str]]
) -> None:
    spec = {"categories": "genres", "lists": {"genres": separator}}
    dataset = load(tmp_path, {"items.csv": MIXED}, items=spec)
    assert dataset.items["cat:genres"].to_list() == parts
    (warning,) = dataset.warnings
    assert f"{value!r} in row {row}" in warning
    assert "a list of another form" in warning


def test_a_named_separator_that_reads_the_rarer_form_gets_the_advice_as_well(tmp_path: Path) -> None:
    text = MIXED.replace("b|c", "\"['c']\"")
    spec = {"categories": "genres", "lists": {"genres": "|"}}
    advice, other = load(tmp_path, {"items.csv": text}, items=spec).warnings
    assert "'a|b' in row 0" in other
    assert advice.endswith('lists = {genres = "json"}')
