"""What the terminal shows of a user."""

import io

import pytest
from rich.console import Console

from recsys.errors import DataError
from serving.show import show_user


def shown(engine, **options):
    console = Console(file=io.StringIO(), width=120)
    show_user(engine, console, **options)
    return console.file.getvalue()


def test_shows_the_past_the_list_and_the_reasons(engine):
    text = shown(engine, user="ann", k=2)
    assert "ann: newest 1 of 1 events" in text
    assert "view" in text
    lines = [line for line in text.splitlines() if "because you chose" in line]
    assert ["Bee" in lines[0], "Cat" in lines[1], len(lines)] == [True, True, 2]
    assert 'because you chose "Ant"; most telling: its picture' in lines[0]


def test_without_a_name_the_longest_history_is_shown(engine):
    assert "Recommended to bob" in shown(engine)


def test_an_empty_history_is_said_to_be_one(engine):
    assert "degraded: empty_history: popularity" in shown(engine, user="new")


def test_an_unknown_user_is_an_error(engine, bundle_path, shop):
    with pytest.raises(DataError, match="unknown user 'nobody'"):
        shown(engine, user="nobody")
    with pytest.raises(DataError, match="no user"):
        shown(shop.open_engine(bundle_path, users={}))


def test_names_are_not_read_as_markup(bundle_path, shop):
    engine = shop.open_engine(bundle_path, users={"[red]eve": shop.history("ant")})
    assert "[red]eve: newest" in shown(engine)
