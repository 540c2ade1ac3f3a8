"""Threads, precision and memory settings of the training process."""

import pytest

from training.runtime import keep_freed_memory


def test_memory_is_kept_where_glibc_can_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    class Library:
        def __init__(self, _: object) -> None:
            self.asked: list[tuple[int, int]] = asked

        def mallopt(self, name: int, value: int) -> int:
            self.asked.append((name, value))
            return 1

    asked: list[tuple[int, int]] = []
    monkeypatch.setattr("training.runtime.ctypes.CDLL", Library)
    monkeypatch.setattr("training.runtime.sys.platform", "linux")
    assert keep_freed_memory()
    assert sorted(asked) == [(-3, 2**30), (-1, 2**30)]
    monkeypatch.setattr("training.runtime.sys.platform", "darwin")
    assert not keep_freed_memory()
    monkeypatch.setattr("training.runtime.sys.platform", "linux")
    monkeypatch.delattr(Library, "mallopt")
    assert not keep_freed_memory(), "another C library"
