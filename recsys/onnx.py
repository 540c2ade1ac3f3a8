"""ONNX Runtime behind one small class: named arrays in, named arrays out, no silent fallback."""

import contextlib
import io
import os
import warnings
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from recsys.errors import ProviderError, RequestError, did_you_mean

if TYPE_CHECKING:  # loaded with the first graph: a training without one does without its memory
    import onnxruntime as ort

Array = npt.NDArray[Any]

_DTYPES: Mapping[str, np.dtype[Any]] = {
    "tensor(float)": np.dtype(np.float32),
    "tensor(float16)": np.dtype(np.float16),
    "tensor(double)": np.dtype(np.float64),
    "tensor(int64)": np.dtype(np.int64),
    "tensor(int32)": np.dtype(np.int32),
    "tensor(uint8)": np.dtype(np.uint8),
    "tensor(int8)": np.dtype(np.int8),
    "tensor(bool)": np.dtype(np.bool_),
}
_PROVIDERS: Mapping[str, str] = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class OnnxSession:
    """One loaded graph on one device."""

    def __init__(
        self,
        path: Path | str,
        *,
        device: Literal["cpu", "cuda"] = "cpu",
        num_threads: int | None = None,
        spin: bool = False,
        tf32: bool = False,
    ) -> None:
        """Load the graph at `path`; `num_threads` defaults to the number of cores.

        With `spin` idle threads wait in a busy loop, which lowers the latency and uses whole cores; for a
        machine without other work. `tf32` allows TF32 products on CUDA: ten bits of mantissa, several times
        the speed; without it the outputs are those of the CPU up to rounding. Raises `ProviderError` if the
        session does not run on `device`, FileNotFoundError if there is no such file.
        """
        self.path = Path(path)
        self.ran_on: str | None = None  # the device that held the outputs of the last run
        if not self.path.is_file():
            raise FileNotFoundError(f"no ONNX graph at {self.path}")
        if device not in _PROVIDERS:
            raise ProviderError(f"unknown device {device!r}; {did_you_mean(device, _PROVIDERS)}")
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = num_threads or os.cpu_count() or 1
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spin else "0")
        options.log_severity_level = 3  # errors: a missing CUDA library is raised below instead
        output = _preload_cuda() if device == "cuda" else ""
        self._session = _open(self.path, options, provider_options(device, tf32=tf32), output)

    @property
    def providers(self) -> tuple[str, ...]:
        """Execution providers that the session uses, the preferred one first."""
        return tuple(self._session.get_providers())

    @cached_property
    def input_names(self) -> tuple[str, ...]:
        return tuple(node.name for node in self._session.get_inputs())

    @cached_property
    def output_names(self) -> tuple[str, ...]:
        return tuple(node.name for node in self._session.get_outputs())

    @cached_property
    def input_dtypes(self) -> Mapping[str, np.dtype[Any]]:
        return {node.name: _DTYPES[node.type] for node in self._session.get_inputs()}

    @cached_property
    def input_shapes(self) -> Mapping[str, tuple[int | str | None, ...]]:
        """Declared shapes; a dynamic axis is a name or None."""
        return {node.name: tuple(node.shape) for node in self._session.get_inputs()}

    @cached_property
    def output_shapes(self) -> Mapping[str, tuple[int | str | None, ...]]:
        return {node.name: tuple(node.shape) for node in self._session.get_outputs()}

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """All outputs by name. `inputs` has exactly the graph's names, dtypes and fixed axes.

        Raises `RequestError` naming the input that is missing, unknown, of a wrong type or shape.
        """
        self._check(inputs)
        if self.providers[0] == "CPUExecutionProvider":
            outputs = self._session.run(None, dict(inputs))
            self.ran_on = "cpu"
        else:
            outputs = self.run_bound({name: self.placed(array) for name, array in inputs.items()})
        return dict(zip(self.output_names, outputs, strict=True))

    def placed(self, array: Array) -> "ort.OrtValue":
        """A copy of `array` in the memory of the session's device, which `run_bound` reads."""
        import onnxruntime as ort

        return ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array), self._memory, 0)

    def run_bound(self, inputs: Mapping[str, "ort.OrtValue"]) -> list[Array]:
        """All outputs, in the order of the graph, of inputs that lie on the device (IO binding).

        The outputs stay on the device until the graph is through, and are then copied once each.
        """
        binding = self._session.io_binding()
        for name, value in inputs.items():
            binding.bind_ortvalue_input(name, value)
        for name in self.output_names:
            binding.bind_output(name, self._memory, 0)
        self._session.run_with_iobinding(binding)
        self.ran_on = binding.get_outputs()[0].device_name()
        outputs: list[Array] = binding.copy_outputs_to_cpu()
        return outputs

    @cached_property
    def _memory(self) -> str:
        return "cpu" if self.providers[0] == "CPUExecutionProvider" else "cuda"

    def _check(self, inputs: Mapping[str, Array]) -> None:
        for name in inputs:
            if name not in self.input_dtypes:
                hint = did_you_mean(name, self.input_names)
                raise RequestError(name, f"{self.path.name} has no such input; {hint}")
        for name, dtype in self.input_dtypes.items():
            if name not in inputs:
                raise RequestError(name, f"{self.path.name} needs this input; given: {sorted(inputs)}")
            given = inputs[name]
            if given.dtype != dtype:
                raise RequestError(name, f"{self.path.name} takes {dtype}, not {given.dtype}")
            shape = self.input_shapes[name]
            fits = len(shape) == given.ndim and all(
                not isinstance(want, int) or want == has for want, has in zip(shape, given.shape, strict=True)
            )
            if not fits:
                raise RequestError(
                    name, f"{self.path.name} takes shape {list(shape)}, not {list(given.shape)}"
                )


def provider_options(device: Literal["cpu", "cuda"], *, tf32: bool) -> list[tuple[str, dict[str, str]]]:
    """ONNX Runtime's providers for `device`, the preferred one first, with their options.

    CUDA uses TF32 unless it is told not to.
    """
    on_cpu = [(_PROVIDERS["cpu"], dict[str, str]())]
    return on_cpu if device == "cpu" else [(_PROVIDERS[device], {"use_tf32": str(int(tf32))}), *on_cpu]


def _open(
    path: Path,
    options: "ort.SessionOptions",
    providers: list[tuple[str, dict[str, str]]],
    output: str,
) -> "ort.InferenceSession":
    """A session on the first of `providers`.

    `output` was printed while libraries were loaded, and is part of an error.
    """
    import onnxruntime as ort

    provider = providers[0][0]
    try:
        # EP registration failures arrive as warnings; the check below turns them into one error.
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            session = ort.InferenceSession(str(path), sess_options=options, providers=providers)
    except Exception as error:
        if provider == "CPUExecutionProvider":
            raise
        raise ProviderError(f"{path}: ONNX Runtime cannot start on CUDA: {error}. {output}") from error
    if session.get_providers()[0] != provider:
        why = " ".join([output, *(str(warning.message) for warning in caught)]).strip()
        raise ProviderError(
            f"{path}: {provider} was asked for, the session runs on {session.get_providers()}. "
            f"Install the extra 'gpu' on a machine with an NVIDIA driver, or use device = 'cpu'. {why}"
        )
    return session


def _preload_cuda() -> str:
    """Load the CUDA libraries that pip installed; returns the output of ONNX Runtime."""
    import onnxruntime as ort

    out = io.StringIO()
    with contextlib.redirect_stdout(out), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ort.preload_dlls()
    return " ".join(out.getvalue().split())
