"""Packages that a machine with its own PyTorch may lack; `provide` puts something in their place.

Two packages have a stand-in that works, because the models cannot be built without them: TorchRec (its
unsharded collections are torch's own embeddings) and pydantic (a configuration that was validated when the
folder was prepared). Any other package of `PLACEHOLDERS` can be imported and not used: calling anything in it
raises `ModuleNotFoundError`. A package that is installed is always the one that is used.
"""

import importlib
import importlib.util
import sys
from collections.abc import Collection, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Never

STAND_INS = ("pydantic", "torchrec")
PLACEHOLDERS = (
    "av", "faiss", "fbgemm_gpu", "implicit", "mlflow", "onnx", "PIL", "polars", "scipy", "threadpoolctl",
    "tokenizers", "tomli_w", "transformers",
)  # fmt: skip


class Absent:
    """A name of a package that is not installed: it may stand in an annotation, and cannot be called."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> "Absent":
        if name.startswith("__"):
            raise AttributeError(name)
        return Absent(f"{self._name}.{name}")

    def __call__(self, *_: object, **__: object) -> Never:
        package = self._name.partition(".")[0]
        raise ModuleNotFoundError(f"{self._name} was called, and {package} is not installed", name=package)

    def __or__(self, _: object) -> "Absent":
        return self

    __ror__ = __getitem__ = __or__

    def __mro_entries__(self, _: object) -> tuple[type, ...]:
        return ()


class _Loader(Loader):
    """Gives a module whose names are `Absent`, or those of a stand-in."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module, package = ModuleType(spec.name), spec.name.partition(".")[0]
        module.__path__ = []  # so that `import package.part` is asked of this finder as well
        if package in STAND_INS:
            vars(module).update(_names(importlib.import_module(f"{__name__}.{package}")))
        if (
            package not in STAND_INS or package != spec.name
        ):  # of a stand-in, only its parts have absent names
            module.__getattr__ = _absent_names(spec.name)  # type: ignore[method-assign]
        return module

    def exec_module(self, module: ModuleType) -> None: ...


def _names(stand_in: ModuleType) -> dict[str, Any]:
    return {name: value for name, value in vars(stand_in).items() if not name.startswith("__")}


def _absent_names(package: str) -> Any:
    def find(name: str) -> Absent:
        if name.startswith("__"):
            raise AttributeError(name)
        return Absent(f"{package}.{name}")

    return find


class Finder(MetaPathFinder):
    """Answers for the packages `missing`, and for no optional part of a package that is installed."""

    def __init__(self, missing: Collection[str]) -> None:
        self.missing = missing

    def find_spec(self, name: str, path: Sequence[str] | None, target: object = None) -> ModuleSpec | None:
        if name.partition(".")[0] in self.missing:
            return ModuleSpec(name, _Loader(), is_package=True)
        return None


def provide() -> dict[str, str]:
    """Put stand-ins and placeholders in place; the packages that lack, and what is there instead."""
    instead = {name: "stand-in" for name in STAND_INS if not is_installed(name)}
    instead |= {name: "absent" for name in PLACEHOLDERS if not is_installed(name)}
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, Finder)]
    if instead:
        sys.meta_path.append(Finder(frozenset(instead)))
    return instead


def is_installed(name: str) -> bool:
    """Whether another finder than ours has the package."""
    for finder in sys.meta_path:
        if not isinstance(finder, Finder) and (find := getattr(finder, "find_spec", None)) is not None:
            try:
                if find(name, None) is not None:
                    return True
            except ImportError:
                return False
    return False
