"""Odd requests of every form: each is answered or refused with a reason, and none is a server error."""

import base64
import io
import json
import random
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from scripts.bad_media import write_video, write_wav

ODD_TEXTS = (
    "", " ", "\x00", "🙂", "red", "shirt -red", '"red shirt', '-"red"', "-", '"', "AND OR NOT", "title:red",
    "red~2", "(((", "re*", "\\", "+red", "[a TO b]", "^5", "\u202eabc", "שלום עולם", "红衬衫", "ｒｅｄ",
    "a" * 5_000, "red " * 3_000, "\ud83d", "\u0000red", "ﬁ", "İ", "ß", "٣", "\u0301" * 50, "x\ny\tz", "NaN",
)  # fmt: skip
ODD_NUMBERS = (
    0,
    1,
    -1,
    0.5,
    3,
    500,
    501,
    1e9,
    -1e308,
    1e308,
    float("nan"),
    float("inf"),
    "3",
    None,
    True,
    [],
)
ODD_VALUES: tuple[Any, ...] = (
    *ODD_NUMBERS,
    "",
    "red",
    {},
    {"a": 1},
    [None],
    [[]],
    ["i00"],
    "i00",
    {"kind": ["odd"]},
)
FIELDS = (
    "query", "clauses", "user_id", "history", "k", "filters", "exclude", "exclude_seen", "min_relevance",
    "personal", "modality_weights", "strict", "part_weights", "unknown",
)  # fmt: skip
KINDS = ("text", "item_id", "image", "audio", "video")


class Fuzzer:
    """Draws requests; the same seed draws the same requests."""

    def __init__(self, seed: int, media: dict[str, bytes]) -> None:
        self.draw = random.Random(seed)
        self.media = list(media.values())

    def send(self, client: Any) -> Any:
        kind = self.draw.random()
        if kind < 0.1:
            params = {"q": self.encodable(), "k": self.draw.choice((0, 1, 5, 50, 51, "x"))}
            return client.get("/v1/suggest", params=params)
        if kind < 0.4:
            return client.post("/v1/search", files=self.form())
        content = json.dumps(self.body()).encode("utf-8", "surrogatepass")
        if kind < 0.5:
            content = self.damaged(content)
        return client.post("/v1/search", content=content)

    def body(self) -> dict[str, Any]:
        body: dict[str, Any] = {}
        if self.draw.random() < 0.7:
            body["query"] = self.text()
        if self.draw.random() < 0.5:
            body["clauses"] = [self.clause() for _ in range(self.draw.choice((1, 1, 2, 3, 17)))]
        if self.draw.random() < 0.3:
            body["user_id"] = self.draw.choice(("ann", "bob", "new", "nobody", "", "\ud800"))
        elif self.draw.random() < 0.3:
            body["history"] = self.draw.choice((["i00", "i05"], [], ["x"], [{"item": "i01", "value": 3.0}]))
        usual: dict[str, Any] = {
            "k": (1, 12, 500),
            "personal": (0.0, 0.5, 1.0),
            "min_relevance": (0.0, 0.5, 1.0),
            "filters": ({"kind": ["odd"]}, {"kind": ["odd", "even"]}, {}),
            "exclude": (["i00"], ["x"], [f"i{at:02}" for at in range(12)]),
            "exclude_seen": (True, False),
            "modality_weights": (
                {"image": 0.0},
                {"lexical": 2.0, "title": 0.0},
                {"title": 0, "image": 0, "lexical": 0},
            ),
        }
        for name, values in usual.items():
            if self.draw.random() < 0.3:
                body[name] = self.draw.choice(values)
        if self.draw.random() < 0.3:
            body[self.draw.choice(FIELDS)] = self.draw.choice(ODD_VALUES)
        return body

    def clause(self) -> Any:
        if self.draw.random() < 0.05:
            return self.draw.choice(ODD_VALUES)
        clause: dict[str, Any] = {}
        for kind in self.draw.sample(KINDS, self.draw.choice((1, 1, 1, 1, 0, 2))):
            if kind == "text":
                clause[kind] = self.text()
            elif kind == "item_id":
                clause[kind] = self.draw.choice(("i00", "i07", "nope", ""))
            else:
                clause[kind] = base64.b64encode(self.medium()).decode()
        if self.draw.random() < 0.5:
            clause["weight"] = self.draw.choice((1.0, 0.5, -1.0, 0.0, -100, 100, *ODD_NUMBERS))
        return clause

    def form(self) -> list[tuple[str, Any]]:
        names = ("image", "image", "audio", "video", "request", "picture")
        parts: list[tuple[str, Any]] = [
            (name, (f"{name}.bin", self.medium()))
            for name in self.draw.sample(names, self.draw.choice((1, 1, 2)))
        ]
        if self.draw.random() < 0.7:
            content = json.dumps(self.body()).encode("utf-8", "surrogatepass")
            parts.append(("request", (None, content, "application/json")))
        return parts

    def medium(self) -> bytes:
        content = self.draw.choice(self.media)
        return self.damaged(content) if self.draw.random() < 0.3 else content

    def damaged(self, content: bytes) -> bytes:
        """The content cut off, with altered bytes, or noise."""
        changed = bytearray(content)
        way = self.draw.random()
        if way < 0.4:
            return bytes(changed[: self.draw.randrange(len(changed) + 1)])
        if way < 0.9 and changed:
            for _ in range(self.draw.choice((1, 5, 50))):
                changed[self.draw.randrange(len(changed))] = self.draw.randrange(256)
            return bytes(changed)
        return self.draw.randbytes(self.draw.choice((0, 1, 20, 2_000)))

    def text(self) -> str:
        if self.draw.random() < 0.6:
            return self.draw.choice(ODD_TEXTS)
        letters = string.printable + "éß漢字かな한글אبв🙂\u200d\u0301"
        return "".join(self.draw.choices(letters, k=self.draw.choice((1, 5, 30, 300))))

    def encodable(self) -> str:
        return self.text()[:200].encode("utf-8", "ignore").decode()


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("media")
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000) + 0.25
    write_wav(folder / "tone.wav", tone[:, None], 16_000)
    write_wav(folder / "silence.wav", np.zeros((8_000, 1)), 16_000)
    write_video(folder / "film.mp4", [(255, 0, 0), (0, 0, 255)], sound=tone)
    write_video(folder / "mute.mp4", [(255, 0, 0), (0, 0, 255)])
    for name, size in (("dot", (1, 1)), ("line", (1, 300)), ("picture", (40, 30))):
        Image.new("RGB", size, (10, 10, 200)).save(folder / f"{name}.png")
    out = io.BytesIO()
    Image.effect_noise((64, 48), 60).convert("RGB").save(out, "JPEG")
    made = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    return made | {"noise.jpg": out.getvalue(), "empty": b"", "text": b"To follow on Monday."}


def fuzz(client: Any, media: dict[str, bytes], num_requests: int, seed: int) -> dict[int, int]:
    """Send requests; every answer must be JSON, and every refusal must say why. Counts by status."""
    fuzzer = Fuzzer(seed, media)
    counts: dict[int, int] = {}
    for at in range(num_requests):
        response = fuzzer.send(client)
        assert response.status_code in (200, 400, 413, 422), (seed, at, response.text)
        found = response.json()
        if response.status_code != 200:
            assert found["error"]["message"], (seed, at)
        counts[response.status_code] = counts.get(response.status_code, 0) + 1
    return counts


def test_hundreds_of_requests(client: Any, media: dict[str, bytes]) -> None:
    counts = fuzz(client, media, 300, seed=1)
    assert counts[200] > 50
    assert counts[422] > 50


@pytest.mark.long
def test_thousands_of_requests(client: Any, media: dict[str, bytes]) -> None:
    counts = fuzz(client, media, 5_000, seed=2)
    assert counts[200] > 500


@pytest.mark.long
def test_requests_to_a_bundle_of_items_alone(
    client_of: Callable[..., Any], items_alone: Path, media: dict[str, bytes]
) -> None:
    assert fuzz(client_of(items_alone), media, 500, seed=3)[200] > 50
