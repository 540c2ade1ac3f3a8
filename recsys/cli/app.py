"""The application: the options that several commands have, and errors as one message."""

import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from recsys.cli.console import logged_warnings
from recsys.errors import ConfigError, RecsysError

app = typer.Typer(
    name="recsys",
    help="Multimodal recommender: from raw tables and media to ranked answers.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
WIDTH_OF_A_LOG = 120
_JOINT: set[str] = set()  # names of the commands that torchrun may start in several processes
console = Console()
stderr = Console(stderr=True)

DatasetArgument = Annotated[Path, typer.Argument(help="A folder with a dataset.toml.")]
OutOption = Annotated[Path, typer.Option("--out", help="The run directory; its folders are made.")]
ConfigOption = Annotated[Path | None, typer.Option("--config", help="A TOML file of settings.")]
PresetOption = Annotated[str, typer.Option("--preset", help="A named set of settings.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="One setting, as section.field=value; may be repeated.")
]
CacheOption = Annotated[
    Path | None, typer.Option("--cache", help="Where vectors are kept; by default in the user's cache.")
]


def main() -> None:
    """Entry point. Exit code 2 is typer's, for a command line that cannot be parsed."""
    with errors_as_messages(), logged_warnings(stderr):
        app()


@contextmanager
def errors_as_messages() -> Iterator[None]:
    """Within, an error is printed as one message with exit code 1, without a traceback."""
    try:
        yield
    except (RecsysError, FloatingPointError, OSError) as error:
        # The name of a file may have bytes that no terminal can print.
        message = _message(error).encode("utf-8", "backslashreplace").decode()
        stderr.print("[bold red]error:[/]", end=" ", highlight=False)
        stderr.print(message, markup=False, highlight=False, soft_wrap=True)
        sys.exit(1)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] in {"recsys", "features", "training", "serving"}:
            raise
        stderr.print(f"{error.name} is not installed; `recsys doctor` says what to install", markup=False)
        sys.exit(1)


def _message(error: Exception) -> str:
    """The error without the name of its class, and its notes; of the operating system's, file and reason."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        text = f"{error.filename}: {error.strerror}"
    else:
        text = str(error) or type(error).__name__
    return "\n".join((text, *getattr(error, "__notes__", ())))


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Register `function` as a command; its name is the function's without a final underscore."""
    name = function.__name__.rstrip("_")

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> None:
        if is_torchrun() and name not in _JOINT:
            raise ConfigError(
                f"recsys {name} runs in one process; start it without torchrun. "
                f"Several processes: {', '.join(sorted(_JOINT))}"
            )
        try:
            function(*args, **kwargs)
        except KeyboardInterrupt:  # caught here, because typer exits without a message
            stderr.print("interrupted; the same command continues from here")
            raise typer.Exit(130) from None

    return app.command(name)(call)


def joint_command(function: Callable[..., None]) -> Callable[..., None]:
    """`command` for one that torchrun may start in several processes.

    Rank 0 runs it. The other ranks join the trainings and print nothing but errors.
    """

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> None:
        if not is_torchrun():
            return function(*args, **kwargs)
        from training.fitting import dismiss, follow
        from training.ranks import ranks_of_process

        ranks = ranks_of_process()
        if ranks.rank > 0:
            logging.disable(logging.WARNING)
            warnings.simplefilter("ignore")
            follow(ranks)
        else:
            function(*args, **kwargs)
            dismiss(ranks)
        ranks.close()
        return None

    _JOINT.add(function.__name__.rstrip("_"))
    return command(call)


def is_torchrun() -> bool:
    """Whether torchrun has started several processes of this command."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def default_cache() -> Path:
    """RECSYS_CACHE, or a folder in the user's cache."""
    from features.conversion import default_cache_dir

    return default_cache_dir()
