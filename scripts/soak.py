"""Events, recommendations and a swap at once for some minutes: no error, and memory that does not grow.

    python -m scripts.soak FIRST SECOND [--seconds 300] [--clients 4]

FIRST and SECOND are bundles in one folder. A server with a state in a temporary file answers from FIRST.
Clients post events and ask for the lists of their users. After a fifth of the time the server is asked to
serve SECOND. The memory of its process is printed at every tenth of the time. The exit code is 1 after any
answer but 200, and where the memory has grown by more than 5% from the fourth to the last tenth.
"""

import argparse
import http.client
import json
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl

GROWTH = 1.05


class Load:
    """Clients of one server, and what they were answered."""

    def __init__(self, port: int, items: list[str]) -> None:
        self.port, self.items = port, items
        self.statuses: Counter[tuple[str, int]] = Counter()
        self.bundles: Counter[str] = Counter()
        self.stop = threading.Event()
        self._lock = threading.Lock()

    def run(self, number: int) -> None:
        """Post an event of a random user and ask for that user's list, until stopped."""
        rng, at = random.Random(number), 0
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        while not self.stop.is_set():
            user, at = f"user-{rng.randrange(500)}", at + 1
            event = {"event_id": f"{number}-{at}", "user_id": user, "item_id": rng.choice(self.items)}
            self.post(connection, "/v1/events", {"events": [event]})
            body = self.post(connection, "/v1/recommend", {"user_id": user, "k": 10})
            with self._lock:
                self.bundles[body.get("model", {}).get("version", "none")] += 1

    def post(self, connection: http.client.HTTPConnection, path: str, body: dict[str, Any]) -> dict[str, Any]:
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        found: dict[str, Any] = json.loads(answer.read())
        with self._lock:
            self.statuses[path, answer.status] += 1
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--clients", type=int, default=4)
    args = parser.parse_args()
    with socket.socket() as free, tempfile.TemporaryDirectory() as folder:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        command = [sys.executable, "-m", "recsys.cli", "serve", str(args.first), "--port", str(port)]
        command += ["--state", f"{folder}/state.sqlite", "--bundles", str(args.first.resolve().parent)]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT) as server:
            try:
                is_well = soak(server, port, args)
            finally:
                server.terminate()
    sys.exit(0 if is_well else 1)


def soak(server: "subprocess.Popen[bytes]", port: int, args: argparse.Namespace) -> bool:
    """Whether every answer was 200, both bundles answered, and the memory did not grow."""
    wait_for(server, port)
    load = Load(port, pl.read_parquet(args.first / "catalogue.parquet", glob=False)["item_id"].to_list())
    threads = [threading.Thread(target=load.run, args=(at,)) for at in range(args.clients)]
    for thread in threads:
        thread.start()
    memory = []
    try:
        for tenth in range(10):
            time.sleep(args.seconds / 10)
            memory.append(resident_mb(server.pid))
            print(f"{(tenth + 1) * args.seconds / 10:6.0f} s  {memory[-1]:7.1f} MB", flush=True)
            if tenth == 1:  # the swap, then eight tenths on the second bundle
                started = time.monotonic()
                named = {"bundle": args.second.resolve().name}
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
                answer = load.post(connection, "/v1/admin/bundle", named)
                print(f"swapped in {time.monotonic() - started:.1f} s: {answer}", flush=True)
    finally:
        load.stop.set()
        for thread in threads:
            thread.join()
    print(dict(load.statuses))
    print(dict(load.bundles))
    growth = memory[-1] / memory[3]
    print(f"memory after the swap: {growth:.3f} times from the fourth to the last tenth")
    only_200 = {status for _, status in load.statuses} == {200}
    return only_200 and len(load.bundles) == 2 and growth <= GROWTH


def wait_for(server: "subprocess.Popen[bytes]", port: int) -> None:
    for _ in range(600):
        try:
            with socket.create_connection(("127.0.0.1", port), 1):
                return
        except OSError:
            if server.poll() is not None:
                raise RuntimeError("the server did not start") from None
            time.sleep(0.2)
    raise RuntimeError("the server does not answer")


def resident_mb(process: int) -> float:
    lines = Path(f"/proc/{process}/status").read_text("utf-8").splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1e3


if __name__ == "__main__":
    main()
