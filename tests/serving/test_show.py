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


@pytest.mark.parametrize(
    ("user", "hint"),
    [
        ("nobody", "unknown user 'nobody'; known: ann, bob, new; without --user"),
        ("anne", "unknown user 'anne'; did you mean 'ann'?"),
        ("ANN", "unknown user 'ANN'; did you mean 'ann'?"),
        ("fox", "unknown user 'fox'; this is the id of an item, and a user is needed; known: ann"),
    ],
)
def test_an_unknown_user_is_an_error_with_known_ids(engine, user, hint):
    with pytest.raises(DataError) as caught:
        shown(engine, user=user)
    assert hint in str(caught.value)


@pytest.mark.parametrize("user", [None, "ann"])
def test_a_state_without_users_is_an_error(bundle_path, shop, user):
    with pytest.raises(DataError, match="no user is known: name the file of histories with --histories"):
        shown(shop.open_engine(bundle_path, users={}), user=user)


def test_names_are_not_read_as_markup(bundle_path, shop):
    engine = shop.open_engine(bundle_path, users={"[red]eve": shop.history("ant")})
    assert "[red]eve: newest" in shown(engine)
