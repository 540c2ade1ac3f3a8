"""System metrics while a step runs, with the names that MLflow uses for them.

They are read from /proc and by the standard library, so that no other package is needed. A system without
/proc has fewer metrics.
"""

import shutil
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

PREFIX: Final = "system/"
MEGABYTE: Final = 1e6
_PROC: Final = Path("/proc")


class SystemMetrics:
    """Metrics since the previous `read`; `disk` is a folder on the measured disk."""

    def __init__(self, disk: Path, proc: Path = _PROC) -> None:
        self._disk, self._proc = disk, proc
        self._busy, self._total = self._cpu_times()
        self._traffic = self._network_bytes()

    def read(self) -> dict[str, float]:
        """Metrics by name. A source that cannot be read is skipped."""
        found: dict[str, float] = {}
        for source in (self._cpu, self._memory, self._storage, self._network, gpu_memory):
            try:
                found |= source()
            except (OSError, ValueError, IndexError, KeyError, RuntimeError):
                continue
        return {PREFIX + name: value for name, value in found.items()}

    def _cpu(self) -> dict[str, float]:
        busy, total = self._cpu_times()
        passed = total - self._total
        percentage = 100.0 * (busy - self._busy) / passed if passed > 0 else None
        self._busy, self._total = busy, total
        return {} if percentage is None else {"cpu_utilization_percentage": percentage}

    def _memory(self) -> dict[str, float]:
        lines = (self._proc / "meminfo").read_text("ascii").splitlines()
        kilobytes = {line.partition(":")[0]: float(line.split()[1]) for line in lines}
        total, available = kilobytes["MemTotal"], kilobytes["MemAvailable"]
        status = (self._proc / "self" / "status").read_text("utf-8", "replace").splitlines()
        (resident,) = (float(line.split()[1]) for line in status if line.startswith("VmRSS:"))
        return {
            "system_memory_usage_megabytes": (total - available) * 1024 / MEGABYTE,
            "system_memory_usage_percentage": 100.0 * (total - available) / total,
            "process_memory_megabytes": resident * 1024 / MEGABYTE,
        }

    def _storage(self) -> dict[str, float]:
        usage = shutil.disk_usage(self._disk)
        return {
            "disk_usage_megabytes": usage.used / MEGABYTE,
            "disk_available_megabytes": usage.free / MEGABYTE,
            "disk_usage_percentage": 100.0 * usage.used / usage.total,
        }

    def _network(self) -> dict[str, float]:
        received, sent = self._network_bytes()
        return {
            "network_receive_megabytes": (received - self._traffic[0]) / MEGABYTE,
            "network_transmit_megabytes": (sent - self._traffic[1]) / MEGABYTE,
        }

    def _cpu_times(self) -> tuple[float, float]:
        """Busy and total time of all cores, in ticks."""
        try:
            fields = (self._proc / "stat").read_text("ascii").splitlines()[0].split()[1:9]
            ticks = [float(each) for each in fields]
        except (OSError, IndexError, ValueError):
            return 0.0, 0.0
        idle = sum(ticks[3:5])  # idle and waiting for a disk
        return sum(ticks) - idle, sum(ticks)

    def _network_bytes(self) -> tuple[float, float]:
        """Bytes received and sent by all interfaces but the loopback."""
        try:
            lines = (self._proc / "net" / "dev").read_text("ascii").splitlines()[2:]
            rows = [line.partition(":") for line in lines]
            numbers = [row[2].split() for row in rows if row[0].strip() != "lo"]
            return sum(float(row[0]) for row in numbers), sum(float(row[8]) for row in numbers)
        except (OSError, IndexError, ValueError):
            return 0.0, 0.0


def gpu_memory() -> dict[str, float]:
    """Memory in use on each GPU, if torch has initialised CUDA."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return {}
    found = {}
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        found[f"gpu_{index}_memory_usage_megabytes"] = (total - free) / MEGABYTE
        found[f"gpu_{index}_memory_usage_percentage"] = 100.0 * (total - free) / total
    return found


class Sampler:
    """Passes the metrics and their number to `write`, every `seconds` in a thread and at each `sample`."""

    def __init__(
        self,
        metrics: SystemMetrics,
        write: Callable[[Mapping[str, float], int], None],
        seconds: float,
        first: int,
    ) -> None:
        self._metrics, self._write, self._seconds = metrics, write, seconds
        self._number = first
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._loop, name="system metrics", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def sample(self) -> None:
        with self._lock:
            self._write(self._metrics.read(), self._number)
            self._number += 1

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def _loop(self) -> None:
        while not self._stop.wait(self._seconds):
            self.sample()
