"""`python -m recsys.cli.project COMMAND ...` is `recsys COMMAND ...` for the entry points of MLproject.

MLflow fills in every parameter, so an option whose value is empty is left out, and `--set` may hold several
settings: `--set "train.epochs=3 split.seed=5"`.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from recsys.errors import ConfigError

SHOPS = Path("demo")  # sample shops that `main` makes
# A value ends at a blank; quotes and brackets hold together what is inside them.
_SETTING = re.compile(
    r"""\s*(?P<name>[\w.]+)\s*=\s*
    (?P<value>(?:"(?:\\.|[^"\\])*"|'[^']*'|\[[^\]]*\]|[^\s"'\[])*)""",
    re.VERBOSE,
)


def main() -> None:
    """Run the command of the command line; `main` makes a sample shop first if no dataset is named."""
    from recsys import cli

    name, given = sys.argv[1], sys.argv[2:]
    commands = main_commands(given) if name == "main" else [[name, *arguments(given)]]
    for command in commands:
        sys.argv = ["recsys", *command]
        try:
            cli.main()
        except SystemExit as stop:
            if stop.code:
                raise


def arguments(given: Sequence[str]) -> list[str]:
    """Options without those that are empty, and every setting after a `--set` of its own."""
    found: list[str] = []
    rest = iter(given)
    for each in rest:
        if not each.startswith("-"):
            found.append(each)
            continue
        value = next(rest)
        if each == "--set":
            found += [part for setting in settings(value) for part in ("--set", setting)]
        elif value:
            found += [each, value]
    return found


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
    """The commands of the entry point `main`, whose parameters are all options."""
    options = dict(zip(given[::2], given[1::2], strict=True))
    dataset = options.pop("--dataset")
    shop = {name: options.pop(name) for name in ("--items", "--users", "--seed")}
    commands = []
    if not dataset:
        # A shop of another size is another dataset.
        folder = SHOPS / "-".join(["shop", *(re.sub(r"\W", "_", value) for value in shop.values())])
        dataset = str(folder)
        if not (folder / "dataset.toml").exists():
            commands.append(["sample", dataset, *_pairs(shop)])
    return [*commands, ["run", dataset, *arguments(_pairs(options))]]


def _pairs(options: dict[str, str]) -> list[str]:
    return [part for pair in options.items() for part in pair]


if __name__ == "__main__":
    main()
