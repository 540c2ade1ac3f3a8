from pathlib import Path

import pytest

from features.dataset.schema import DatasetSpec
from recsys.errors import DataError

SMALLEST = """
name = "shop"
[items]
path = "items.csv"
id = "id"
[interactions]
path = "events.csv"
user = "user"
item = "item"
timestamp = "time"
time = "unix_s"
"""


def load(tmp_path: Path, text: str) -> DatasetSpec:
    (tmp_path / "dataset.toml").write_text(text, "utf-8")
    return DatasetSpec.load(tmp_path)


def problems(tmp_path: Path, text: str) -> tuple[str, ...]:
    with pytest.raises(DataError) as caught:
        load(tmp_path, text)
    return caught.value.problems


def test_the_smallest_file_is_enough(tmp_path: Path) -> None:
    spec = load(tmp_path, SMALLEST)
    assert spec.items.text == ()
    assert spec.interactions.positive is None
    assert spec.reviews is None


def test_a_string_is_read_as_a_list_with_one_element(tmp_path: Path) -> None:
    spec = load(tmp_path, SMALLEST.replace('id = "id"', 'id = "id"\nimage = "a"\ntext = ["b", "c"]'))
    assert spec.items.image == ("a",)
    assert spec.items.text == ("b", "c")


def test_a_byte_order_mark_is_no_problem(tmp_path: Path) -> None:
    assert load(tmp_path, "\ufeff" + SMALLEST).name == "shop"


def test_every_problem_is_reported_at_once_with_the_nearest_key(tmp_path: Path) -> None:
    text = SMALLEST.replace('id = "id"', 'id = "id"\ntitel = "t"').replace('"unix_s"', '"seconds"')
    found = problems(tmp_path, text.replace('user = "user"\n', "") + "[itmes]\n")
    assert len(found) == 4
    assert any("'items.titel'" in line and "did you mean 'title'?" in line for line in found)
    assert any("interactions.time = 'seconds'" in line and "unix_ms" in line for line in found)
    assert "interactions.user is missing" in found
    assert any("'itmes'" in line and "did you mean 'items'?" in line for line in found)


@pytest.mark.parametrize(
    "path", ["/etc/items.csv", "../other/items.csv", "https://example.org/i.csv", "C:/a.csv"]
)
def test_tables_must_lie_in_the_folder(tmp_path: Path, path: str) -> None:
    (found,) = problems(tmp_path, SMALLEST.replace("items.csv", path))
    assert path in found
    assert "inside the dataset's folder" in found


def test_positive_must_be_sql(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, SMALLEST + 'positive = "rating >>"')
    assert "interactions.positive = 'rating >>'" in found


def test_a_column_cannot_be_one_field_twice(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, SMALLEST.replace('id = "id"', 'id = "id"\ncategories = ["a", "a"]'))
    assert "'a' appears twice" in found


def test_a_review_needs_words_or_a_voice(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, SMALLEST + '[reviews]\npath = "r.csv"\nuser = "u"\nitem = "i"')
    assert "`audio`" in found


def test_dates_of_reviews_and_positions_of_events_do_not_compare(tmp_path: Path) -> None:
    reviews = '[reviews]\npath = "r.csv"\nuser = "u"\nitem = "i"\ntext = "t"\ntimestamp = "d"\ntime = "iso"'
    (found,) = problems(tmp_path, SMALLEST.replace("unix_s", "order") + reviews)
    assert "reviews.time is 'iso' but interactions.time is 'order'" in found


def test_a_folder_without_the_file_says_what_a_dataset_is(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no dataset\.toml in .*which column of which file"):
        DatasetSpec.load(tmp_path)


def test_broken_toml_says_where(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"dataset\.toml is not TOML: .*line 1"):
        load(tmp_path, "name = shop")


def test_the_documented_example_is_a_dataset(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "datasets.md").read_text("utf-8")
    (tmp_path / "dataset.toml").write_text(page.partition("```toml\n")[2].partition("```")[0], "utf-8")
    spec = DatasetSpec.load(tmp_path)
    for section, model in (("items", spec.items), ("interactions", spec.interactions), ("users", spec.users)):
        assert model is not None
        assert model.model_fields_set == set(type(model).model_fields), f"[{section}] shows every key"
    assert spec.split is not None
    assert spec.reviews is not None
