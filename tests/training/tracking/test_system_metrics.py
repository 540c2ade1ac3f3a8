"""System metrics from a hand-written /proc, and on a machine that has none."""

import shutil
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from training.tracking.system_metrics import Sampler, SystemMetrics, gpu_memory

NET = "Inter-|\n face |\n    lo: 9 0 0 0 0 0 0 0 9 0\n  eth0: {} 0 0 0 0 0 0 0 {} 0\n"


def write_proc(proc: Path, busy: int, idle: int, received: int, sent: int) -> None:
    (proc / "net").mkdir(parents=True, exist_ok=True)
    (proc / "self").mkdir(exist_ok=True)
    (proc / "stat").write_text(f"cpu {busy} 0 0 {idle} 0 0 0 0 0 0\ncpu0 1\n")
    (proc / "meminfo").write_text("MemTotal: 4000 kB\nMemFree: 1 kB\nMemAvailable: 3000 kB\n")
    (proc / "self" / "status").write_text("Name:\tpython\nVmRSS:\t   500 kB\n")
    (proc / "net" / "dev").write_text(NET.format(received, sent))


def test_what_happened_between_two_reads(tmp_path: Path) -> None:
    write_proc(tmp_path, busy=100, idle=900, received=1_000_000, sent=0)
    metrics = SystemMetrics(tmp_path, tmp_path)
    write_proc(tmp_path, busy=130, idle=970, received=3_000_000, sent=500_000)
    found = metrics.read()
    usage = shutil.disk_usage(tmp_path)
    assert found["system/cpu_utilization_percentage"] == pytest.approx(30.0)
    assert found["system/system_memory_usage_megabytes"] == pytest.approx(1.024)
    assert found["system/system_memory_usage_percentage"] == pytest.approx(25.0)
    assert found["system/process_memory_megabytes"] == pytest.approx(0.512)
    assert found["system/network_receive_megabytes"] == pytest.approx(2.0)
    assert found["system/network_transmit_megabytes"] == pytest.approx(0.5)
    assert found["system/disk_usage_percentage"] == pytest.approx(100 * usage.used / usage.total, abs=1)


def test_without_proc_the_rest_is_still_read(tmp_path: Path) -> None:
    found = SystemMetrics(tmp_path, tmp_path / "none").read()
    assert "system/disk_usage_megabytes" in found
    assert "system/cpu_utilization_percentage" not in found
    assert "system/system_memory_usage_megabytes" not in found


def test_damaged_files_are_left_out(tmp_path: Path) -> None:
    write_proc(tmp_path, 1, 1, 1, 1)
    metrics = SystemMetrics(tmp_path, tmp_path)
    (tmp_path / "meminfo").write_text("MemTotal: many\n")
    (tmp_path / "stat").write_text("")
    assert "system/network_receive_megabytes" in metrics.read()
    (tmp_path / "stat").write_text("cpu many ticks\n")
    (tmp_path / "net" / "dev").write_text("a\nb\neth0: none\n")
    assert "system/disk_usage_megabytes" in SystemMetrics(tmp_path, tmp_path).read()


def test_memory_of_gpus_once_torch_uses_one(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = SimpleNamespace(
        is_initialized=lambda: True, device_count=lambda: 1, mem_get_info=lambda _: (3_000_000, 4_000_000)
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    expected = {"gpu_0_memory_usage_megabytes": 1.0, "gpu_0_memory_usage_percentage": 25.0}
    assert gpu_memory() == expected
    cuda.is_initialized = lambda: False
    assert gpu_memory() == {}


def test_the_sampler_writes_in_its_own_time_and_when_it_is_asked(tmp_path: Path) -> None:
    numbers: list[int] = []
    twice = threading.Event()

    def write(_: object, number: int) -> None:
        numbers.append(number)
        if len(numbers) >= 2:
            twice.set()

    sampler = Sampler(SystemMetrics(tmp_path), write, 0.01, first=5)
    sampler.start()
    assert twice.wait(10)
    sampler.close()
    sampler.sample()
    assert numbers == list(range(5, 5 + len(numbers)))
    assert len(numbers) >= 3
