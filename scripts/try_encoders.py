"""Convert every kind of encoder that needs no network and print the table of docs/encoders.md.

    python scripts/try_encoders.py [WORD ...]      only the rows whose name contains one of the words

Embedded encoders have their real weights. The other rows are architectures with random weights: they show
that the conversion works and agrees with the original, not the quality of an encoder. Times are CPU seconds.
"""

import contextlib
import io
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import tiny_models  # noqa: E402
import torch  # noqa: E402
import torchvision  # noqa: E402

from features.conversion import EMBEDDED  # noqa: E402
from features.conversion.verify.report import Report, convert_encoder  # noqa: E402

OF_384 = {**tiny_models.SMALL, "hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6}
OF_384 |= {"intermediate_size": 1536, "initializer_range": 0.02}
OF_512 = {**OF_384, "hidden_size": 512, "num_hidden_layers": 6, "num_attention_heads": 8}
TORCHVISION = ("resnet18", "mobilenet_v3_small", "efficientnet_b0", "convnext_tiny", "vit_b_32", "swin_t")
PUBLISHED: dict[str, tuple[str, Callable[[Path], Path]]] = {  # row -> kind, function that writes the model
    "BERT, 12 layers of 384 (as multilingual-e5-small)": (
        "text",
        lambda path: tiny_models.write_bert(path, OF_384, max_tokens=512),
    ),
    "DINOv2, 12 layers of 384 (as dinov2-small)": (
        "image",
        lambda path: tiny_models.write_dinov2(path, OF_384, side=224, patch=14),
    ),
    "Whisper, 6 layers of 512 (as whisper-base)": (
        "audio",
        lambda path: tiny_models.write_whisper(path, OF_512, seconds=30),
    ),
}
TINY = {
    "bert": "text",
    "vit": "image",
    "dinov2": "image",
    "convnext": "image",
    "clip": "text image",
    "siglip": "text image",
    "whisper": "audio",
    "wav2vec2": "audio",
    "hubert": "audio",
    "ast": "audio",
    "clap": "text audio",
}


def rows(folder: Path) -> Iterator[tuple[str, str, str, str]]:
    """Name of the row, name of the encoder, kind, weights. A model is written just before its row."""
    for name, encoder in EMBEDDED.items():
        yield f"`{name}`", name, encoder.kind, "real"
    for name, (kind, write) in PUBLISHED.items():
        yield name, str(write(folder / f"published-{kind}")), kind, "random"
    for name, kinds in TINY.items():
        for kind in kinds.split():
            if not (folder / name).exists():
                getattr(tiny_models, f"write_{name}")(folder / name)
            yield f"{name}, 2 layers of 16", str(folder / name), kind, "random"
    for name in TORCHVISION:
        torch.manual_seed(0)
        torch.save(torchvision.models.get_model(name, weights=None).state_dict(), folder / f"{name}.pth")
        yield f"`torchvision:{name}`", f"torchvision:{name}:{folder / name}.pth", "image", "random"


def line(row: str, kind: str, weights: str, report: Report) -> str:
    parity = report.spec.parity
    whole = f"{parity['difference']:.0e}" if "difference" in parity else ""
    cells: list[Any] = [row, kind, weights, report.spec.dim, f"{report.num_bytes / 1e6:,.1f}"]
    return " | ".join(map(str, [*cells, f"{parity['graph']:.0e}", whole, f"{report.cpu_seconds:.0f}"]))


def main() -> None:
    words = sys.argv[1:]
    print("| encoder | kind | weights | dimensions | MB | graph | whole | CPU s |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        for row, name, kind, weights in rows(Path(temporary)):
            if words and not any(word in row for word in words):
                continue
            with contextlib.redirect_stderr(io.StringIO()):
                report = convert_encoder(name, kind, Path(temporary) / "cache")  # type: ignore[arg-type]
            print(f"| {line(row, kind, weights, report)} |", flush=True)


if __name__ == "__main__":
    main()
