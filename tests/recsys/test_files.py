"""A file appears whole or not at all."""

import pytest

from recsys.files import replacing


def test_what_was_written_stands_at_the_path_and_nothing_beside_it(tmp_path):
    path = tmp_path / "figures.json"
    path.write_text("before", "utf-8")
    with replacing(path) as temporary:
        temporary.write_text("after", "utf-8")
        assert path.read_text("utf-8") == "before"
    assert path.read_text("utf-8") == "after"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_leaves_what_was_there_before(tmp_path):
    path = tmp_path / "figures.json"
    path.write_text("before", "utf-8")

    def half() -> None:
        with replacing(path) as temporary:
            temporary.write_text("hal", "utf-8")
            raise ValueError("half written")

    with pytest.raises(ValueError, match="half"):
        half()
    assert path.read_text("utf-8") == "before"
