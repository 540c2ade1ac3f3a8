"""The rules that hold the code base together; every one is shown to fail on a planted violation."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from scripts.structure import parsed

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("recsys", "features", "training", "serving")
SOURCES = (*PACKAGES, "tests", "benchmarks")
ALLOWED = {  # a package may import these of ours
    "recsys": {"recsys"},
    "features": {"recsys", "features"},
    "training": {"recsys", "features", "training"},
    "serving": {"recsys", "features", "serving"},
}
KNOWS_ALL = "recsys/cli/"
EXEMPT = (
    "recsys/cli/probes.py",  # imports each engine in turn, inside functions, to try it
    "features/sample/recordings/make_recordings.py",  # run by hand, in an environment of its own
)
HOMES = {  # library -> files and folders that may import it; docs/architecture.md has the same table
    "torch": ("recsys/models/", "training/", "features/conversion/"),
    "torchrec": ("recsys/models/embeddings.py", "recsys/models/sharded_tables.py"),
    "transformers": ("features/conversion/",),
    "torchvision": ("features/conversion/",),
    "onnxruntime": ("recsys/onnx.py",),
    "onnx": ("training/export/", "features/conversion/"),
    "onnxscript": ("training/export/", "features/conversion/"),
    "faiss": ("recsys/retrieval/index/faiss.py",),
    "implicit": ("training/candidates/", "training/baselines/collaborative/bpr.py"),
    "ctranslate2": ("features/extraction/transcriber.py",),
    "tokenizers": ("features/encoders/text.py", "features/conversion/"),
    "tantivy": ("recsys/search/lexical/",),
    "icu4py": ("recsys/search/lexical/tokens.py",),
    "av": ("features/media/decode.py", "features/media/video.py"),
    "pillow_heif": ("features/media/heif.py",),
    "mlflow": ("training/tracking/", "training/publishing/registry.py", "serving/pyfunc.py"),
    "jinja2": ("training/report/write.py",),
    "fastapi": ("serving/http/",),
    "uvicorn": ("serving/http/",),
    "redis": ("serving/state/redis_rows.py",),
}
IMPORTERS = ("import_module", "__import__", "find_spec")  # functions that import a module by its name
HEAVY = ("torch", "torchrec", "fbgemm_gpu", "transformers", "mlflow")
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
CAN_EXPAND = {"read_parquet", "scan_parquet", "read_csv", "scan_csv", "read_ipc", "scan_ipc"}
# These have no `glob=False`: the named files give them bytes, or escape the path.
ALWAYS_EXPAND = {"read_ndjson", "scan_ndjson", "read_parquet_schema", "read_parquet_metadata"}
READ_BYTES_OR_ESCAPE = ("features/dataset/files/readers.py", "features/importers/blocks.py")
GENERATED = {"build", "demo", "dist", "mlartifacts", "mlruns", "runs", "__pycache__"}
# Split so that this file does not contain what it looks for.
HOSTS = [r"pypi\.or" + "g", r"pythonhosted\.or" + "g", r"download\.pytorch\.or" + "g", r"pypi\.nvidi" + "a"]
FOREIGN = re.compile(
    "|".join(
        [
            *HOSTS,
            r"--(?:extra-)?index-ur" + "l",
            r"--find-link" + "s",
            r"(?<![\w.*])/(?:work|root|tmp|home)/\w",
        ]
    )
)


def sources(root: Path, folders: tuple[str, ...] = SOURCES) -> Iterator[tuple[str, ast.Module, str]]:
    """Path relative to `root`, syntax tree and text of every Python file."""
    for folder in folders:
        for path in sorted((root / folder).rglob("*.py")):
            text = path.read_text("utf-8")
            yield path.relative_to(root).as_posix(), parsed(text), text


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """All statements inside `node`, without the expressions, which are most of a syntax tree."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt | ast.excepthandler | ast.match_case):
            yield child
            yield from statements(child)


@cache
def imported(path: str, text: str) -> list[tuple[int, str]]:
    """Line and absolute name of every import, in functions too, and by a literal name at run time."""
    return list(_imported(path, text))


def _imported(path: str, text: str) -> Iterator[tuple[int, str]]:
    tree = parsed(text)
    for node in ast.walk(tree) if any(name in text for name in IMPORTERS) else statements(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = path.split("/")[: -node.level] if node.level else []
            yield node.lineno, ".".join([*package, *filter(None, [node.module])])
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            name = ast.unparse(node.func).rpartition(".")[2]
            if name in IMPORTERS and isinstance(node.args[0].value, str):
                yield node.lineno, node.args[0].value


def wrong_directions(root: Path) -> list[str]:
    return [
        f"{path}:{line} imports {name}"
        for path, _, text in sources(root, PACKAGES)
        if not path.startswith(KNOWS_ALL)
        for line, name in imported(path, text)
        if name.split(".")[0] in PACKAGES and name.split(".")[0] not in ALLOWED[path.split("/")[0]]
    ]


def away_from_home(root: Path) -> list[str]:
    return [
        f"{path}:{line} imports {name}"
        for path, _, text in sources(root, PACKAGES)
        if path not in EXEMPT
        for line, name in imported(path, text)
        if not path.startswith(HOMES.get(name.split(".")[0], ("",)))
    ]


def too_long(root: Path) -> list[str]:
    problems = []
    for path, tree, text in sources(root):
        if (count := len(text.splitlines())) > MAX_FILE_LINES:
            problems.append(f"{path} has {count} lines")
        for node in statements(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                if (count := node.end_lineno - node.lineno + 1) > MAX_FUNCTION_LINES:
                    problems.append(f"{path}:{node.lineno} {node.name} has {count} lines")
    return problems


def reads_that_expand(root: Path) -> list[str]:
    """Reads of a table whose path may be taken for a pattern: "shop [1]" is a name, too."""
    problems = []
    for path, tree, _ in sources(root, (*PACKAGES, "benchmarks", "scripts")):
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            name = node.func.attr
            switch = next((each.value for each in node.keywords if each.arg == "glob"), None)
            is_literal = isinstance(switch, ast.Constant) and switch.value is False
            if name in CAN_EXPAND and not is_literal:
                problems.append(f"{path}:{node.lineno} {name} without glob=False")
            if name in ALWAYS_EXPAND and path not in READ_BYTES_OR_ESCAPE:
                problems.append(f"{path}:{node.lineno} {name} expands a path")
    return problems


def foreign_names(root: Path, names: list[str]) -> list[str]:
    """Package registries' hosts and one machine's paths in the text files `names`."""
    problems = []
    for name in names:
        try:
            lines = (root / name).read_text("utf-8").splitlines()
        except UnicodeDecodeError:
            continue  # a picture or a recording
        except FileNotFoundError:
            continue  # removed, and the removal not committed yet
        problems += [f"{name}:{at}: {line}" for at, line in enumerate(lines, 1) if FOREIGN.search(line)]
    return problems


def committed(root: Path) -> list[str]:
    command = ["git", "-c", "safe.directory=*", "-C", str(root), "ls-files", "-z"]
    try:
        listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        pytest.skip(f"not a git checkout: {error}")
    return [name for name in listed.split("\0") if name]


def loaded_by(*modules: str, folder: Path = ROOT) -> set[str]:
    """Heavy libraries that stand in `sys.modules` of a fresh interpreter after importing `modules`."""
    code = f"import sys, {', '.join(modules)}; print(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return set(run.stdout.split()) & set(HEAVY)


def module_names(folder: str) -> list[str]:
    paths = [path.relative_to(ROOT).with_suffix("") for path in (ROOT / folder).rglob("*.py")]
    return sorted(".".join(path.parts).removesuffix(".__init__") for path in paths)


def plant(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, "utf-8")
    return root


def test_imports_go_one_way() -> None:
    assert wrong_directions(ROOT) == []


def test_a_wrong_direction_is_found(tmp_path: Path) -> None:
    files = {
        "recsys/a.py": "def late():\n    from features.dataset.tables import Dataset\n",
        "recsys/cli/bundles.py": "import serving.http.app\n",
        "features/a.py": "import recsys.ids\nfrom . import b\n",
        "features/sub/a.py": "from .. import b\nimport importlib as i\ni.import_module('training.export')\n",
        "training/a.py": "import features, serving.http.app as app\n",
        "serving/a.py": "from training import export\n",
    }
    assert wrong_directions(plant(tmp_path, files)) == [
        "recsys/a.py:2 imports features.dataset.tables",
        "features/sub/a.py:3 imports training.export",
        "training/a.py:1 imports serving.http.app",
        "serving/a.py:1 imports training",
    ]


def test_heavy_libraries_stay_at_home() -> None:
    assert away_from_home(ROOT) == []


def test_a_library_away_from_home_is_found(tmp_path: Path) -> None:
    files = {
        "recsys/models/tower.py": "import torch\nfrom torchrec import EmbeddingCollection\n",
        "recsys/models/embeddings.py": "import torchrec\n",
        "recsys/cli/probes.py": "def check():\n    import mlflow, faiss\n",
        "recsys/onnx.py": "import onnxruntime as ort\nimport onnxslim\n",
        "serving/http/app.py": "import fastapi\ndef late():\n    import torch.nn\n",
    }
    assert away_from_home(plant(tmp_path, files)) == [
        "recsys/models/tower.py:2 imports torchrec",
        "serving/http/app.py:3 imports torch.nn",
    ]


def test_the_table_of_homes_is_the_documented_one() -> None:
    table = (ROOT / "docs/architecture.md").read_text("utf-8").partition("## Homes of heavy libraries")[2]
    documented = {
        library.strip(): tuple(re.findall(r"`([^`]+)`", homes))
        for libraries, homes in re.findall(
            r"^\| ([a-z_, 0-9]+) \| (`.*) \|$", table.partition("\n## ")[0], re.M
        )
        for library in libraries.split(",")
    }
    assert documented == HOMES


def test_every_unit_is_documented_and_no_other() -> None:
    text = (ROOT / "docs/architecture.md").read_text("utf-8").partition("## The pieces")[2]
    documented = re.findall(r"^\|(.*?)\|", text.partition("\n## ")[0], re.M)
    names = [name for cell in documented for name in re.findall(r"`([a-z0-9_/.]+)`", cell)]
    found = {
        "/".join(path.split("/")[:2]) + ("" if path.count("/") == 1 else "/")
        for path, *_ in sources(ROOT, PACKAGES)
        if not path.endswith("__init__.py") or path.count("/") > 1
    }
    assert sorted(names) == sorted(found)


def test_files_and_functions_stay_short() -> None:
    assert too_long(ROOT) == []


def test_a_long_file_and_a_long_function_are_found(tmp_path: Path) -> None:
    longest = "def f():\n" + "    pass\n" * (MAX_FUNCTION_LINES - 1)
    files = {
        "recsys/a.py": longest,
        "tests/b.py": f"class A:\n    async {longest.replace(chr(10), chr(10) + '    ')}    pass\n",
        "serving/c.py": "x = 1\n" * MAX_FILE_LINES,
        "training/d.py": "x = 1\n" * (MAX_FILE_LINES + 1),
    }
    assert too_long(plant(tmp_path, files)) == [
        "training/d.py has 401 lines",
        "tests/b.py:2 f has 61 lines",
    ]


def test_a_read_of_one_file_expands_nothing() -> None:
    assert reads_that_expand(ROOT) == []


def test_a_read_that_expands_is_found(tmp_path: Path) -> None:
    files = {
        "recsys/a.py": "pl.read_parquet(p, glob=False)\npl.read_parquet(p)\npl.scan_csv(p, glob=True)\n",
        "features/dataset/files/readers.py": "pl.scan_ndjson(glob.escape(p))\n",
        "scripts/b.py": "pl.read_ndjson(p)\n",
    }
    assert reads_that_expand(plant(tmp_path, files)) == [
        "recsys/a.py:2 read_parquet without glob=False",
        "recsys/a.py:3 scan_csv without glob=False",
        "scripts/b.py:1 read_ndjson expands a path",
    ]


def test_nothing_committed_names_a_registry_or_a_machine() -> None:
    assert foreign_names(ROOT, committed(ROOT)) == []


@pytest.mark.parametrize(
    "line", ["see /" + "root/x", "'/" + "work/main'", "https://pypi.or" + "g/simple", "--index-ur" + "l x"]
)
def test_a_foreign_name_is_found(tmp_path: Path, line: str) -> None:
    plant(tmp_path, {"a.md": f"fine\n{line}\n", "b.md": "GET /v1/items/tmp/x, framework/main, `demo/run`\n"})
    (tmp_path / "c.png").write_bytes(b"\xff\xd8\xff")
    assert foreign_names(tmp_path, ["a.md", "b.md", "c.png", "gone.md"]) == [f"a.md:2: {line}"]


def test_pinned_requirements_hold_no_address_and_serve_no_torch() -> None:
    pins = {path.stem: path.read_text("utf-8") for path in (ROOT / "requirements").glob("*.txt")}
    assert set(pins) == {"cpu", "gpu", "serve"}
    assert not [name for name, text in pins.items() if "://" in text or "@" in text]
    names = {name: set(re.findall(r"^([a-z0-9.-]+)==", text, re.M)) for name, text in pins.items()}
    assert {name for name in names["serve"] if name.startswith((*HEAVY, "fbgemm"))} == set()
    assert names["cpu"] - names["gpu"] == {"fbgemm-gpu-cpu"}
    assert "fbgemm-gpu" in names["gpu"]


def test_packages_load_nothing_heavy() -> None:
    assert loaded_by(*PACKAGES) == set()


def test_serving_is_torch_free() -> None:
    assert loaded_by(*(name for name in module_names("serving") if name != "serving.pyfunc")) == set()


def test_a_heavy_import_is_found(tmp_path: Path) -> None:
    plant(
        tmp_path,
        {"light/__init__.py": "from light import late\n", "light/late.py": "import torch\n", "torch.py": ""},
    )
    assert loaded_by("light", folder=tmp_path) == {"torch"}
