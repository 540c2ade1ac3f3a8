"""Prepares, on a machine without a GPU, the folder that `benchmarks.gpu.run` reads on one with.

    python -m benchmarks.gpu.prepare OUT [--run RUN] [--max-mb 50]

RUN is the directory of a finished `recsys run`. Without it a small sample shop is made and trained, in about
ten minutes on two cores. OUT holds the run's inputs of training, its towers and ranker, its bundle without
the encoders, and its image encoder.
"""

import argparse
import json
import platform
import shutil
import sys
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from benchmarks.gpu.folder import BUNDLE, ENCODER, INPUTS, RANKER, TOWERS, WEIGHTS, write_inputs
from features.conversion import ensure_encoder
from features.encoders import EncoderSpec
from recsys.bundle import MANIFEST, Bundle
from recsys.config import changed
from recsys.item_features import ItemArrays
from training.fitting import FitInputs
from training.pipeline import Run

MAX_USERS = 2000  # whose sequences are taken along
PACKAGES = ("torch", "torchrec", "onnxruntime-gpu", "numpy")
SHOP = ("--items", "300", "--users", "400")
TRAINING = (
    "--set",
    "train.epochs=8",
    "--set",
    "evaluate.knockouts=false",
    "--set",
    "evaluate.id_only=false",
    "--set",
    "track.enabled=false",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--max-mb", type=float, default=50.0)
    args = parser.parse_args()
    if args.out.exists():
        sys.exit(f"{args.out} exists; remove it, or name another folder")
    with TemporaryDirectory(dir=args.out.parent) as temporary:
        run = open_run(args.run or make_run(Path(temporary)))
        made = Path(temporary) / "prepared"
        size = prepare(run, made)
        for name, num_bytes in size.items():
            print(f"{num_bytes / 1e6:8.2f} MB  {name}")
        total = sum(size.values()) / 1e6
        if total > args.max_mb:
            sys.exit(f"{total:.1f} MB in all, above --max-mb {args.max_mb:g}; take a smaller run")
        made.rename(args.out)
    print(f"{total:8.2f} MB  in all, in {args.out}")


def make_run(folder: Path) -> Path:
    """A small sample shop, trained and exported; the run directory."""
    from recsys.cli import main as recsys

    for command in (
        ["sample", str(folder / "shop"), *SHOP],
        ["run", str(folder / "shop"), "--out", str(folder / "run"), *TRAINING],
    ):
        sys.argv = ["recsys", *command]
        try:
            recsys()
        except SystemExit as stop:
            if stop.code:
                raise
    return folder / "run"


def open_run(path: Path) -> Run:
    """The run in `path`, untracked: preparing is no step of it."""
    run = Run.open(path)
    config = changed(run.config, {"track.enabled": False})
    return Run(run.directory, run.dataset_path, config, cache_dir=run.cache_dir)


def prepare(run: Run, out: Path) -> dict[str, int]:
    """Write the folder of `run`; the size of each of its parts in bytes."""
    out.mkdir(parents=True)
    bundle = copy_bundle(run.directory.bundle, out / BUNDLE)
    fitted = run.fitted
    torch.save(fitted.retriever.model.state_dict(), out / TOWERS)
    if fitted.ranker is not None:
        torch.save(fitted.ranker.module.state_dict(), out / RANKER)
    inputs = FitInputs.of(run.dataset, run.vectors, run.split, run.config)
    facts = {
        "dataset": run.dataset.name,
        "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        "num_sources": fitted.ranker.module.ranker.num_sources if fitted.ranker is not None else 0,
        "encoder": copy_encoder(run, out / ENCODER),
        "picture": picture_size(out / ENCODER),
    }
    write_inputs(
        out,
        config=run.config,
        features=inputs.features,
        schema=inputs.schema,
        sequences=dict(islice(inputs.sequences.items(), MAX_USERS)),
        items=items_of(bundle),
        facts=facts,
    )
    size = {each.name: size_of(each) for each in sorted(out.iterdir())}
    content = json.loads((out / INPUTS).read_text("utf-8"))
    (out / INPUTS).write_text(json.dumps(content | {"bytes": size}), "utf-8")
    return size


def copy_bundle(source: Path, target: Path) -> Bundle:
    """A copy of the bundle without its encoders, which no piece asks; its manifest names none either."""
    shutil.copytree(source, target, ignore=lambda folder, _: ["encoders"] if Path(folder) == source else [])
    manifest: dict[str, Any] = json.loads((target / MANIFEST).read_text("utf-8"))
    files = {name: sha for name, sha in manifest["files"].items() if not name.startswith("encoders/")}
    (target / MANIFEST).write_text(json.dumps(manifest | {"files": files, "encoders": {}}), "utf-8")
    return Bundle.open(target)


def copy_encoder(run: Run, target: Path) -> str:
    """The run's image encoder and, of the bundled one, its parameters for torch; its name."""
    name = run.config.encoders.image
    shutil.copytree(ensure_encoder(name, kind="image"), target)
    if name == "efficientnet-lite0":
        from features.conversion import EMBEDDED
        from features.conversion.bundled.efficientnet import load_module

        state = load_module(EMBEDDED[name].weights).state_dict()
        kept = {key: value for key, value in state.items() if not key.startswith("classifier.")}
        torch.save(kept, target / WEIGHTS)
    return Path(name).name


def picture_size(encoder: Path) -> list[int]:
    """Height and width of the pictures that the encoder reads."""
    crop = EncoderSpec.read(encoder).preprocessing["crop"]
    return [crop, crop] if isinstance(crop, int) else list(crop)


def items_of(bundle: Bundle) -> ItemArrays:
    """The arrays that serving reads, in memory."""
    return ItemArrays(
        vectors=np.array(bundle.item_vectors),
        tokens=np.array(bundle.item_tokens),
        token_mask=np.array(bundle.token_mask),
        trained=bundle.trained,
        popularity=bundle.popularity,
        recent_popularity=bundle.recent_popularity,
    )


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files below a folder."""
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    return sum(each.stat().st_size for each in files)


if __name__ == "__main__":
    main()
