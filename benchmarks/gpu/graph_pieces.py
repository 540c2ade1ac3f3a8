"""Exported graphs and the encoder through ONNX Runtime on the device, against its CPU provider."""

from pathlib import Path

import numpy as np
import torch

from benchmarks.gpu.folder import BUNDLE, ENCODER, WEIGHTS, Arrays, Prepared
from benchmarks.gpu.measure import CouldNotRun, seconds_of
from benchmarks.gpu.model_pieces import (
    LEAST_AGREEMENT,
    TOLERANCE,
    agreement_at_10,
    ranker_inputs,
    user_inputs,
)
from recsys.errors import ProviderError
from recsys.onnx import OnnxSession

CPU = torch.device("cpu")  # sessions have waited for their device when they return
BATCHES = (1, 32, 256)
GRAPHS = ("user_tower", "item_tower", "ranker")


def graphs(prepared: Prepared, device: str, *, quick: bool) -> dict[str, object]:
    """Parity, agreement, latency and throughput of each graph at each batch size."""
    budget, batches = (0.02, BATCHES[:2]) if quick else (0.7, BATCHES)
    found: dict[str, object] = {}
    for name in GRAPHS:
        path = prepared.path / BUNDLE / f"{name}.onnx"
        if not path.exists():
            found[name] = "not in the bundle"
            continue
        host, placed = OnnxSession(path), session_on(path, device)
        found[f"{name}: provider"] = placed.providers[0]
        for batch in batches:
            inputs = inputs_of(prepared, name, batch, host)
            found |= compared(f"{name}, batch {batch}", prepared, host, placed, inputs)
            found |= timed(f"{name}, batch {batch}", host, placed, inputs, batch, budget)
    return found


def session_on(path: Path, device: str, *, tf32: bool = False) -> OnnxSession:
    """A session on `device`. Raises `CouldNotRun` where ONNX Runtime cannot have it."""
    try:
        return OnnxSession(path, device=device, tf32=tf32)
    except ProviderError as error:
        raise CouldNotRun(f"ONNX Runtime has no session on the device: {error}") from None


def compared(
    label: str, prepared: Prepared, host: OnnxSession, placed: OnnxSession, inputs: Arrays
) -> dict[str, object]:
    """Largest difference of any output, and the agreement of the ten best. Raises above the tolerance."""
    expected, given = host.run(inputs), placed.run(inputs)
    gap = max(
        float(np.abs(given[name].astype(np.float64) - array.astype(np.float64)).max(initial=0.0))
        / max(1.0, float(np.abs(array).max(initial=0.0)))
        for name, array in expected.items()
    )
    found: dict[str, object] = {f"{label}: largest gap": gap}
    agreement = 1.0
    if "user_vector" in expected:
        scores = [answer["user_vector"] @ prepared.items.vectors.T for answer in (given, expected)]
        agreement = agreement_at_10(*scores)
    elif "score" in expected:
        agreement = agreement_at_10(given["score"], expected["score"])
    if "item_vector" not in expected:
        found[f"{label}: agreement of the ten best"] = agreement
    if gap > TOLERANCE or agreement < LEAST_AGREEMENT:
        raise AssertionError(f"the providers differ: {found}")
    return found


def timed(
    label: str, host: OnnxSession, placed: OnnxSession, inputs: Arrays, batch: int, budget: float
) -> dict[str, object]:
    """Latency on the CPU, on the device with the copies, and with inputs that lie on the device."""
    bound = {name: placed.placed(array) for name, array in inputs.items()}
    ways = {
        "CPU provider": lambda: host.run(inputs),
        "device, inputs copied": lambda: placed.run(inputs),
        "device, inputs there": lambda: placed.run_bound(bound),
    }
    found: dict[str, object] = {}
    for way, work in ways.items():
        seconds = seconds_of(work, CPU, budget=budget)
        found[f"{label}, {way}: ms"] = 1e3 * seconds
        found[f"{label}, {way}: rows/s"] = batch / seconds
    return found


def inputs_of(prepared: Prepared, name: str, batch: int, session: OnnxSession) -> Arrays:
    """`batch` rows of inputs of the graph `name`."""
    if name == "user_tower":
        inputs = user_inputs(prepared, prepared.items.vectors, batch)
    elif name == "ranker":
        inputs = ranker_inputs(prepared, batch)
    else:
        rows = np.resize(np.arange(2, prepared.features.size), batch)
        table = np.load(prepared.path / BUNDLE / "id_table.npy")
        inputs = dict(prepared.features.graph_inputs(rows))
        inputs |= {"id_embedding": table[rows], "has_id": prepared.features.trained[rows]}
    return {key: np.ascontiguousarray(inputs[key]) for key in session.input_names}


def extraction(prepared: Prepared, device: str, *, quick: bool) -> dict[str, object]:
    """The image encoder on the device through ONNX Runtime, or through torch where that has none."""
    directory = prepared.path / ENCODER
    pixels = pictures(prepared, 4 if quick else 64)
    host = OnnxSession(directory / "model.onnx")
    expected = host.run({"pixels": pixels})["vector"]
    found: dict[str, object] = {"encoder": prepared.facts["encoder"], "pictures": len(pixels)}
    budget, refused = (0.1 if quick else 2.0), ""
    try:
        placed = session_on(directory / "model.onnx", device, tf32=True)  # as extraction has it
    except CouldNotRun as error:
        refused = str(error)
    else:
        found |= _encoded("ONNX Runtime", placed.run({"pixels": pixels})["vector"], expected)
        seconds = seconds_of(lambda: placed.run({"pixels": pixels}), CPU, budget=budget)
        found["device, ONNX Runtime: pictures/s"] = len(pixels) / seconds
    if (directory / WEIGHTS).exists():
        try:
            found |= _torch_encoder(directory, pixels, expected, device, budget)
        except ModuleNotFoundError as error:
            if refused:
                raise CouldNotRun(f"{refused}; and for torch {error.name} is not installed") from None
            found["torch on the device"] = f"could not run: {error.name} is not installed"
    elif refused:
        raise CouldNotRun(refused)
    if refused:
        found["ONNX Runtime on the device"] = f"could not run: {refused}"
    seconds = seconds_of(lambda: host.run({"pixels": pixels[:4]}), CPU, budget=budget)
    found["CPU, ONNX Runtime: pictures/s in batches of 4"] = 4 / seconds
    return found


def _torch_encoder(
    directory: Path, pixels: np.ndarray, expected: np.ndarray, device: str, budget: float
) -> dict[str, object]:
    from features.conversion.bundled.efficientnet import EfficientNetLite0

    model = EfficientNetLite0()
    state = torch.load(directory / WEIGHTS, map_location="cpu", weights_only=True)
    model.load_state_dict(state, strict=False)  # without ImageNet's classifier
    model = model.eval().to(device)
    batch = torch.from_numpy(pixels).to(device)
    with torch.inference_mode():
        found = _encoded("torch", model(batch).float().cpu().numpy(), expected)
        seconds = seconds_of(lambda: model(batch), batch.device, budget=budget)
    return found | {"device, torch float32: pictures/s": len(pixels) / seconds}


def _encoded(way: str, given: np.ndarray, expected: np.ndarray) -> dict[str, object]:
    cosines = (given * expected).sum(1) / (
        np.linalg.norm(given, axis=1) * np.linalg.norm(expected, axis=1)
    ).clip(1e-9)
    if cosines.min() < 0.999:
        raise AssertionError(f"{way} on the device: lowest cosine to the CPU's vector {cosines.min():.5f}")
    return {f"{way} on the device: lowest cosine to the CPU's vector": float(cosines.min())}


def pictures(prepared: Prepared, num: int) -> np.ndarray:
    """Smooth random pixels of the size that the encoder reads, [num, height, width, 3]."""
    height, width = prepared.facts["picture"]
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (num, 8, 8, 3), np.uint8)
    rows, columns = np.arange(height) * 8 // height, np.arange(width) * 8 // width
    return np.ascontiguousarray(coarse[:, rows][:, :, columns])
