from pathlib import Path

import pytest

from features.conversion import convert_missing, ensure_encoder, several
from features.encoders import Encoder, Kind
from recsys.errors import EncoderError

NAMES: dict[Kind, str] = {"text": "minilm-l6", "image": "efficientnet-lite0", "audio": "whisper-tiny.en"}


def no_progress(step: str, done: int, total: int) -> None:
    pass


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the encoders whose process was started; nothing is converted."""
    names: list[str] = []
    monkeypatch.setattr(several, "_run", lambda arguments: names.append(arguments[0]))
    return names


def test_missing_ones_are_started_and_progress_reaches_the_total(started: list[str], tmp_path: Path) -> None:
    found = tmp_path / "encoders" / "whisper-tiny.en-v2"
    found.mkdir(parents=True)
    (found / "encoder.toml").touch()
    seen: list[tuple[str, int, int]] = []
    convert_missing(
        NAMES, tmp_path, num_processes=2, progress=lambda step, done, total: seen.append((step, done, total))
    )
    assert sorted(started) == ["efficientnet-lite0", "minilm-l6"]
    step = "converting minilm-l6, efficientnet-lite0"
    assert seen == [(step, 0, 2), (step, 1, 2), (step, 2, 2)]


@pytest.mark.parametrize(
    ("names", "num_processes"),
    [
        (NAMES, 1),
        ({"text": "minilm-l6"}, 2),
        ({"text": "minilm-l6", "image": "owner/model"}, 2),
        ({"text": "minilm-l6", "image": "whisper-tiny.en"}, 2),  # of another kind
    ],
)
def test_nothing_is_started_for_one_encoder(
    names: dict[Kind, str], num_processes: int, started: list[str], tmp_path: Path
) -> None:
    convert_missing(names, tmp_path, num_processes=num_processes, progress=no_progress)
    assert started == []


def test_a_failed_process_leaves_the_error_to_ensure_encoder(tmp_path: Path) -> None:
    (tmp_path / "encoders").touch()  # a file where the folder should be
    names: dict[Kind, str] = {"text": "minilm-l6", "image": "efficientnet-lite0"}
    convert_missing(names, tmp_path, num_processes=2, progress=no_progress)
    with pytest.raises((OSError, EncoderError)):
        ensure_encoder("minilm-l6", tmp_path)


@pytest.mark.long
def test_encoders_are_those_of_one_process(tmp_path: Path) -> None:
    names: dict[Kind, str] = {"text": "minilm-l6", "image": "efficientnet-lite0"}
    convert_missing(names, tmp_path / "several", num_processes=2, progress=no_progress)
    for name in names.values():
        folder = tmp_path / "several" / "encoders" / f"{name}-v2"
        reference = ensure_encoder(name, tmp_path / "one")
        assert sorted(file.name for file in folder.iterdir()) == sorted(
            file.name for file in reference.iterdir()
        )
        for file in reference.iterdir():
            if file.name == "encoder.toml":
                continue  # holds the measured difference, whose last digits depend on the number of threads
            assert (folder / file.name).read_bytes() == file.read_bytes(), file.name
        assert Encoder.load(folder).spec.name == name
