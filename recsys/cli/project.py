"""`python -m recsys.cli.project COMMAND ...` is `recsys COMMAND ...` for the entry points of MLproject.

MLflow fills in every parameter, so an option whose value is empty is left out, and `--set` may hold several
settings: `--set "train.epochs=3 split.seed=5"`.
"""

import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from recsys.errors import ConfigError, did_you_mean

SHOPS = Path("demo")  # sample shops that `main` makes
# MLflow appends parameters that an entry point does not have to its command, and checks no numbers.
MAIN_PARAMETERS = ("dataset", "out", "preset", "config", "set", "cache", "items", "users", "seed")
_SHOP = ("items", "users", "seed")
WHOLE_NUMBERS = {
    "main": _SHOP,
    "sample": _SHOP,
    "import": ("core",),
    "ablate": ("seeds",),
    "backtest": ("windows",),
    "knockouts": ("users",),
    "recommend": ("k",),
    "search": ("k",),
}
NO_DATASET = ("", "/dev/null")  # the default of `main`; a parameter of the type `path` has to exist
# A value ends at a blank; quotes and brackets hold together what is inside them.
_DOWNLOADED = re.compile(r"param_\d+")  # MLflow's names for what a parameter of the type `path` leads to
_SETTING = re.compile(
    r"""\s*(?P<name>[\w.]+)\s*=\s*
    (?P<value>(?:"(?:\\.|[^"\\])*"|'[^']*'|\[[^\]]*\]|[^\s"'\[])*)""",
    re.VERBOSE,
)


def main() -> None:
    """Run the command of the command line; `main` makes a sample shop first if no dataset is named."""
    from recsys import cli

    name, given = sys.argv[1], sys.argv[2:]
    with cli.errors_as_messages():
        commands = main_commands(given) if name == "main" else [[name, *arguments(name, given)]]
    for command in commands:
        sys.argv = ["recsys", *command]
        try:
            cli.main()
        except SystemExit as stop:
            if stop.code:
                raise


def arguments(name: str, given: Sequence[str]) -> list[str]:
    """Options of an entry point without those that are empty, and every setting after its own `--set`.

    Raises `ConfigError` for a number that is not whole, for a path that was given empty, and for what is no
    setting.
    """
    found, numbers = list[str](), WHOLE_NUMBERS.get(name, ())
    _check_paths(given)
    rest = iter(given)
    for each in rest:
        if not each.startswith("-"):
            found.append(each)
            continue
        value = next(rest)
        if each == "--set":
            found += [part for setting in settings(value) for part in ("--set", setting)]
        elif value:
            found += [each, _whole(each[2:], value) if each[2:] in numbers else value]
    return found


def _check_paths(given: Sequence[str]) -> None:
    """Raise `ConfigError` for a parameter of the type `path` with an empty value.

    MLflow puts the empty folder param_0, param_1, ... of a temporary folder in its place.
    """
    for each in map(Path, given):
        is_download = _DOWNLOADED.fullmatch(each.name) and Path(tempfile.gettempdir()) in each.parents
        if is_download and not (each.is_dir() and any(each.iterdir())):
            raise ConfigError(
                "a parameter of the type path (dataset, run, bundle, source, queries) is empty; name what it "
                "is to read, or leave the parameter out"
            )


def settings(text: str) -> Iterator[str]:
    """The settings of "train.epochs=3 model.cold_ranks=[3, 6]", one by one.

    Raises `ConfigError` for what is no setting.
    """
    end = 0
    text = text.strip()
    while end < len(text):
        found = _SETTING.match(text, end)
        if found is None:
            raise ConfigError(
                f"set = {text!r}: {text[end:].split()[0]!r} is no setting; write section.field=value, with "
                "blanks between settings and quotes around a value that has blanks: "
                '-P set="train.epochs=3 train.seed=1"'
            )
        yield f"{found['name']}={found['value']}"
        end = found.end()


def main_commands(given: Sequence[str]) -> list[list[str]]:
    """The commands of the entry point `main`, whose parameters are all options.

    Raises `ConfigError` for a mistake in the parameters, before any command is run.
    """
    options = dict(zip(given[::2], given[1::2], strict=True))
    for name in options:
        if name[2:] not in MAIN_PARAMETERS:
            raise ConfigError(
                f"main has no parameter {name[2:]!r}; {did_you_mean(name[2:], MAIN_PARAMETERS)}"
            )
    _check_paths([options["--dataset"]])
    dataset = options.pop("--dataset")
    shop = {name: _whole(name[2:], options.pop(name)) for name in map("--{}".format, _SHOP)}
    walk = arguments("run", _pairs(options))
    _check_settings(options, walk)
    commands = []
    if dataset in NO_DATASET:
        # A shop of another size is another dataset.
        folder = SHOPS / "-".join(["shop", *(re.sub(r"\W", "_", value) for value in shop.values())])
        dataset = str(folder)
        if not (folder / "dataset.toml").exists():
            commands.append(["sample", dataset, *_pairs(shop)])
    return [*commands, ["run", dataset, *walk]]


def _check_settings(options: Mapping[str, str], walk: Sequence[str]) -> None:
    """Raise the `ConfigError` that `recsys run` would raise for preset, file and settings."""
    from recsys.config import load_config

    overrides = [value for name, value in zip(walk[::2], walk[1::2], strict=True) if name == "--set"]
    config, preset = options["--config"], options["--preset"] or "default"
    load_config(Path(config) if config else None, preset=preset, overrides=overrides)


def _whole(name: str, value: str) -> str:
    """The whole number `value`, without the decimals of "300.0". Raises `ConfigError` for another value."""
    whole = re.fullmatch(r"\s*(-?\d+)(\.0*)?\s*", value)
    if whole is None:
        raise ConfigError(f"{name} = {value!r}: must be a whole number, such as -P {name}=300")
    return whole[1]


def _pairs(options: dict[str, str]) -> list[str]:
    return [part for pair in options.items() for part in pair]


if __name__ == "__main__":
    main()
