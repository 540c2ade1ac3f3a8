"""Serving on the device: the recommender that an endpoint composes, and the endpoint itself."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from typing import Any

import numpy as np
import torch

from benchmarks.gpu.folder import BUNDLE, Prepared, schema_of
from benchmarks.gpu.measure import CouldNotRun, seconds_of
from benchmarks.gpu.model_pieces import LEAST_AGREEMENT, histories_of
from benchmarks.gpu.stand_ins import is_installed
from recsys.bundle import Graphs, compose
from recsys.errors import ProviderError
from recsys.onnx import OnnxSession
from recsys.retrieval import ExactIndex, Recommender, RecommenderSettings, load_sources

CPU = torch.device("cpu")
NEEDED = ("fastapi", "uvicorn", "polars", "pydantic", "typer")
K, START_SECONDS = 10, 60


def engine(prepared: Prepared, device: str, *, quick: bool) -> dict[str, object]:
    """The same lists on the device and on the CPU, latency of one user and throughput of 256."""
    recommenders, found = {}, {}
    for name in dict.fromkeys(("cpu", device)):
        recommenders[name], sessions = recommender(prepared, name)
        providers = {graph: session.providers for graph, session in sessions.items()}
        found[f"{name}: providers"] = json.dumps(providers)
    users = histories_of(prepared, 8 if quick else 256)
    lists = {name: each.recommend(users, K).items for name, each in recommenders.items()}
    pairs = zip(lists[device], lists["cpu"], strict=True)
    agreement = float(np.mean([len(set(one) & set(other)) / K for one, other in pairs]))
    found[f"agreement of the first {K} items"] = agreement
    if agreement < LEAST_AGREEMENT:
        raise AssertionError(f"the lists differ: agreement {agreement:.4f}")
    for name, each in recommenders.items():
        for batch in (1, 32, 256):
            some = users[:batch]
            seconds = seconds_of(
                lambda each=each, some=some: each.recommend(some, K), CPU, budget=0.1 if quick else 1.5
            )
            found[f"{name}, {len(some)} at once: ms"] = 1e3 * seconds
            found[f"{name}, {len(some)} at once: users/s"] = len(some) / seconds
    return found


def recommender(prepared: Prepared, device: str) -> tuple[Recommender, dict[str, OnnxSession]]:
    """The bundle's recommender without its table of texts, which takes polars to read."""
    bundle = prepared.path / BUNDLE
    manifest = json.loads((bundle / "manifest.json").read_text("utf-8"))
    ranker, sources = bundle / "ranker.onnx", bundle / "sources"
    graphs = Graphs(user_tower=bundle / "user_tower.onnx", ranker=ranker if ranker.exists() else None)
    try:
        return compose(
            graphs,
            prepared.items,
            ExactIndex.build(prepared.items.vectors),
            schema=schema_of(manifest["sequence_schema"]),
            settings=RecommenderSettings.model_validate(manifest["recommender"]),
            sources=load_sources(sources) if sources.exists() else (),
            device=device,
        )
    except ProviderError as error:
        raise CouldNotRun(str(error)) from None


def endpoint(prepared: Prepared, device: str, *, quick: bool) -> dict[str, object]:
    """`recsys serve --device` in a process of its own: it answers, and says on what it runs."""
    if missing := [name for name in NEEDED if not is_installed(name)]:
        raise CouldNotRun(f"not installed: {', '.join(missing)}")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", "from recsys.cli import main; main()", "serve"]
    command += [str(prepared.path / BUNDLE), "--port", str(port), "--device", device, "--state", ":memory:"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as server:
        try:
            return _asked(server, f"http://127.0.0.1:{port}", prepared, quick)
        finally:
            server.send_signal(signal.SIGTERM)


def _asked(
    server: "subprocess.Popen[str]", address: str, prepared: Prepared, quick: bool
) -> dict[str, object]:
    """Wait for the server, ask for recommendations, and time one client."""
    end = time.monotonic() + START_SECONDS
    while True:
        if server.poll() is not None:
            assert server.stdout is not None
            raise AssertionError(f"the server ended: {server.stdout.read()[-2000:]}")
        try:
            ready = _json(f"{address}/readyz")
            break
        except OSError:
            if time.monotonic() > end:
                raise AssertionError(f"no answer within {START_SECONDS} s") from None
            time.sleep(0.2)
    items = list(prepared.features.item_ids.external)
    body = {"history": items[:5], "k": K}
    answer = _json(f"{address}/v1/recommend", body)
    if len(answer["items"]) != K:
        raise AssertionError(f"{len(answer['items'])} items instead of {K}")
    seconds = seconds_of(lambda: _json(f"{address}/v1/recommend", body), CPU, budget=0.3 if quick else 3.0)
    return {
        "providers": json.dumps(ready.get("providers")),
        "one client, a connection a request: ms": 1e3 * seconds,
        "items": len(answer["items"]),
    }


def _json(address: str, body: object = None) -> dict[str, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        found: dict[str, Any] = json.load(answer)
    return found
