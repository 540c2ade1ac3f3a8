"""`ItemEncoder`: an item's fields and media to its vectors, by the bundle's encoders and item tower.

Legend: R items, T tokens, D width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from features.extraction import as_stored
from features.inputs import MAX_CATEGORY_VALUES, NumericScale
from features.queries import QueryModels
from recsys.arrays import Bools, Floats, Ints
from recsys.bundle import Bundle, Device
from recsys.columns import Columns
from recsys.ids import UNKNOWN
from recsys.modalities import BY_NAME, EncoderKind, Modality
from recsys.onnx import OnnxSession
from serving.items.content import Content
from serving.items.fields import ItemFields

ITEM_TOWER: Final = "item_tower"


@dataclass(frozen=True, kw_only=True)
class TowerOutput:
    """What the item tower gives of some items."""

    vectors: Floats  # [R, D]
    tokens: npt.NDArray[np.float16]  # [R, T, D]
    token_mask: Bools  # [R, T]


class ItemEncoder:
    """The encoders and the item tower of one bundle; safe to use from many threads."""

    def __init__(self, bundle: Bundle, models: QueryModels, device: Device = "cpu") -> None:
        self._models = models
        path = bundle.graph(ITEM_TOWER)
        self._tower = None if path is None else OnnxSession(path, device=device)
        catalogue = bundle.catalogue
        self._numbers = NumericScale.of(catalogue, catalogue[Columns.TRAINED].to_numpy())
        self._category_ids = {} if self._tower is None else bundle.category_ids
        table = bundle.path / "id_table.npy"
        self._id_table = np.load(table, mmap_mode="r", allow_pickle=False) if table.is_file() else None
        self._trained = bundle.trained

    @property
    def has_tower(self) -> bool:
        """Whether the bundle has an item tower; one of items alone has none."""
        return self._tower is not None

    def fingerprint(self, kind: EncoderKind) -> str | None:
        """That of the encoder of `kind`; None without one."""
        return self._models.encoder(kind).fingerprint if kind in self._models.kinds else None

    def content(self, fields: Sequence[ItemFields]) -> list[Content]:
        """The vectors of the texts of these items."""
        texts = [
            (at, modality, text)
            for at, each in enumerate(fields)
            for modality, text in ((Modality.TITLE, each.title), (Modality.TEXT, each.text))
            if text is not None and text.strip()
        ]
        if not texts or "text" not in self._models.kinds:
            return [Content() for _ in fields]
        encoder = self._models.encoder("text")
        # As extraction gives them, which keeps vectors as float16.
        encoded = as_stored(encoder.encode_texts([text for _, _, text in texts]))
        vectors: list[dict[str, Floats]] = [{} for _ in fields]
        for (at, modality, _), vector in zip(texts, encoded, strict=True):
            vectors[at][modality] = vector
        return [Content(vectors=each, encoders=dict.fromkeys(each, encoder.fingerprint)) for each in vectors]

    def words(self, words: Sequence[str]) -> Floats:
        """The vectors of single words. Shape [V, D]."""
        return self._models.encoder("text").encode_texts(words)

    def is_current(self, content: Content) -> bool:
        """Whether the present encoders made these vectors."""
        return all(
            fingerprint == self.fingerprint(kind)
            for modality, fingerprint in content.encoders.items()
            if (kind := BY_NAME[modality].encoder) is not None
        )

    def reads(self, name: str) -> bool:
        """Whether the item tower reads the modality or category field `name`."""
        return self._tower is not None and (
            f"dense_{name}" in self._tower.input_names or f"cat_{name}" in self._tower.input_names
        )

    def tower(self, rows: Ints, table: pl.DataFrame, contents: Sequence[Content]) -> TowerOutput:
        """The item tower's outputs for the items `rows` [R], whose fields are the rows of `table`.

        An item with training events keeps its row of the id table.
        """
        assert self._tower is not None
        inputs: dict[str, npt.NDArray[Any]] = {}
        for name, shape in self._tower.input_shapes.items():
            kind, _, field = name.partition("_")
            if kind == "dense":
                inputs[name], inputs[f"has_{field}"] = self._dense(field, shape[1], table, contents)
            elif kind == "cat":
                inputs[name] = self._category(field, shape[1], table)
        if "id_embedding" in self._tower.input_names:
            inputs |= self._identity(rows)
        found = self._tower.run({name: inputs[name] for name in self._tower.input_names})
        return TowerOutput(
            vectors=found["item_vector"].astype(np.float32),
            tokens=found["tokens"].astype(np.float16),
            token_mask=found["token_mask"],
        )

    def _dense(
        self, modality: str, width: Any, table: pl.DataFrame, contents: Sequence[Content]
    ) -> tuple[Floats, Bools]:
        """The vectors of one modality, zeros where absent, and which items have it. Shapes [R, D], [R]."""
        if modality == Modality.NUMERIC and self._numbers is not None:
            return self._numbers.vectors(table)
        vectors = np.zeros((len(contents), width), np.float32)
        has = np.array([modality in each.vectors for each in contents], np.bool_)
        for at in np.flatnonzero(has).tolist():
            vectors[at] = contents[at].vectors[modality]
        return vectors, has

    def _category(self, field: str, width: Any, table: pl.DataFrame) -> Ints:
        """Ids of the values; those beyond the width of the training data are left out. Shape [R, C]."""
        ids = np.zeros((table.height, width), np.int64)
        known, column = self._category_ids.get(field), f"{Columns.CATEGORY_PREFIX}{field}"
        if known is None or column not in table.columns:
            return ids
        for at, values in enumerate(table[column].to_list()):
            encoded = known.encode((values or [])[: min(MAX_CATEGORY_VALUES, width)])
            ids[at, : len(encoded)] = encoded
        return ids

    def _identity(self, rows: Ints) -> dict[str, npt.NDArray[Any]]:
        known = rows < len(self._trained)
        has_id = known & self._trained[np.where(known, rows, UNKNOWN)]
        assert self._id_table is not None, "a bundle whose item tower reads ids has their table"
        table = np.asarray(self._id_table[np.where(has_id, rows, UNKNOWN)], np.float32)
        return {"id_embedding": table, "has_id": has_id}
