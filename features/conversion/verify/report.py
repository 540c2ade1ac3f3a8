"""One conversion, with its size, time and differences to the original."""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from features.conversion.registry import ensure_encoder
from features.encoders import EncoderSpec, Kind
from recsys.errors import EncoderError


@dataclass(frozen=True, kw_only=True)
class Report:
    """The output of `recsys convert`: `seconds` elapsed, `cpu_seconds` of CPU time of this process."""

    path: Path
    spec: EncoderSpec
    num_bytes: int
    seconds: float
    cpu_seconds: float

    def shown(self) -> dict[str, str]:
        parity, prefix = self.spec.parity, self.spec.preprocessing.get("prefix")
        whole = (
            f"{parity['difference']:.1e} of a vector's length" if "difference" in parity else "not measured"
        )
        return {
            "name": self.spec.name,
            "kind": self.spec.kind,
            "dimensions": str(self.spec.dim),
            **({"before every text": repr(prefix)} if prefix else {}),
            "MB": f"{self.num_bytes / 1e6:,.1f}",
            "from the original, graph alone": f"{parity['graph']:.1e}" if parity else "not measured",
            "from the original, preprocessing included": whole,
            "cosine with the original": f"{parity['cosine']:.6f}" if "cosine" in parity else "not measured",
            "seconds": f"{self.seconds:.1f} ({self.cpu_seconds:.1f} of CPU)",
        }


def convert_encoder(name: str, kind: Kind | None, cache_dir: Path, out: Path | None = None) -> Report:
    """Convert `name` (or take it from the cache) and copy it to `out`, a new folder.

    Raises `EncoderError` as `ensure_encoder` does, and if `out` exists.
    """
    if out is not None and out.exists():
        raise EncoderError(f"{out} exists; give a new folder")
    started, cpu_started = time.perf_counter(), time.process_time()
    path = ensure_encoder(name, cache_dir, kind=kind)
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
    spec = EncoderSpec.read(path)
    if kind not in (None, spec.kind):
        raise EncoderError(f"{name!r} is an encoder of {spec.kind}; it cannot encode {kind}")
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial = out.with_name(f".{out.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(path, partial)
        partial.rename(out)
        path = out
    num_bytes = sum(file.stat().st_size for file in path.iterdir())
    return Report(path=path, spec=spec, num_bytes=num_bytes, seconds=seconds, cpu_seconds=cpu_seconds)
