"""What extraction costs and how well it hears, on real media.

    python benchmarks/extraction.py words [clips]    word error rate and CPU seconds a minute of speech
    python benchmarks/extraction.py speed [items]    items a CPU second, ONNX Runtime against eager torch

The data are found through RECSYS_DATA. CPU seconds are of the whole process, so that the figures hold
on a machine that does other work too.
"""

import csv
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from features.conversion import EMBEDDED, ensure_encoder
from features.encoders import Encoder
from features.media import SAMPLE_RATE, load_audio, load_image
from features.transcribe import WhisperTranscriber

DATA = Path(os.environ.get("RECSYS_DATA", Path(__file__).parents[2] / "shared" / "data"))
SMALL = DATA / "movielens-small"
BATCH = 32


def main() -> None:
    if not SMALL.is_dir():
        sys.exit(f"no data at {SMALL}; set RECSYS_DATA")
    what, num = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 200
    {"words": words, "speed": speed}[what](num)


def words(num: int) -> None:
    spoken, clips = _clips(num)
    minutes = sum(map(len, clips)) / SAMPLE_RATE / 60
    print(f"{len(clips)} clips, {minutes:.1f} minutes")
    directory = EMBEDDED["whisper-tiny.en"].weights.locate()[0].parent
    for compute_type in ("int8", "float32"):
        for silence in (1.0, 2.0, 4.0, 30.0):
            transcriber = WhisperTranscriber(
                directory, batch_size=BATCH, trailing_silence_seconds=silence, compute_type=compute_type
            )
            transcriber.transcribe(clips[:1])  # loads the model
            start, wall = time.process_time(), time.perf_counter()
            heard = transcriber.transcribe(clips)
            cpu, wall = time.process_time() - start, time.perf_counter() - wall
            errors = sum(map(word_errors, spoken, heard))
            rate = errors / sum(len(_words(text)) for text in spoken)
            print(
                f"{compute_type:8} silence {silence:4.0f} s: word error rate {rate:.4f}, "
                f"{cpu / minutes:.2f} CPU s and {wall / minutes:.2f} s a minute of speech",
                flush=True,
            )


def word_errors(spoken: str, heard: str) -> int:
    """Levenshtein distance of the two in words."""
    reference, hypothesis = _words(spoken), _words(heard)
    row = np.arange(len(hypothesis) + 1)
    for at, word in enumerate(reference, 1):
        before = row.copy()
        row[0] = at
        for column, other in enumerate(hypothesis, 1):
            row[column] = min(before[column] + 1, row[column - 1] + 1, before[column - 1] + (word != other))
    return int(row[-1])


def speed(num: int) -> None:
    import torch
    from transformers import BertModel, BertTokenizerFast

    from features.conversion import efficientnet, minilm, whisper

    torch.set_num_threads(1)
    texts = sorted(_texts(num), key=len)
    text = Encoder.load(ensure_encoder("minilm-l6"), num_threads=1)
    _time("text, ONNX Runtime", texts, lambda batch: text.encode_texts(batch))
    source = EMBEDDED["minilm-l6"].weights
    tokenizer = BertTokenizerFast.from_pretrained(source.locate()[0].parent)
    model = BertModel.from_pretrained(source.locate()[0].parent).eval()
    module = minilm.load_module(source)
    module.bert = model

    def eager(batch: Sequence[str]) -> object:
        tokens = tokenizer(list(batch), padding=True, truncation=True, max_length=256, return_tensors="pt")
        return module(tokens["input_ids"], tokens["attention_mask"])

    _time("text, eager transformers", texts, eager)
    pictures = [load_image(path) for path in sorted((SMALL / "posters").glob("*.jpg"))[:num]]
    image = Encoder.load(ensure_encoder("efficientnet-lite0"), num_threads=1)
    pixels = [image.prepare_image(picture) for picture in pictures]
    _time("picture, ONNX Runtime", pixels, lambda batch: image.encode_pixels(batch))
    net = efficientnet.load_module(EMBEDDED["efficientnet-lite0"].weights)
    _time("picture, eager torch", pixels, lambda batch: net(torch.from_numpy(np.stack(batch))))
    _, clips = _clips(num)
    clips.sort(key=len)
    audio = Encoder.load(ensure_encoder("whisper-tiny.en"), num_threads=1)
    _time("clip, ONNX Runtime", clips, lambda batch: audio.encode_audio(batch))
    hearing = whisper.load_module(EMBEDDED["whisper-tiny.en"].weights).encoder
    silent = torch.zeros((8, 80, 3000))
    _time("clip, eager Whisper, 30 s", clips[:8], lambda batch: hearing(silent[: len(batch)]))


def _time(name: str, items: Sequence[object], encode: Callable[[Sequence[object]], object]) -> None:
    import torch

    with torch.no_grad():
        encode(items[:2])
        start = time.process_time()
        for at in range(0, len(items), BATCH):
            encode(items[at : at + BATCH])
    print(f"{name:28} {len(items) / (time.process_time() - start):8.1f} items a CPU second", flush=True)


def _clips(num: int) -> tuple[list[str], list[np.ndarray]]:
    """What was said and the waveforms of `num` reviews, evenly from the file."""
    with (SMALL / "spoken_reviews" / "reviews.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    rows = rows[:: max(len(rows) // num, 1)][:num]
    return [row["text"] for row in rows], [
        load_audio(SMALL / "spoken_reviews" / row["audio"]) for row in rows
    ]


def _texts(num: int) -> list[str]:
    with (SMALL / "plots.csv").open(newline="", encoding="utf-8") as file:
        return [f"{row['overview']}\n\n{row['plot']}" for row in csv.DictReader(file)][:num]


def _words(text: str) -> list[str]:
    return re.sub(r"[^a-z0-9' ]", " ", text.lower()).split()


if __name__ == "__main__":
    main()
