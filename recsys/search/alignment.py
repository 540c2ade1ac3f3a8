"""The shared space of search: one head per kind of encoder, so that a text can be compared with pictures.

Legend: B vectors, D width of the encoder, S width of the shared space.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, Protocol, Self, get_args

from recsys.arrays import Floats
from recsys.errors import BundleError, RequestError
from recsys.modalities import EncoderKind
from recsys.onnx import OnnxSession

INPUT: Final = "vector"  # [B, D] float32, as the encoder gives it
OUTPUT: Final = "shared_vector"  # [B, S] float32, unit length


class AlignmentHeads(Protocol):
    """Heads from the encoders' spaces to one shared space."""

    @property
    def kinds(self) -> tuple[EncoderKind, ...]:
        """The kinds of encoders that have a head."""
        ...

    @property
    def dim(self) -> int:
        """Width S of the shared space; 0 without heads."""
        ...

    def project(self, kind: EncoderKind, vectors_BD: Floats) -> Floats:
        """Unit vectors [B, S]; raises `RequestError` for a kind without a head or another width."""
        ...


class OnnxHeads:
    """Heads in ONNX graphs, `<kind>.onnx` in one directory."""

    def __init__(self, sessions: Mapping[EncoderKind, OnnxSession]) -> None:
        """Raises `BundleError` if the graphs have outputs of unequal width."""
        self._sessions = dict(sessions)
        self.kinds: tuple[EncoderKind, ...] = tuple(self._sessions)
        widths = {kind: self._width(kind, session) for kind, session in self._sessions.items()}
        if len(set(widths.values())) > 1:
            raise BundleError(
                f"alignment heads of one space have one width, these have {widths}; fit them again"
            )
        self.dim = next(iter(widths.values()), 0)

    @classmethod
    def open(
        cls, directory: Path, *, device: Literal["cpu", "cuda"] = "cpu", num_threads: int | None = None
    ) -> Self:
        """The heads in `directory`; none where it has no graph or does not exist.

        Raises `BundleError` for a graph that is no head.
        """
        files = {kind: head_file(directory, kind) for kind in get_args(EncoderKind)}
        return cls(
            {
                kind: OnnxSession(path, device=device, num_threads=num_threads)
                for kind, path in files.items()
                if path.is_file()
            }
        )

    def project(self, kind: EncoderKind, vectors_BD: Floats) -> Floats:
        """Unit vectors [B, S]; zeros stay zeros."""
        if kind not in self._sessions:
            raise no_head(kind, self.kinds)
        projected: Floats = self._sessions[kind].run({INPUT: vectors_BD})[OUTPUT]
        return projected

    @staticmethod
    def _width(kind: EncoderKind, session: OnnxSession) -> int:
        fits = session.input_names == (INPUT,) and session.output_names == (OUTPUT,)
        shapes = (session.input_shapes[INPUT], session.output_shapes[OUTPUT]) if fits else ()
        if not shapes or not all(len(shape) == 2 and isinstance(shape[1], int) for shape in shapes):
            raise BundleError(
                f"{session.path}: not an alignment head of {kind}, which has the input {INPUT!r} and the "
                f"output {OUTPUT!r} of fixed width; fit the heads again"
            )
        width = shapes[1][1]
        assert isinstance(width, int)
        return width


def head_file(directory: Path, kind: EncoderKind) -> Path:
    """The graph of the head of `kind`."""
    return directory / f"{kind}.onnx"


def no_head(kind: EncoderKind, kinds: tuple[EncoderKind, ...]) -> RequestError:
    """The error for a kind without a head."""
    if not kinds:
        return RequestError("kind", "this catalogue has no shared space; nothing was aligned", kind)
    return RequestError("kind", f"no alignment head; the shared space has {', '.join(kinds)}", kind)
