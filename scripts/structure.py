"""Structure of the code by package: files, lines, functions, import chain, cycles, modules in one folder.

    python -m scripts.structure              # this checkout
    python -m scripts.structure OTHER        # another checkout, for a table of before and after
    python -m scripts.structure OTHER .      # both, one after the other

The import chain is the longest path of modules of one package that import each other (a cycle counts as one
module); every import counts, in functions and under TYPE_CHECKING as well. A name that an `__init__` exports
counts as imported from the module that defines it. A function's parameters include keyword-only ones, not
`self` and `cls`. Flat modules are the Python files of one folder without `__init__.py`.
"""

import argparse
import ast
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

PACKAGES = ("recsys", "features", "training", "serving")
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(kw_only=True)
class Package:
    """One package's modules, by dotted name."""

    lines: dict[str, int] = field(default_factory=dict)
    imports: dict[str, set[str]] = field(default_factory=dict)  # modules of the same package
    function_lines: list[int] = field(default_factory=list)
    num_parameters: list[int] = field(default_factory=list)
    folders: Counter[str] = field(default_factory=Counter)

    def cycles(self) -> list[list[str]]:
        """Modules that import each other in a loop, each loop once."""
        return [sorted(part) for part in components(self.imports) if len(part) > 1]

    def chain(self) -> int:
        """Number of modules on the longest path of imports."""
        parts = components(self.imports)
        of = {name: at for at, part in enumerate(parts) for name in part}
        depth: dict[int, int] = {}
        for at, part in enumerate(parts):  # a component comes after the components that it imports
            below = {of[name] for module in part for name in self.imports[module]} - {at}
            depth[at] = 1 + max((depth[other] for other in below), default=0)
        return max(depth.values(), default=0)


@cache
def parsed(text: str) -> ast.Module:
    """The syntax tree of a file's text, which nobody may change."""
    return ast.parse(text)


@cache
def measure(root: Path, name: str) -> Package:
    """The package `name` of the checkout in `root`."""
    found = Package()
    trees: dict[str, tuple[Path, ast.Module]] = {}
    for path in sorted((root / name).rglob("*.py")):
        text = path.read_text("utf-8")
        module = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
        trees[module] = path, parsed(text)
        found.lines[module] = len(text.splitlines())
        if path.name != "__init__.py":
            found.folders[path.parent.relative_to(root).as_posix()] += 1
    exported = {
        (module, name): source
        for module, (path, tree) in trees.items()
        if path.name == "__init__.py"
        for name, source in _exports(module, path, tree, trees).items()
    }
    for module, (path, tree) in trees.items():
        imported = _imported(module, path, tree, trees)
        found.imports[module] = {_home(source, name, exported) for source, name in imported} - {module}
        for node in ast.walk(tree):
            if isinstance(node, FUNCTIONS):
                assert node.end_lineno is not None
                found.function_lines.append(node.end_lineno - node.lineno + 1)
                args = node.args
                names = [arg.arg for arg in (*args.posonlyargs, *args.args, *args.kwonlyargs)]
                found.num_parameters.append(len([each for each in names if each not in ("self", "cls")]))
    return found


def _imported(
    module: str, path: Path, tree: ast.Module, known: Mapping[str, object]
) -> Iterator[tuple[str, str]]:
    """Imported modules of the same package, each with the imported name."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            source = ".".join([*base, *filter(None, [node.module])])
            for alias in node.names:
                whole = f"{source}.{alias.name}"
                if whole in known:
                    yield whole, ""
                elif source in known:
                    yield source, alias.name


def _exports(module: str, path: Path, tree: ast.Module, known: Mapping[str, object]) -> dict[str, str]:
    """Exported name of an `__init__` -> the module of the package that it comes from."""
    return {name: source for source, name in _imported(module, path, tree, known) if name}


def _home(source: str, name: str, exported: Mapping[tuple[str, str], str]) -> str:
    while (source, name) in exported:
        source = exported[source, name]
    return source


def components(imports: Mapping[str, set[str]]) -> list[list[str]]:
    """Strongly connected components, each after the components that it imports (Tarjan 1972)."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        number[name] = low[name] = len(number)
        stack.append(name)
        for other in sorted(imports[name]):
            if other not in number:
                visit(other)
            if other in stack:
                low[name] = min(low[name], low[other])
        if low[name] == number[name]:
            at = stack.index(name)
            found.append(stack[at:])
            del stack[at:]

    for name in sorted(imports):
        if name not in number:
            visit(name)
    return found


def rows(root: Path) -> Iterator[tuple[str, ...]]:
    """One row for each package, as `main` prints it."""
    for name in PACKAGES:
        package = measure(root, name)
        functions, parameters = package.function_lines, package.num_parameters
        folder, most = max(package.folders.items(), key=lambda each: (each[1], each[0]))
        cycles = package.cycles()
        yield (
            name,
            str(len(package.lines)),
            f"{np.median(list(package.lines.values())):.0f}/{max(package.lines.values())}",
            f"{np.median(functions):.0f}/{np.quantile(functions, 0.9):.0f}/{max(functions)}",
            f"{np.quantile(parameters, 0.9):.0f}/{max(parameters)}",
            str(package.chain()),
            str(len(cycles)) + "".join(f" ({' <-> '.join(cycle)})" for cycle in cycles),
            f"{most} ({folder}/)",
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("roots", nargs="*", default=["."], help="checkouts (default: the current folder)")
    roots = parser.parse_args().roots
    for root in roots:
        if not all((Path(root) / name).is_dir() for name in PACKAGES):
            parser.error(f"{root}: no checkout; it needs the folders {', '.join(PACKAGES)}")
    header = (
        "package", "files", "lines of a file p50/max", "lines of a function p50/p90/max",
        "parameters p90/max", "import chain", "cycles", "most modules flat in a folder",
    )  # fmt: skip
    for root in roots:
        print(f"{root}\n")
        print("| " + " | ".join(header) + " |")
        print("|" + "---|" * len(header))
        for row in rows(Path(root)):
            print("| " + " | ".join(row) + " |")
        print()


if __name__ == "__main__":
    main()
