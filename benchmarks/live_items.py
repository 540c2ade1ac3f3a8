"""From an upload to its first appearance in a recommendation, and what one change of the catalogue costs.

    python benchmarks/live_items.py BUNDLE [--items 800 14000 100000] [--uploads 500] [--folder DIR]

BUNDLE is that of a run with search, encoders and an item tower. For each number of items it is enlarged by
copies of its items with a little noise, and served by a process of its own over loopback, its state on the
disk of the folder. Client and server share the cores.

"upload" sends a title, a text, categories and a JPEG of 1 megapixel, all different, by PUT, and then asks for
a recommendation among the new item alone; the time is from the first byte of the upload to the end of the
answer that lists the item. "title alone" is the same without text and picture. "delete" is one DELETE. The
memory is the resident set of the server, its CPU time is that of one action.
"""

import argparse
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import httpx2
import numpy as np
import polars as pl
from PIL import Image

from recsys.bundle import Bundle, write_bundle
from recsys.ids import NUM_RESERVED, IdMap
from recsys.retrieval import build_index
from recsys.search import Document, LexicalIndex, LexicalSettings

SERVER = """
import sys
from pathlib import Path
from serving.http import serve
from serving.swap import ServeSettings
serve(Path(sys.argv[1]), ServeSettings(state=Path(sys.argv[2])), port=int(sys.argv[3]), log_level="error")
"""
COLUMNS = (
    "items",
    "what",
    "median (ms)",
    "99% (ms)",
    "largest (ms)",
    "CPU of the server (ms)",
    "memory (MB)",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--items", type=int, nargs="+", default=[800, 14_000, 100_000])
    parser.add_argument("--uploads", type=int, default=500)
    parser.add_argument("--folder", type=Path, help="Where the files are written; its disk is measured.")
    args = parser.parse_args()
    print("| " + " | ".join(COLUMNS) + " |\n|" + "---|" * len(COLUMNS))
    for num_items in args.items:
        with tempfile.TemporaryDirectory(dir=args.folder) as name:
            path = enlarged(args.bundle, num_items, Path(name) / "bundle")
            measure(path, num_items, args)


def enlarged(source: Path, num_items: int, target: Path) -> Path:
    """The bundle of `source` with `num_items` items, copies of its own with noise in their vectors."""
    bundle, rng = Bundle.open(source), np.random.default_rng(0)
    own = len(bundle.item_ids)
    rows = np.concatenate([np.arange(NUM_RESERVED), NUM_RESERVED + np.arange(num_items) % own])

    def fill(directory: Path) -> dict[str, Any]:
        shutil.copytree(source, directory, dirs_exist_ok=True)
        (directory / "manifest.json").unlink()
        names = [f"{bundle.item_ids.external[at % own]}-{at // own}" for at in range(num_items)]
        IdMap(names).save(directory / "item_ids.npy")
        catalogue = bundle.catalogue[rows[NUM_RESERVED:] - NUM_RESERVED]
        catalogue = catalogue.with_columns(pl.Series("item_id", names))
        catalogue.write_parquet(directory / "catalogue.parquet")
        vectors = bundle.item_vectors[rows] + 0.1 * rng.normal(size=(len(rows), 1)).astype(np.float32)
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)
        vectors[:NUM_RESERVED] = 0
        np.save(directory / "item_vectors.npy", vectors)
        shutil.rmtree(directory / "index")
        build_index("exact", vectors).save(directory / "index")
        arrays = ["item_tokens.npy", "token_mask.npy", "id_table.npy", "search/has_words.npy"]
        arrays += [f"search/{each.parent.name}/{each.name}" for each in sorted(source.glob("search/*/*.npy"))]
        for name in arrays:
            if "words/" not in name and (source / name).is_file():
                np.save(directory / name, np.load(source / name)[rows])
        enlarge_words(source / "search" / "words", directory / "search" / "words", rows)
        documents = (
            Document(item=at, title=title or "")
            for at, title in enumerate(catalogue["title"].to_list(), NUM_RESERVED)
        )
        shutil.rmtree(directory / "search" / "lexical")
        LexicalIndex.build(documents, LexicalSettings(), directory / "search" / "lexical")
        computed = {"format_version", "recsys_version", "created_at", "files"}
        return bundle.manifest.model_dump(mode="json", exclude=computed)

    return write_bundle(target, fill).path


def enlarge_words(source: Path, target: Path, rows: np.ndarray) -> None:
    offsets, ids = np.load(source / "offsets.npy"), np.load(source / "ids.npy")
    parts = [ids[offsets[row] : offsets[row + 1]] for row in rows]
    np.save(target / "offsets.npy", np.cumsum([0, *map(len, parts)]).astype(np.int64))
    np.save(target / "ids.npy", np.concatenate(parts))


def measure(path: Path, num_items: int, args: argparse.Namespace) -> None:
    state = path.parent / "state.sqlite"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-c", SERVER, str(path), str(state), str(port)]
    server = subprocess.Popen(command, cwd=Path(__file__).parents[1], stdout=subprocess.DEVNULL)
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=600) as client:
            wait_for(client)
            categories = example_categories(client)
            report(num_items, "start", [], server.pid)
            upload(client, -1, categories, with_picture=True)  # loads the encoders
            report(num_items, "encoders loaded", [], server.pid)

            def timed(what: str, act: Callable[[int], None], count: int) -> None:
                times, spent = [], cpu_ms(server.pid)
                for at in range(count):
                    start = time.perf_counter()
                    act(at)
                    times.append(1000 * (time.perf_counter() - start))
                report(num_items, what, times, server.pid, (cpu_ms(server.pid) - spent) / count)

            num_few = max(args.uploads // 10, 2)
            timed("upload", lambda at: upload(client, at, categories, with_picture=True), args.uploads)
            timed(
                "title alone",
                lambda at: upload(client, args.uploads + at, categories, with_picture=False),
                num_few,
            )
            timed(
                "delete", lambda at: client.delete(f"/v1/items/new-{at}").raise_for_status() and None, num_few
            )
    finally:
        server.terminate()
        server.wait()


def wait_for(client: httpx2.Client) -> None:
    for _ in range(600):
        try:
            client.get("/readyz").raise_for_status()
            return
        except httpx2.HTTPError:
            time.sleep(0.5)
    raise SystemExit("the server does not answer")


def example_categories(client: httpx2.Client) -> dict[str, list[str]]:
    facets = client.post("/v1/facets", json={}).raise_for_status().json()["facets"]
    return {each["field"]: [each["values"][0]["value"]] for each in facets if each["field"] != "reviewers"}


def upload(client: httpx2.Client, at: int, categories: dict[str, list[str]], *, with_picture: bool) -> None:
    """PUT an item, and ask for it until a recommendation lists it."""
    name = f"new-{at}"
    fields: dict[str, Any] = {"title": f"Warm scarf number {at}", **categories}
    if with_picture:
        fields["text"] = f"Number {at}: woven by hand from soft wool, for cold days in the mountains. " * 8
        rng = np.random.default_rng(at + 1)
        pixels = rng.integers(0, 256, (25, 40, 3), np.uint8)
        out = io.BytesIO()
        Image.fromarray(pixels).resize((1250, 800)).save(out, "JPEG", quality=90)
        form = {"item": (None, json.dumps(fields), "application/json"), "image": ("a.jpg", out.getvalue())}
        client.put(f"/v1/items/{name}", files=form).raise_for_status()
    else:
        client.put(f"/v1/items/{name}", json=fields).raise_for_status()
    asked = {"history": [], "candidates": [name], "k": 1}
    listed = client.post("/v1/recommend", json=asked).raise_for_status().json()["items"]
    assert [each["item_id"] for each in listed] == [name]


def delete(client: httpx2.Client, at: int) -> None:
    client.delete(f"/v1/items/new-{at}").raise_for_status()


def cpu_ms(pid: int) -> float:
    """CPU time of a process since its start."""
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    return 1000 * (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def report(num_items: int, what: str, times: list[float], pid: int, spent: float | None = None) -> None:
    status = Path(f"/proc/{pid}/status").read_text("utf-8")
    resident = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    shown = ["", "", ""]
    if times:
        highest = quantiles(times, n=100)[98] if len(times) > 1 else times[0]
        shown = [f"{value:.0f}" for value in (median(times), highest, max(times))]
    shown += ["" if spent is None else f"{spent:.0f}", f"{resident / 1024:.0f}"]
    print("| " + " | ".join([f"{num_items:,}", what, *shown]) + " |", flush=True)


if __name__ == "__main__":
    main()
