"""The command line's edges: mistakes are one clear message and exit code 1, and nothing heavy loads early."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dataset_parts import write
from tiny_encoders import write_tiny_text
from walk_parts import recsys, refused

from features.conversion import EMBEDDED
from features.encoders.encoder import Encoder
from recsys import cli

COMMANDS = {
    "sample", "import", "check", "ingest", "prepare", "features", "train", "evaluate", "export", "report",
    "run", "baselines", "knockouts", "ablate", "backtest", "track",
    "recommend", "index", "search", "serve", "key", "show", "demo", "doctor", "convert",
    "publish", "versions", "rollback", "prune",
}  # fmt: skip


def test_every_command_is_there_and_says_what_it_does() -> None:
    named = {info.name: info.callback for info in cli.app.registered_commands}
    assert set(named) == COMMANDS
    assert all(callback is not None and callback.__doc__ for callback in named.values())
    answer = recsys("--help")
    assert answer.code == 0
    assert all(name in answer.out for name in COMMANDS)


def test_the_command_line_itself_loads_no_heavy_library() -> None:
    code = (
        "import sys, recsys.cli; print(*sorted({'torch', 'mlflow', 'polars', 'fastapi'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""


def test_a_folder_that_is_no_dataset(tmp_path: Path) -> None:
    message = refused("check", tmp_path)
    assert "DataError" not in message, "the class is no help to a user"
    assert f"no dataset.toml in {tmp_path}" in message


def test_a_dataset_that_breaks_the_contract(tmp_path: Path) -> None:
    write(tmp_path, {"events.csv": "user,item\na,1\n"})
    assert "[interactions] events.csv: no column 'time'; known: item, user" in refused("check", tmp_path)


def test_what_was_rejected_is_counted_with_an_example(tmp_path: Path) -> None:
    write(tmp_path, {"events.csv": "user,item,time\na,1,10\na,[9],20\na,[9],30\n,2,40\n"})
    answer = recsys("check", tmp_path)
    assert answer.code == 0
    rows = answer.out[answer.out.index("Rejected") :]
    assert "interactions.item" in rows
    assert "empty id" in rows
    assert "row 1:" in rows
    assert "'[9]'" in rows


def test_convert_without_a_name_lists_the_embedded_encoders() -> None:
    answer = recsys("convert")
    assert answer.code == 0
    assert all(name in answer.out for name in EMBEDDED)


def test_convert_says_what_came_of_it(tmp_path: Path) -> None:
    encoder = write_tiny_text(tmp_path / "mine")
    answer = recsys("convert", encoder, "--kind", "text", "--out", tmp_path / "copy")
    assert answer.code == 0
    assert "tiny-text" in answer.out
    assert Encoder.load(tmp_path / "copy").dim == 2


def test_convert_refuses() -> None:
    assert "--kind 'smell': must be text, image or audio" in refused(
        "convert", "minilm-l6", "--kind", "smell"
    )
    assert "did you mean 'minilm-l6'?" in refused("convert", "minilm-l7")


def test_a_message_is_not_broken_into_lines(tmp_path: Path) -> None:
    """A path that is cut by the width of a terminal cannot be copied."""
    folder = tmp_path / "-".join(["long"] * 30)
    folder.mkdir()
    assert str(folder) in refused("check", folder)


def test_what_looks_like_markup_in_a_message_is_kept(tmp_path: Path) -> None:
    folder = tmp_path / "[red]shop"
    folder.mkdir()
    assert str(folder) in refused("check", folder)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "train.epoch=3"], "did you mean 'train.epochs'?"),
        (["--set", "train.epochs"], "write it as name=value"),
        (["--set", "train.epochs=0"], "train.epochs = 0"),
        (["--preset", "fats"], "did you mean 'fast'?"),
        (["--config", "nowhere.toml"], "no configuration file at nowhere.toml"),
    ],
)
def test_a_setting_that_cannot_be(tmp_path: Path, arguments: list[str], said: str) -> None:
    assert said in refused("train", write(tmp_path, {}), "--out", tmp_path / "run", *arguments)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--items", "3"], "num_items = 3: must be between 20"),
        (["--set", "colour=3"], "unknown sample option 'colour'"),
        (["--set", "num_items='many'"], "num_items = 'many': must be a whole number"),
    ],
)
def test_a_shop_that_cannot_be(tmp_path: Path, arguments: list[str], said: str) -> None:
    assert said in refused("sample", tmp_path / "shop", *arguments)
    assert not (tmp_path / "shop").exists()


def test_a_shop_is_never_written_over_something(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    assert "not an empty folder" in refused("sample", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_unknown_layout(tmp_path: Path) -> None:
    assert "did you mean 'movielens'?" in refused("import", "movielense", tmp_path, tmp_path / "out")


def test_an_option_of_another_layout(tmp_path: Path) -> None:
    said = refused("import", "hm", tmp_path, tmp_path / "out", "--core", 5)
    assert "--core does not fit the layout 'hm', which has no option" in said
    said = refused("import", "movielens", tmp_path, tmp_path / "out", "--category", "Books")
    assert "--category does not fit the layout 'movielens', which has --positive" in said


def test_an_import_says_what_it_left_out_and_what_to_do_next(tmp_path: Path) -> None:
    line = '{"user_id": "%s", "parent_asin": "B1", "rating": 5, "timestamp": 1588687728923, "text": "Good"}\n'
    (tmp_path / "Books.jsonl").write_text(line % "U1" + line % "U2" + "{")
    (tmp_path / "meta_Books.jsonl").write_text('{"parent_asin": "B1", "title": "A book"}\n')
    answer = recsys("import", "amazon-2023", tmp_path, tmp_path / "out", "--positive", "rating > 4")
    assert answer.code == 0, answer
    assert "amazon-2023-Books, imported into" in answer.out
    assert "not JSON" in answer.out
    assert f"All that was rejected is in {tmp_path / 'out' / 'rejected.parquet'}" in answer.out
    assert f"Next:  recsys check {tmp_path / 'out'}" in answer.out
    assert recsys("check", tmp_path / "out").code == 0


@pytest.mark.parametrize("command", ["evaluate", "export"])
def test_a_folder_that_is_no_run(tmp_path: Path, command: str) -> None:
    assert "contains no run; make one with: recsys train" in refused(command, tmp_path)


@pytest.mark.parametrize("command", [("show",), ("serve",), ("recommend", "--out", "out.parquet")])
def test_a_folder_that_is_no_bundle(tmp_path: Path, command: tuple[str, ...]) -> None:
    assert "is no bundle: manifest.json is missing" in refused(*command, tmp_path)
    assert "there is no such folder" in refused(*command, tmp_path / "gone")
    (tmp_path / "dataset.toml").touch()
    made = f"it is a dataset: make a bundle with: recsys run {tmp_path} --out RUN, and name RUN"
    assert made in refused(*command, tmp_path)
    run = tmp_path / "run"
    run.mkdir()
    for name in ("config.toml", "dataset.json"):
        (run / name).touch()
    assert f"it is a run without a bundle: make one with: recsys export {run}" in refused(*command, run)


def test_an_unknown_device(tmp_path: Path) -> None:
    for command in (("serve",), ("recommend", "--out", "out.parquet")):
        assert "--device 'gpu': must be cpu or cuda" in refused(*command, tmp_path, "--device", "gpu")


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    write(tmp_path, {})
    message = refused("check", tmp_path, "--rejected", tmp_path / "no" / "such" / "folder.csv")
    assert "folder.csv" in message


class TestInterruption:
    def test_of_a_command(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        def stop(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("features.event_log.open_dataset", stop)
        answer = recsys("check", tmp_path)
        assert answer.code == 130
        assert answer.err == "interrupted; the same command continues from here\n"

    def test_of_a_server_is_how_it_is_stopped(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        def stop(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("serving.http.serve", stop)
        answer = recsys("serve", tmp_path)
        assert (answer.code, answer.err) == (0, "")


def test_a_library_that_is_not_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def missing(name: str) -> Callable[..., None]:
        def open_dataset(*_: object, **__: object) -> None:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

        return open_dataset

    monkeypatch.setattr("features.event_log.open_dataset", missing("torch._C"))
    assert refused("check", tmp_path) == "torch._C is not installed; `recsys doctor` says what to install\n"
    monkeypatch.setattr("features.event_log.open_dataset", missing("features.lost"))
    with pytest.raises(ModuleNotFoundError, match="lost"):  # a defect of ours, told in full
        recsys("check", tmp_path)


def test_training_that_diverges_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def diverge(*_: object, **__: object) -> None:
        raise FloatingPointError("the training loss is nan; lower train.learning_rate")

    monkeypatch.setattr("features.event_log.open_dataset", diverge)
    assert "lower train.learning_rate" in refused("check", tmp_path)


def test_the_cache_is_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "there")
    monkeypatch.delenv("RECSYS_CACHE", raising=False)
    assert cli.default_cache() == Path("there/recsys")
    monkeypatch.setenv("RECSYS_CACHE", "here")
    assert cli.default_cache() == Path("here")
    for name in ("RECSYS_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name)
    assert cli.default_cache() == Path.home() / ".cache" / "recsys"


def test_demo_walks_the_sample_shop_and_shows_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    calls: list[Any] = []

    def write_sample_shop(out: Path, *_: object, **__: object) -> None:
        calls.append(("sample", out))
        out.mkdir(parents=True)
        (out / "dataset.toml").write_text("")

    monkeypatch.setattr("features.sample.write_sample_shop", write_sample_shop)
    monkeypatch.setattr(
        cli.runs, "_run_all", lambda dataset, out, *rest: calls.append(("walk", dataset, out, rest))
    )
    monkeypatch.setattr(cli.bundles, "show", lambda bundle, **_: calls.append(("show", bundle)))
    for _ in range(2):
        assert recsys("demo", "--out", tmp_path, "--set", "train.epochs=1").code == 0
    settings = [*cli.runs.DEMO_SETTINGS, "train.epochs=1"]
    walked = ("walk", tmp_path / "shop", tmp_path / "run", (None, "default", settings, None))
    shown = ("show", tmp_path / "run" / "bundle")
    assert calls == [("sample", tmp_path / "shop"), walked, shown, walked, shown]
