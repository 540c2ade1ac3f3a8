"""`Content`: the vectors of an item's media, as the encoders gave them, and their form in the state."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from recsys.arrays import Floats


@dataclass(frozen=True, kw_only=True)
class Content:
    """The vectors of one item by modality, and which encoders made them."""

    vectors: Mapping[str, Floats] = field(default_factory=dict)  # modality -> [D]
    encoders: Mapping[str, str] = field(default_factory=dict)  # modality -> fingerprint
    transcript: str = ""  # the words of its video

    def joined(self, other: "Content") -> "Content":
        """With the vectors and the transcript of `other`."""
        return Content(
            vectors={**self.vectors, **other.vectors},
            encoders={**self.encoders, **other.encoders},
            transcript=self.transcript or other.transcript,
        )

    def to_bytes(self) -> bytes:
        """A line of JSON, then the vectors one after the other, little-endian float32."""
        header = {
            "vectors": {name: len(vector) for name, vector in self.vectors.items()},
            "encoders": dict(self.encoders),
            "transcript": self.transcript,
        }
        parts = (np.asarray(vector, "<f4").tobytes() for vector in self.vectors.values())
        return json.dumps(header).encode() + b"\n" + b"".join(parts)

    @classmethod
    def of_bytes(cls, content: bytes) -> "Content":
        """The inverse of `to_bytes`."""
        head, _, rest = content.partition(b"\n")
        header = json.loads(head)
        vectors: dict[str, Floats] = {}
        at = 0
        for name, width in header["vectors"].items():
            vectors[name] = np.frombuffer(rest, "<f4", width, at).astype(np.float32)
            at += 4 * width
        return cls(vectors=vectors, encoders=header["encoders"], transcript=header["transcript"])
