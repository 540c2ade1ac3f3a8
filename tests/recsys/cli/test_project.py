"""The command line as MLflow fills it in, and every entry point of MLproject against the commands."""

import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from recsys import cli
from recsys.cli.project import (
    MAIN_PARAMETERS,
    NO_DATASET,
    WHOLE_NUMBERS,
    arguments,
    main,
    main_commands,
    settings,
)
from recsys.errors import ConfigError

ROOT = Path(__file__).resolve().parents[3]
ENTRY_POINTS: dict[str, Any] = yaml.safe_load((ROOT / "MLproject").read_text("utf-8"))["entry_points"]
# A server, the terminal, the machine, encoders, and what is done to a store.
NOT_STEPS = {"serve", "show", "demo", "doctor", "convert", "versions", "rollback", "prune", "ingest", "key"}
FRACTIONS = ("days",)  # numbers that MLproject has as texts, because they may be left out or have a fraction
MAIN = ("--dataset", "/dev/null", "--out", "runs/shop", "--preset", "fast", "--config", "",
        "--set", "", "--cache", "", "--items", "30", "--users", "40", "--seed", "0")  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("train.epochs=3", ["train.epochs=3"]),
        ("  train.epochs=3   split.seed=5 ", ["train.epochs=3", "split.seed=5"]),
        ("train.epochs = 3\nsplit.seed=5", ["train.epochs=3", "split.seed=5"]),
        ("model.cold_ranks=[3, 6, 9] train.seed=1", ["model.cold_ranks=[3, 6, 9]", "train.seed=1"]),
        (
            "encoders.text='my folder' split.seed=5",
            ["encoders.text='my folder'", "split.seed=5"],
        ),
        ("track.uri='a b=c' train.seed=1", ["track.uri='a b=c'", "train.seed=1"]),
        ('track.uri="a \\" b=c" train.seed=1', ['track.uri="a \\" b=c"', "train.seed=1"]),
        ("track.uri=http://a/?b=c train.seed=1", ["track.uri=http://a/?b=c", "train.seed=1"]),
        ('evaluate.baselines=["content (title)", "als"]', ['evaluate.baselines=["content (title)", "als"]']),
    ],
)
def test_settings_are_told_apart(text: str, expected: list[str]) -> None:
    assert list(settings(text)) == expected


@pytest.mark.parametrize("text", ["train.epochs", "3", "train.epochs=3 'x", "a=[1", "=3"])
def test_what_is_no_setting_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"is no setting; write section\.field=value"):
        list(settings(text))


@pytest.mark.parametrize("text", ["train.epochs=2 foo", "foo train.epochs=2", "a=1 foo b=2"])
def test_a_word_without_a_value_is_named(text: str) -> None:
    with pytest.raises(ConfigError, match=r"set = '.*': 'foo' is no setting"):
        list(settings(text))


def test_empty_options_are_left_out() -> None:
    given = ["shop", "--out", "run", "--config", "", "--set", "train.epochs=3 split.seed=5", "--cache", ""]
    expected = ["shop", "--out", "run", "--set", "train.epochs=3", "--set", "split.seed=5"]
    assert arguments("run", given) == expected


def test_main_makes_a_shop_once_and_runs_on_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shop = str(Path("demo", "shop-30-40-0"))
    walk = ["run", shop, "--out", "runs/shop", "--preset", "fast"]
    sample = ["sample", shop, "--items", "30", "--users", "40", "--seed", "0"]
    assert main_commands(MAIN) == [sample, walk]
    Path(shop).mkdir(parents=True)
    Path(shop, "dataset.toml").touch()
    assert main_commands(MAIN) == [walk]


def test_main_runs_on_the_dataset_that_is_named() -> None:
    given = ["--dataset", "mine", *MAIN[2:]]
    assert main_commands(given) == [["run", "mine", "--out", "runs/shop", "--preset", "fast"]]


def refused(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *line: str) -> str:
    """The message with which an entry point ends; nothing is run."""
    monkeypatch.setattr("recsys.cli.main", lambda: pytest.fail("a command was run"))
    monkeypatch.setattr("sys.argv", ["project", *line])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 1
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return " ".join(said.split())


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("datset", "shop", "main has no parameter 'datset'; did you mean 'dataset'?"),
        ("volume", "11", "main has no parameter 'volume'; known: cache, config, dataset, items"),
        ("items", "12.5", "items = '12.5': must be a whole number, such as -P items=300"),
        ("users", "abc", "users = 'abc': must be a whole number"),
        ("seed", "", "seed = '': must be a whole number"),
        ("preset", "fats", "unknown preset 'fats'; did you mean 'fast'?"),
        ("config", "none.toml", "no configuration file at none.toml"),
        ("set", "train.epoch=3", "did you mean 'train.epochs'?"),
        ("set", "train.epochs", "'train.epochs' is no setting; write section.field=value"),
    ],
)
def test_a_mistake_in_a_parameter_of_main_is_refused_before_a_shop_is_made(
    name: str, value: str, expected: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = dict(zip(MAIN[::2], MAIN[1::2], strict=True)) | {f"--{name}": value}
    given = [part for pair in options.items() for part in pair]
    assert expected in refused(capsys, monkeypatch, "main", *given)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (("sample", "demo", "--items", "12.5"), "items = '12.5': must be a whole number"),
        (("ablate", "shop", "--seeds", "1e"), "seeds = '1e': must be a whole number"),
        (("recommend", "bundle", "--k", "ten"), "k = 'ten': must be a whole number"),
        (("train", "shop", "--set", "train.epochs"), "'train.epochs' is no setting"),
    ],
)
def test_a_mistake_in_a_parameter_of_a_step_is_one_message(
    line: tuple[str, ...],
    expected: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert expected in refused(capsys, monkeypatch, *line)


def test_a_whole_number_may_have_the_decimals_of_a_float() -> None:
    given = ["--items", "20.0", "--users", "-3", "--seed", "12345678901234567890"]
    assert arguments("sample", given) == ["--items", "20", *given[2:]]


def test_the_users_of_a_batch_are_no_number() -> None:
    given = ["bundle", "--users", "users.csv", "--k", "5"]
    assert arguments("recommend", given) == given


def test_the_parameters_of_main_and_the_whole_numbers_are_those_of_mlproject() -> None:
    assert tuple(ENTRY_POINTS["main"]["parameters"]) == MAIN_PARAMETERS
    assert ENTRY_POINTS["main"]["parameters"]["dataset"]["default"] in NO_DATASET
    numbers = {
        name: tuple(key for key, each in entry["parameters"].items() if type_of(each) == "float")
        for name, entry in ENTRY_POINTS.items()
    }
    assert {name: found for name, found in numbers.items() if found} == WHOLE_NUMBERS


def test_every_step_is_an_entry_point() -> None:
    commands = {info.name for info in cli.app.registered_commands}
    assert set(ENTRY_POINTS) == (commands - NOT_STEPS) | {"main"}


@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_parameters_have_types_that_mlflow_knows_and_take_settings(name: str) -> None:
    parameters = ENTRY_POINTS[name]["parameters"]
    for parameter in parameters.values():
        assert type_of(parameter) in ("string", "float", "path", "uri")
    named = cli.app.registered_commands
    command = next((info.callback for info in named if info.name == name), None)
    takes_settings = command is not None and "set_" in command.__wrapped__.__annotations__  # type: ignore[attr-defined]
    assert ("set" in parameters) == (takes_settings or name == "main")


@pytest.mark.parametrize("name", [name for name in ENTRY_POINTS if name != "main"])
@pytest.mark.parametrize("is_full", [False, True], ids=["defaults", "every parameter"])
def test_an_entry_point_is_a_command_line_that_is_understood(
    name: str, is_full: bool, tmp_path: Path
) -> None:
    entry = ENTRY_POINTS[name]
    values = {key: value_of(key, parameter, is_full) for key, parameter in entry["parameters"].items()}
    line = entry["command"].format(**{key: shlex.quote(value) for key, value in values.items()})
    launcher = shlex.split(line)[:3]
    assert launcher == ["bash", "scripts/project", name]
    group = typer.main.get_command(cli.app)
    command = group.commands[name]  # type: ignore[attr-defined]
    context = command.make_context(name, arguments(name, shlex.split(line)[3:]))
    if is_full and "set" in values:
        assert context.params["set_"] == ["a.b=1", "c=2"]


def value_of(name: str, parameter: Any, is_full: bool) -> str:
    default = None if isinstance(parameter, str) else str(parameter["default"])
    if default is not None and not is_full:
        return default
    if name == "set":
        return "a.b=1 c=2"
    if name in FRACTIONS or type_of(parameter) == "float":
        return "3"
    return "some thing"


def type_of(parameter: Any) -> str:
    """The type of a parameter in MLproject."""
    kind: str = parameter if isinstance(parameter, str) else parameter["type"]
    return kind


def test_an_empty_path_is_named_in_place_of_the_folder_that_mlflow_makes_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = tmp_path / "tmp1" / "param_0"
    folder.mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"parameter of the type path .* is empty"):
        arguments("evaluate", [str(folder)])
    with pytest.raises(ConfigError, match=r"parameter of the type path .* is empty"):
        main_commands(["--dataset", str(folder), *MAIN[2:]])
    (folder / "dataset.toml").touch()  # downloaded
    assert arguments("evaluate", [str(folder)]) == [str(folder)]
