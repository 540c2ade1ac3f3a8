"""What the doctor says of engines that work, are missing, or are broken."""

import io
import logging
import os
import warnings
from collections.abc import Callable
from importlib import metadata

import pytest
from rich.console import Console

from recsys.cli import doctor, probes
from recsys.cli.doctor import Check, check, print_report, render, run_doctor
from recsys.cli.probes import GRAPH, PROBES, Absent, Probe


def probe(try_it: Callable[[], str] = lambda: "", **changes: object) -> Probe:
    fields: dict[str, object] = {"name": "engine", "try_it": try_it, "packages": ()}
    return Probe(**(fields | changes))  # type: ignore[arg-type]


def fail(error: Exception) -> Callable[[], str]:
    def raising() -> str:
        raise error

    return raising


def named(name: str) -> Probe:
    return next(probe for probe in PROBES if probe.name == name)


def with_packages(monkeypatch: pytest.MonkeyPatch, versions: dict[str, str]) -> None:
    monkeypatch.setattr(doctor, "_version", versions.get)


@pytest.mark.parametrize(
    "name",
    [
        "python",
        "polars",
        "pillow",
        "av",
        "tokenizers",
        "onnxruntime",
        "ctranslate2",
        "fastapi",
        "implicit",
        "onnx",
    ],
)
def test_engines_give_the_known_answer(name: str) -> None:
    result = check(named(name), {"serve", "train"})
    assert (result.state, result.required, result.remedy) == ("ok", True, ""), result.detail


def test_a_lookup_in_torchrec_gives_the_known_answer() -> None:
    result = check(named("torchrec"), {"train"})
    assert result.state == "ok", result.detail
    assert result.detail.startswith("torchrec ")


def test_the_provider_that_really_ran_is_told() -> None:
    assert check(named("onnxruntime"), set()).detail.endswith("ran on CPUExecutionProvider")


@pytest.mark.skipif(os.path.exists("/dev/nvidia0"), reason="this machine has a GPU")
def test_asking_for_cuda_without_a_gpu_is_no_silent_fallback() -> None:
    with pytest.raises(RuntimeError, match="runs on CPUExecutionProvider though CUDAExecutionProvider"):
        probes.try_onnxruntime("CUDAExecutionProvider")


def test_the_embedded_graph_is_what_its_comment_says() -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load_from_string(GRAPH)
    weight = onnx.numpy_helper.to_array(model.graph.initializer[0])
    assert (weight.tolist(), model.opset_import[0].version) == ([[2.0], [3.0]], 17)


def test_a_wrong_answer_fails() -> None:
    with pytest.raises(ArithmeticError, match=r"gave \[1\] where \[2\] is right"):
        probes.expect([1], [2])


def test_a_broken_engine_fails_with_its_error_and_a_remedy() -> None:
    result = check(probe(fail(OSError("libfoo.so: cannot open")), extras=("train",)), {"train"})
    assert (result.state, result.fatal) == ("failed", True)
    assert result.detail == "OSError: libfoo.so: cannot open"
    assert result.remedy == "pip install 'recsys[cpu]'"


def test_fbgemm_for_gpus_on_a_machine_without_one_has_its_own_remedy() -> None:
    error = OSError("Could not load this library: fbgemm_gpu_py.so")
    error.__cause__ = OSError("libnvidia-ml.so.1: cannot open shared object file")
    assert "fbgemm-gpu-cpu" in check(probe(fail(error), extras=("train",)), {"train"}).remedy


def test_a_missing_package_is_fatal_only_where_its_extra_was_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    with_packages(monkeypatch, {})
    absent = probe(packages=("mlflow",), extras=("train",))
    assert check(absent, set()).state == "absent"
    assert not check(absent, set()).fatal
    assert check(absent, {"train"}).state == "failed"
    assert check(absent, {"train"}).fatal
    assert check(probe(packages=("polars",)), set()).fatal


def test_one_of_two_alternatives_is_enough_and_both_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    either = probe(packages=("onnxruntime-gpu|onnxruntime",))
    with_packages(monkeypatch, {"onnxruntime": "1.0"})
    assert check(either, set()).detail == "onnxruntime 1.0"
    with_packages(monkeypatch, {"onnxruntime": "1.0", "onnxruntime-gpu": "1.1"})
    both = check(either, set())
    assert (both.state, both.detail) == (
        "failed",
        "onnxruntime-gpu and onnxruntime overwrite each other's files",
    )
    assert both.remedy.endswith("pip install --no-deps onnxruntime-gpu==1.1")


def test_something_optional_that_is_absent_is_never_fatal() -> None:
    result = check(probe(fail(Absent("no NVIDIA driver")), extras=("gpu",)), {"gpu"})
    assert (result.state, result.fatal, result.detail) == ("absent", False, "no NVIDIA driver")


def test_one_failure_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PROBES", (probe(fail(RuntimeError("no"))), probe(lambda: "yes")))
    assert [result.state for result in run_doctor()] == ["failed", "ok"]


@pytest.mark.parametrize(("error", "code"), [(None, 0), (RuntimeError("[broken]"), 1), (Absent("none"), 0)])
def test_the_exit_code(monkeypatch: pytest.MonkeyPatch, error: Exception | None, code: int) -> None:
    monkeypatch.setattr(doctor, "PROBES", (probe(fail(error) if error else lambda: ""),))
    console = Console(file=io.StringIO(), width=200)
    assert print_report(run_doctor(), console) == code
    assert isinstance(console.file, io.StringIO)
    assert ("does not work" in console.file.getvalue()) == bool(code)


def test_probes_are_quiet_and_leave_logging_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    def noisy() -> str:
        warnings.warn("old", DeprecationWarning, stacklevel=1)
        logging.getLogger("engine").error("noise")
        print("noise")  # noqa: T201
        return "found"

    before = logging.root.manager.disable
    assert check(probe(noisy), set()).detail == "found"
    assert logging.root.manager.disable == before
    assert capsys.readouterr() == ("", "")


def test_markup_in_an_error_is_shown_as_it_is() -> None:
    line = render(Check(name="x", state="failed", required=False, detail="[red]", remedy="recsys[cpu]"))
    console = Console(file=io.StringIO(), width=200)
    console.print(line)
    assert isinstance(console.file, io.StringIO)
    assert "[red] (optional)" in console.file.getvalue()
    assert "recsys[cpu]" in console.file.getvalue()


def test_every_probed_package_is_declared() -> None:
    declared = "\n".join(metadata.requires("recsys") or [])
    probed = [name for probe in PROBES for names in probe.packages for name in names.split("|")[:1]]
    assert [name for name in probed if name not in declared] == []
