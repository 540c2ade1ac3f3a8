"""Cost of extraction beside other libraries: same weights, data and cores, in turns within one run.

    python -m benchmarks.extraction [texts pictures speech] [--items 128] [--clips 60] [--repetitions 3]

Texts are compared with sentence-transformers, pictures with eager torch (from files, with decoding and
resizing), speech with faster-whisper, if it is installed. The data are MovieLens-small with posters, plots
and spoken reviews, found through RECSYS_DATA, or else a generated sample shop.

The main result is the number of items in a CPU second over all threads of the process, which other work on
the machine hardly changes. Elapsed seconds are printed beside it. Ratios are ratios of medians over the
repetitions.
"""

import argparse
import csv
import os
import random
import re
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from features.conversion import EMBEDDED, ensure_encoder
from features.encoders import Encoder
from features.extraction import WhisperTranscriber, load_transcriber
from features.media import SAMPLE_RATE, load_audio, load_image

SMALL = Path(os.environ.get("RECSYS_DATA") or "RECSYS_DATA is not set") / "movielens-small"


@dataclass(frozen=True)
class Media:
    texts: list[str]
    pictures: list[Path]
    clips: list[Path]
    spoken: list[str] | None  # the true transcripts of the clips, if known


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", nargs="*", choices=["texts", "pictures", "speech", []], default=[])
    parser.add_argument("--items", type=int, default=128)
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        small = SMALL.is_dir()
        media = (_movielens if small else partial(_shop, Path(temporary)))(options.items, options.clips)
        print(f"{_processor()}, {options.threads} threads; {'MovieLens-small' if small else 'sample shop'}")
        for what in options.what or ["texts", "pictures", "speech"]:
            {"texts": texts, "pictures": pictures, "speech": speech}[what](media, options)


def texts(media: Media, options: argparse.Namespace) -> None:
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(options.threads)
    peer = SentenceTransformer(str(EMBEDDED["minilm-l6"].weights.locate()[0].parent), device="cpu")
    peer.max_seq_length = 256  # the limit in training, which the package of the weights lacks
    encoder = Encoder.load(ensure_encoder("minilm-l6"), num_threads=options.threads)
    peers = {
        f"sentence-transformers, {size} at once": partial(
            peer.encode, media.texts, batch_size=size, show_progress_bar=False
        )
        for size in (32, 8, 4)
    }
    compare(
        f"{len(media.texts)} texts",
        len(media.texts),
        peers,
        lambda: encoder.encode_texts(media.texts),
        options,
    )


def pictures(media: Media, options: argparse.Namespace) -> None:
    import torch

    from features.conversion.bundled import efficientnet

    torch.set_num_threads(options.threads)
    net = efficientnet.load_module(EMBEDDED["efficientnet-lite0"].weights)
    encoder = Encoder.load(ensure_encoder("efficientnet-lite0"), num_threads=options.threads)

    def eager(size: int) -> np.ndarray:
        vectors = []
        with torch.inference_mode():
            for at in range(0, len(media.pictures), size):
                pixels = [encoder.prepare_image(load_image(path)) for path in media.pictures[at : at + size]]
                vectors.append(net(torch.from_numpy(np.stack(pixels))).numpy())
        return np.concatenate(vectors)

    def encode() -> np.ndarray:
        return encoder.encode_images(
            [load_image(path, min_side=2 * encoder.spec.side) for path in media.pictures]
        )

    peers = {f"eager torch, {size} at once": partial(eager, size) for size in (1, 32)}
    compare(f"{len(media.pictures)} pictures", len(media.pictures), peers, encode, options)


def compare(
    title: str,
    num_items: int,
    peers: Mapping[str, Callable[[], np.ndarray]],
    encode: Callable[[], np.ndarray],
    options: argparse.Namespace,
) -> None:
    """Print one line for each library; the libraries run in turns."""
    sides = {**peers, "recsys": encode}
    spent, vectors = take_turns(sides, options.repetitions)
    own = median(num_items / cpu for cpu, _ in spent["recsys"])
    print(f"\n{title:34} a CPU second (spread)     a second   recsys is   least cosine")
    for name in sides:
        rates = [num_items / cpu for cpu, _ in spent[name]]
        wall = median(num_items / wall for _, wall in spent[name])
        cosine = _cosines(vectors["recsys"], vectors[name]).min()
        print(
            f"{name:34} {median(rates):8.1f} ({min(rates):.1f}-{max(rates):.1f})".ljust(58)
            + f"{wall:8.1f}   {own / median(rates):6.2f} x   {cosine:.6f}",
            flush=True,
        )


def speech(media: Media, options: argparse.Namespace) -> None:
    """CPU seconds for a minute of speech, by stage, and the word error rate of the transcripts."""
    clips = [load_audio(path) for path in media.clips]
    minutes = sum(map(len, clips)) / SAMPLE_RATE / 60
    encoder = Encoder.load(ensure_encoder("whisper-tiny.en"), num_threads=options.threads)
    transcriber = load_transcriber("whisper-tiny.en", num_threads=options.threads)
    assert isinstance(transcriber, WhisperTranscriber)
    stages: dict[str, Callable[[], Any]] = {
        "decoding": lambda: [load_audio(path) for path in media.clips],
        "acoustic vectors": lambda: encoder.encode_audio(clips),
        "words": lambda: transcriber.transcribe(clips),
        **_faster_whisper(transcriber.directory, clips, options.threads),
    }
    transcriber.transcribe(clips[:1])  # loads the model
    spent, results = take_turns(stages, options.repetitions)
    print(
        f"\n{len(clips)} clips, {minutes:.1f} minutes   CPU seconds a minute (spread)   seconds   word errors"
    )
    for name in stages:
        costs = [cpu / minutes for cpu, _ in spent[name]]
        wall = median(wall / minutes for _, wall in spent[name])
        rate = f"{error_rate(media.spoken, results[name]):.4f}" if _has_words(media, results[name]) else ""
        spread = f"{median(costs):6.2f} ({min(costs):.2f}-{max(costs):.2f})"
        print(f"{name:34} {spread:28} {wall:6.2f}   {rate}", flush=True)


def _faster_whisper(directory: Path, clips: Sequence[Any], threads: int) -> dict[str, Callable[[], Any]]:
    """The same weights in faster-whisper, one clip at a time: greedy as in recsys, and with its defaults."""
    try:
        from faster_whisper import WhisperModel
    except ImportError:
        print("faster-whisper is not installed: the words are not compared")
        return {}
    model = WhisperModel(str(directory), device="cpu", compute_type="int8", cpu_threads=threads)

    def transcribe(**settings: Any) -> list[str]:
        return [
            " ".join(segment.text.strip() for segment in model.transcribe(clip, language="en", **settings)[0])
            for clip in clips
        ]

    greedy = partial(transcribe, beam_size=1, without_timestamps=True, condition_on_previous_text=False)
    return {"words, faster-whisper greedy": greedy, "words, faster-whisper defaults": transcribe}


def take_turns(
    sides: Mapping[str, Callable[[], Any]], repetitions: int
) -> tuple[dict[str, list[tuple[float, float]]], dict[str, Any]]:
    """CPU and elapsed seconds of every repetition after an untimed one, and the last result, by name."""
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    results: dict[str, Any] = {}
    for repetition in range(repetitions + 1):
        for name, run in sides.items():
            wall, cpu = time.perf_counter(), time.process_time()
            results[name] = run()
            if repetition:
                spent[name].append((time.process_time() - cpu, time.perf_counter() - wall))
    return spent, results


def error_rate(spoken: Sequence[str] | None, transcripts: Sequence[str]) -> float:
    """Word error rate: wrong, missing and added words divided by the number of spoken words."""
    assert spoken is not None
    return sum(map(word_errors, spoken, transcripts)) / sum(len(_words(text)) for text in spoken)


def word_errors(spoken: str, transcript: str) -> int:
    """Levenshtein distance in words."""
    reference, hypothesis = _words(spoken), _words(transcript)
    row = np.arange(len(hypothesis) + 1)
    for at, word in enumerate(reference, 1):
        before = row.copy()
        row[0] = at
        for column, other in enumerate(hypothesis, 1):
            row[column] = min(before[column] + 1, row[column - 1] + 1, before[column - 1] + (word != other))
    return int(row[-1])


def _has_words(media: Media, result: Any) -> bool:
    return media.spoken is not None and isinstance(result, list) and isinstance(result[0], str)


def _words(text: str) -> list[str]:
    return re.sub(r"[^a-z0-9' ]", " ", text.lower()).split()


def _cosines(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return np.asarray((one * other).sum(axis=1) / norms)


def _movielens(num_items: int, num_clips: int) -> Media:
    """Plots and posters sampled with a fixed seed, and evenly spaced spoken reviews of the file."""
    draw = random.Random(0)
    with (SMALL / "plots.csv").open(newline="", encoding="utf-8") as file:
        plots = [f"{row['overview']}\n\n{row['plot']}" for row in csv.DictReader(file)]
    with (SMALL / "spoken_reviews" / "reviews.csv").open(newline="", encoding="utf-8") as file:
        reviews = list(csv.DictReader(file))
    reviews = reviews[:: max(len(reviews) // num_clips, 1)][:num_clips]
    return Media(
        texts=draw.sample(plots, num_items),
        pictures=draw.sample(sorted((SMALL / "posters").glob("*.jpg")), num_items),
        clips=[SMALL / "spoken_reviews" / review["audio"] for review in reviews],
        spoken=[review["text"] for review in reviews],
    )


def _shop(directory: Path, num_items: int, num_clips: int) -> Media:
    from features.dataset import load_dataset
    from features.sample import SampleOptions, write_sample_shop

    write_sample_shop(directory, SampleOptions(num_items=max(num_items, 20)))
    shop = load_dataset(directory)
    pictures = [Path(path) for paths in shop.items["image"].to_list() for path in paths or ()]
    clips = [Path(path) for path in shop.reviews["audio"].drop_nulls().unique(maintain_order=True)]
    texts = shop.items["text"].drop_nulls().to_list()
    return Media(texts=texts[:num_items], pictures=pictures[:num_items], clips=clips[:num_clips], spoken=None)


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    return next(
        (line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown CPU"
    )


if __name__ == "__main__":
    main()
