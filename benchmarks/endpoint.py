"""The endpoint beside the bare calls of an answer, on a generated bundle; client and server on one machine.

    python -m benchmarks.endpoint [--items 100000] [--seconds 5] [--rounds 3] [--folder DIR] [--reasons none]

Every request has a history of 50 events; 200 candidates are ranked, by the default sources; k = 20. The bare
calls are the user tower's graph, the search of the index, the candidates of each source and the ranker's
graph, on the inputs of the same requests. "CPU ms" is processor time for a request, so that other work on the
machine counts little; figures of the server are of its process. With 32 clients each waits for its answer
before it asks again. "half load" sends requests at half of the rate that 32 clients reached, at random times.
"""

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.generated_bundle import generate_bundle, item_names
from recsys.arrays import unit
from recsys.bundle import Bundle, compose_bundle
from recsys.history import History, collate
from recsys.ids import NUM_RESERVED

K, LENGTH, CLIENTS = 20, 50, 32
BATCHES = (1, 2, 4, 8, 16, 32)
DAY = 86_400_000_000
Bodies = list[bytes]
HEAD = b"POST /v1/recommend HTTP/1.1\r\nHost: b\r\nContent-Type: application/json\r\nContent-Length: "


@dataclass(frozen=True, kw_only=True)
class Load:
    """One stretch of requests."""

    latencies: list[float]  # seconds
    seconds: float
    cpu_seconds: float  # of the server

    @property
    def per_second(self) -> float:
        return len(self.latencies) / self.seconds

    @property
    def cpu_ms(self) -> float:
        return 1e3 * self.cpu_seconds / max(len(self.latencies), 1)

    def at(self, percent: float) -> float:
        """Milliseconds."""
        return 1e3 * float(np.percentile(self.latencies, percent))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each stretch")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="keeps the generated bundle there for the next time")
    parser.add_argument("--reasons", default="none", choices=("none", "attention", "leave_one_out"))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        path = (args.folder or Path(temporary)) / f"bundle-{args.items}"
        if not path.is_dir():
            generate_bundle(path, num_items=args.items)
        item_lists = [
            np.random.default_rng(at).choice(args.items, LENGTH, replace=False) for at in range(256)
        ]
        bare = measure_bare(path, item_lists)
        bodies = [body_of(items, args.items, args.reasons) for items in item_lists]
        with ExitStack() as stack:
            servers = {
                name: stack.enter_context(served(path, options))
                for name, options in (("micro-batches", []), ("no micro-batches", ["--max-batch", "1"]))
            }
            loads = asyncio.run(measure_servers(servers, bodies, args))
    report(bare, loads)


def measure_bare(path: Path, item_lists: list[np.ndarray]) -> dict[str, dict[int, float]]:
    """CPU milliseconds a user of each bare call, by the number of users in a call."""
    bundle = Bundle.open(path)
    recommender, _ = compose_bundle(bundle)
    users = [history_of(items) for items in item_lists]
    found: dict[str, dict[int, float]] = {}
    for size in BATCHES:
        some = users[:size]
        batch = collate(some, recommender.schema)
        vectors = unit(recommender.items.vectors[batch.item])
        inputs = {**batch.inputs, "event_vector": vectors, "length": batch.length}
        user_BD = recommender.embed(some)
        seen = [each.seen for each in some]
        candidates = recommender.candidates(user_BD, some)
        ranked = recommender.rank_inputs(some, user_BD, candidates)
        num = recommender.settings.num_candidates + LENGTH
        calls: dict[str, Callable[[], object]] = {
            "user tower": lambda inputs=inputs: recommender._embed_users(inputs),
            "index search": lambda users=user_BD, num=num: recommender.index.search(users, num),
        }
        for source in recommender.sources:
            calls[f"source {source.name}"] = lambda source=source, some=some, seen=seen: source.candidates(
                some, recommender.settings.source_candidates, excluded=seen
            )
        assert recommender._rank is not None
        calls["ranker"] = lambda ranked=ranked, rank=recommender._rank: rank(ranked)
        for name, call in calls.items():
            found.setdefault(name, {})[size] = cpu_ms(call) / size
    return found


def cpu_ms(call: Callable[[], object], *, repeats: int = 15) -> float:
    """Median CPU milliseconds of a call."""
    call()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return 1e3 * median(times)


def history_of(items: np.ndarray) -> History:
    ids = items.astype(np.int64) + NUM_RESERVED
    return History(
        item=ids,
        timestamp=np.arange(LENGTH, dtype=np.int64) * DAY,
        event=np.full(LENGTH, 2, np.int64),
        value=np.full(LENGTH, np.nan, np.float32),
        seen=np.unique(ids),
    )


def body_of(items: np.ndarray, num_items: int, reasons: str) -> bytes:
    names = item_names(num_items)
    history = [{"item": names[at], "timestamp": 86_400 * place} for place, at in enumerate(items.tolist())]
    return json.dumps({"history": history, "k": K, "reasons": reasons}).encode()


@contextmanager
def served(path: Path, options: list[str]) -> Iterator[tuple[int, int]]:
    """A server in a process of its own; its port and the id of its process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "recsys.cli", "serve", str(path), "--port", str(port)]
    command += ["--state", ":memory:", "--no-impressions", *options]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT) as process:
        try:
            deadline = time.monotonic() + 120
            while True:
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5).close()
                    break
                except OSError:
                    if process.poll() is not None or time.monotonic() > deadline:
                        raise RuntimeError(f"the server did not start: {' '.join(command)}") from None
                    time.sleep(0.2)
            yield port, process.pid
        finally:
            process.terminate()


class Client:
    """A kept connection that posts bodies; as little work as possible, since it shares the cores."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def open(self) -> "Client":
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def post(self, body: bytes) -> bytes:
        self._writer.write(HEAD + str(len(body)).encode() + b"\r\n\r\n" + body)
        answered = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        length = int(answered.partition(b"content-length: ")[2].partition(b"\r")[0])
        content = await self._reader.readexactly(length)
        if b" 200 " not in answered[:16]:
            raise RuntimeError(content.decode())
        return content

    def close(self) -> None:
        self._writer.close()


async def measure_servers(
    servers: dict[str, tuple[int, int]], bodies: Bodies, args: argparse.Namespace
) -> dict[str, dict[str, list[Load]]]:
    """Stretches with one client, with 32 and at half load; servers, each a port and a process, in turns."""
    loads: dict[str, dict[str, list[Load]]] = {name: {"one": [], "many": [], "half": []} for name in servers}
    for server in servers.values():
        await closed_loop(*server, bodies, clients=4, seconds=2.0)  # warm-up
    for _ in range(args.rounds):
        for kind, clients in (("one", 1), ("many", CLIENTS)):
            for name, server in servers.items():
                load = await closed_loop(*server, bodies, clients=clients, seconds=args.seconds)
                loads[name][kind].append(load)
        for name, server in servers.items():
            rate = max(each.per_second for each in loads[name]["many"]) / 2
            loads[name]["half"].append(await open_loop(*server, bodies, rate=rate, seconds=args.seconds))
    return loads


async def closed_loop(port: int, process: int, bodies: Bodies, *, clients: int, seconds: float) -> Load:
    """Each client asks again when it is answered."""
    opened = [await Client(port).open() for _ in range(clients)]
    latencies: list[float] = []
    cpu, started = cpu_seconds(process), time.perf_counter()

    async def run(client: Client) -> None:
        while time.perf_counter() < started + seconds:
            await timed(client, bodies, latencies)

    await asyncio.gather(*(run(each) for each in opened))
    spent = time.perf_counter() - started
    for each in opened:
        each.close()
    return Load(latencies=latencies, seconds=spent, cpu_seconds=cpu_seconds(process) - cpu)


async def open_loop(port: int, process: int, bodies: Bodies, *, rate: float, seconds: float) -> Load:
    """Requests at random times, on average `rate` a second, whether others are answered or not."""
    rng = np.random.default_rng(0)
    at = np.cumsum(rng.exponential(1 / rate, max(int(rate * seconds), 2)))
    free: asyncio.LifoQueue[Client] = asyncio.LifoQueue()
    for _ in range(4 * CLIENTS):
        free.put_nowait(await Client(port).open())
    latencies: list[float] = []
    cpu, started = cpu_seconds(process), time.perf_counter()

    async def send(due: float) -> None:
        await asyncio.sleep(max(0.0, started + due - time.perf_counter()))
        client = await free.get()
        await timed(client, bodies, latencies, started + due)
        free.put_nowait(client)

    await asyncio.gather(*(send(due) for due in at.tolist()))
    spent = time.perf_counter() - started
    while not free.empty():
        free.get_nowait().close()
    return Load(latencies=latencies, seconds=spent, cpu_seconds=cpu_seconds(process) - cpu)


async def timed(client: Client, bodies: Bodies, latencies: list[float], since: float | None = None) -> None:
    start = time.perf_counter() if since is None else since
    await client.post(bodies[len(latencies) % len(bodies)])
    latencies.append(time.perf_counter() - start)


def cpu_seconds(process: int) -> float:
    """Processor time of a process so far."""
    fields = Path(f"/proc/{process}/stat").read_text("utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def report(bare: dict[str, dict[int, float]], loads: dict[str, dict[str, list[Load]]]) -> None:
    sums = {size: sum(each[size] for each in bare.values()) for size in BATCHES}
    print(f"| bare call, CPU ms a user | {' | '.join(f'{size} at once' for size in BATCHES)} |")
    print("|---" * (len(BATCHES) + 1) + "|")
    for name, each in (*bare.items(), ("sum", sums)):
        print(f"| {name} | {' | '.join(f'{each[size]:.2f}' for size in BATCHES)} |")
    best = min(sums.values())
    print("\n| | " + " | ".join(loads) + " |\n|---" + "|---" * len(loads) + "|")

    def row(label: str, figure: Callable[[dict[str, list[Load]]], str]) -> None:
        print(f"| {label} | {' | '.join(figure(each) for each in loads.values())} |")

    def middle(stretches: list[Load], of: Callable[[Load], float]) -> float:
        return median(of(each) for each in stretches)

    def ratio(each: dict[str, list[Load]]) -> float:
        return median(
            many.per_second / one.per_second for many, one in zip(each["many"], each["one"], strict=True)
        )

    row("one client: CPU ms a request", lambda each: f"{middle(each['one'], lambda load: load.cpu_ms):.2f}")
    row(
        "... over the bare calls (aim 1.5)",
        lambda each: f"{middle(each['one'], lambda load: load.cpu_ms) / sums[1]:.2f}",
    )
    row("one client: requests/s", lambda each: f"{middle(each['one'], lambda load: load.per_second):.1f}")
    row("32 clients: requests/s", lambda each: f"{middle(each['many'], lambda load: load.per_second):.1f}")
    row("... over one client (aim 1)", lambda each: f"{ratio(each):.2f}")
    row("32 clients: CPU ms a request", lambda each: f"{middle(each['many'], lambda load: load.cpu_ms):.2f}")
    row(
        "best bare calls over it (aim 0.80)",
        lambda each: f"{best / middle(each['many'], lambda load: load.cpu_ms):.2f}",
    )
    row("half load: p50, ms", lambda each: f"{middle(each['half'], lambda load: load.at(50)):.1f}")
    row("half load: p99, ms", lambda each: f"{middle(each['half'], lambda load: load.at(99)):.1f}")
    row(
        "... p99 over p50 (aim 5)",
        lambda each: f"{middle(each['half'], lambda load: load.at(99) / load.at(50)):.1f}",
    )


if __name__ == "__main__":
    main()
