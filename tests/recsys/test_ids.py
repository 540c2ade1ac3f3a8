"""0 is padding, 1 is unknown, 2 is the first real id."""

from pathlib import Path

import numpy as np
import pytest

from recsys.errors import DataError
from recsys.ids import NUM_RESERVED, PAD, UNKNOWN, IdMap


@pytest.fixture
def ids() -> IdMap:
    return IdMap(["b", "a", "Ж 7"])


def test_reserved_ids() -> None:
    assert (PAD, UNKNOWN, NUM_RESERVED) == (0, 1, 2)


def test_ids_follow_the_given_order(ids: IdMap) -> None:
    assert ids.encode(["b", "a", "Ж 7"]).tolist() == [2, 3, 4]


def test_size_counts_the_reserved_rows(ids: IdMap) -> None:
    assert (ids.size, len(ids)) == (5, 3)


def test_encode_gives_unknown_for_a_stranger(ids: IdMap) -> None:
    encoded = ids.encode(["a", "nobody", ""])
    assert encoded.tolist() == [3, UNKNOWN, UNKNOWN]
    assert encoded.dtype == np.int64


def test_encode_of_nothing_is_an_empty_array(ids: IdMap) -> None:
    assert ids.encode([]).shape == (0,)


def test_get_and_contains(ids: IdMap) -> None:
    assert (ids.get("a"), ids.get("x"), "a" in ids, "x" in ids) == (3, UNKNOWN, True, False)


def test_strict_raises_with_the_nearest_id() -> None:
    ids = IdMap(["item-1", "other"])
    assert ids.strict("item-1") == 2
    with pytest.raises(DataError, match=r"'item-11'; did you mean 'item-1'\?"):
        ids.strict("item-11")


def test_strict_on_a_large_map_does_not_list_every_id() -> None:
    with pytest.raises(DataError) as caught:
        IdMap([str(number) for number in range(5_000)]).strict("zzz")
    assert len(str(caught.value)) < 500


def test_decode_inverts_encode(ids: IdMap) -> None:
    assert ids.decode(ids.encode(["Ж 7", "b"])) == ["Ж 7", "b"]
    assert ids.decode([]) == []


@pytest.mark.parametrize("reserved", [PAD, UNKNOWN])
def test_reserved_ids_have_no_name(ids: IdMap, reserved: int) -> None:
    with pytest.raises(AssertionError, match="no external id"):
        ids.decode([2, reserved])


def test_a_repeated_id_is_named() -> None:
    with pytest.raises(DataError, match="'b' occurs twice"):
        IdMap(["a", "b", "c", "b"])


@pytest.mark.parametrize("names", [[], ["a"], ["b", "a", "Ж 7", "0", " x "]])
def test_save_and_load_round_trip(tmp_path: Path, names: list[str]) -> None:
    IdMap(names).save(tmp_path / "ids.npy")
    assert IdMap.load(tmp_path / "ids.npy").external == tuple(names)


def test_a_trailing_nul_is_refused() -> None:
    with pytest.raises(DataError, match="NUL"):
        IdMap(["a\0"])


def test_an_extended_map_equals_one_of_all_names():
    first, whole = IdMap(["a", "b"]), IdMap(["a", "b", "c", "d"])
    extended = first.extended(["c", "d"])
    assert (extended.external, extended.size, "d" in extended) == (whole.external, whole.size, True)
    assert extended.encode(["a", "d", "x"]).tolist() == whole.encode(["a", "d", "x"]).tolist()
    assert "c" not in first
    for names in (["a"], ["c", "c"], ["c\0"]):
        with pytest.raises(DataError):
            first.extended(names)
