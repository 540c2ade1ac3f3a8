"""The shape of the code: directions between sub-packages, small folders, no cycles, named exports.

Every rule is shown to fail on a planted violation.
"""

import ast
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from scripts.structure import PACKAGES, components, measure, parsed

ROOT = Path(__file__).resolve().parents[1]
MAX_FLAT = 12
# Units of each package, in tiers: a unit may import units of earlier tiers, and nothing of its own tier but
# itself. A unit is a sub-package or a module that lies flat in the package. docs/architecture.md draws them.
TIERS: Mapping[str, tuple[str, ...]] = {
    "recsys": (
        "errors columns progress arrays ridge checksums",
        "ids files modalities",
        "history item_features",
        "onnx metrics",
        "retrieval",
        "search",
        "config",  # takes the settings of lists from retrieval, so that a new one is written once
        "models",
        "bundle",
        "cli",
    ),
    "features": (
        "media dataset",
        "encoders event_log importers sample",
        "conversion splits",
        "extraction inputs documents",
        "leakage queries",
    ),
    "training": (
        "runtime ranks sequences run_directory tracking onnx_graph",
        "ranker alignment imputation",
        "cold_start towers",
        "candidates",
        "cold_ranker",
        "fitting",
        "search",
        "evaluation",
        "baselines",
        "export knockouts",
        "report",
        "pipeline",
        "experiments backtest publishing",
    ),
    "serving": (
        "filters state batch_parts pictures",
        "requests ingest rules",
        "engine",
        "micro_batches",
        "search",
        "items",
        "batch show swap",
        "http",
        "pyfunc",
    ),
}
# Sub-packages whose other modules are imported by name where they are needed: torch and transformers are
# loaded by converting alone, the shop is written by hand-made parts, and commands are resolved when called.
OPEN = ("features.conversion", "features.sample", "recsys.cli")


def units(package: str, root: Path = ROOT) -> set[str]:
    """Sub-packages and flat modules of `package`."""
    return {
        path.stem
        for path in (root / package).iterdir()
        if path.name != "__init__.py"
        and (path.suffix == ".py" or (path.is_dir() and any(path.rglob("*.py"))))
        and path.name != "__pycache__"
    }


def unit_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def wrong_directions(root: Path, tiers: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Imports between units of one package that do not go from a later tier to an earlier one."""
    found = []
    for package, of in tiers.items():
        tier = {unit: at for at, names in enumerate(of) for unit in names.split()}
        for module, imported in measure(root, package).imports.items():
            for other in sorted(imported):
                here, there = unit_of(module), unit_of(other)
                if here and there and here != there and tier.get(here, -1) <= tier.get(there, len(of)):
                    found.append(f"{module} imports {other}")
    return found


def crowded(root: Path, packages: Sequence[str] = PACKAGES) -> list[str]:
    """Folders with more than `MAX_FLAT` modules."""
    counts: Counter[str] = Counter()
    for package in packages:
        counts += measure(root, package).folders
    return [f"{folder}/ has {count} modules" for folder, count in counts.items() if count > MAX_FLAT]


def cycles(root: Path, packages: Sequence[str] = PACKAGES) -> list[list[str]]:
    """Modules of all packages that import each other in a loop."""
    imports: dict[str, set[str]] = {}
    for package in packages:
        imports |= measure(root, package).imports
    return [sorted(part) for part in components(imports) if len(part) > 1]


def faces(root: Path, packages: Sequence[str] = PACKAGES) -> dict[str, ast.Module]:
    """`__init__` of every sub-package, by dotted name."""
    return {
        f"{package}.{path.parent.name}": ast.parse(path.read_text("utf-8"))
        for package in packages
        for path in sorted((root / package).glob("*/__init__.py"))
    }


def exports(face: ast.Module) -> list[str]:
    """The names in `__all__`."""
    for node in face.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return [str(name) for name in ast.literal_eval(node.value)]
    return []


def around_the_face(root: Path, packages: Sequence[str] = PACKAGES) -> list[str]:
    """Imports past the `__init__` of another sub-package, and imports of the `__init__` from inside."""
    known = {name for name in faces(root, packages) if name not in OPEN}
    found = []
    for package in packages:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            here = ".".join(parts[:2])
            for node in ast.walk(parsed(path.read_text("utf-8"))):
                source = node.module if isinstance(node, ast.ImportFrom) and not node.level else None
                there = ".".join((source or "").split(".")[:2])
                is_inside = here == there and source == there and path.name != "__init__.py"
                if source and there in known and (is_inside or there not in (here, source)):
                    found.append(f"{'.'.join(parts)} imports {source}")
    return found


def plant(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, "utf-8")
    return root


@pytest.mark.parametrize("package", PACKAGES)
def test_every_unit_has_a_tier(package: str) -> None:
    listed = [unit for names in TIERS[package] for unit in names.split()]
    assert sorted(listed) == sorted(units(package))


def test_sub_packages_import_one_way() -> None:
    assert wrong_directions(ROOT, TIERS) == []


def test_a_wrong_direction_is_found(tmp_path: Path) -> None:
    files = {
        "p/low/a.py": "def late():\n    from p.high.b import x\n",
        "p/high/b.py": "import p.low.a\nx = 1\n",
        "p/beside/c.py": "from p.high import b\n",
    }
    tiers = {"p": ("low", "high beside")}
    assert wrong_directions(plant(tmp_path, files), tiers) == [
        "p.beside.c imports p.high.b",
        "p.low.a imports p.high.b",
    ]


def test_no_folder_is_crowded() -> None:
    assert crowded(ROOT) == []


def test_a_crowded_folder_is_found(tmp_path: Path) -> None:
    root = plant(tmp_path, {f"p/q/m{at}.py": "" for at in range(MAX_FLAT + 1)} | {"p/q/__init__.py": ""})
    assert crowded(root, ("p",)) == [f"p/q/ has {MAX_FLAT + 1} modules"]


def test_nothing_imports_itself_in_a_loop() -> None:
    assert cycles(ROOT) == []


def test_a_loop_is_found_under_type_checking(tmp_path: Path) -> None:
    later = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from p.a import x\n"
    root = plant(tmp_path, {"p/a.py": "import p.b\nx = 1\n", "p/b.py": later, "p/c.py": "import p.a\n"})
    assert cycles(root, ("p",)) == [["p.a", "p.b"]]


@pytest.mark.parametrize("name", sorted(faces(ROOT)))
def test_a_sub_package_says_what_it_is_for_and_exports_what_others_use(name: str) -> None:
    face = faces(ROOT)[name]
    assert ast.get_docstring(face)
    imports = [node for node in face.body if isinstance(node, ast.ImportFrom)]
    assert sorted(exports(face)) == sorted(alias.name for node in imports for alias in node.names)


def test_sub_packages_are_imported_by_their_exports() -> None:
    assert around_the_face(ROOT) == []


def test_an_import_past_the_exports_is_found(tmp_path: Path) -> None:
    files = {
        "p/__init__.py": "",
        "p/q/__init__.py": "from p.q.a import x\n__all__ = ['x']\n", "p/q/a.py": "x = 1\n",
        "p/q/b.py": "from p.q.a import x\nfrom p.q import x\n",
        "p/r/c.py": "from p.q.a import x\nfrom p.q import x\n",
    }  # fmt: skip
    assert around_the_face(plant(tmp_path, files), ("p",)) == [
        "p.q.b imports p.q",
        "p.r.c imports p.q.a",
    ]
