"""The search part of a bundle.

    search/lexical/                   the lexical index
    search/has_words.npy              bool [N], the items with any text
    search/vectors/<modality>.npy     float16 [N, D], unit rows    <modality>.present.npy  bool [N]
                                      <modality>.imputed.npy  bool [N], where any vector is imputed
    search/shared/<modality>.npy      float16 [N, S], the same projected by the alignment heads
    search/heads/<kind>.onnx          the alignment heads
    search/words/                     the items' words and their vectors (`item_words.py`)
    search/index/<modality>/          an index of a large catalogue's vectors

Vectors are mapped into memory. `SearchSettings` are in the manifest.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from recsys.arrays import Bools, Floats
from recsys.errors import BundleError
from recsys.modalities import MODALITIES, EncoderKind
from recsys.retrieval import build_index, load_index
from recsys.search.alignment import OnnxHeads
from recsys.search.item_words import ItemWords
from recsys.search.legs import DenseLeg
from recsys.search.lexical.documents import Document
from recsys.search.lexical.index import LexicalIndex
from recsys.search.scoring import Scorer
from recsys.search.searcher import Searcher
from recsys.search.settings import SearchSettings

VECTORS: Final = "vectors"
SHARED: Final = "shared"
LEXICAL: Final = "lexical"
HEADS: Final = "heads"
WORDS: Final = "words"
HAS_WORDS: Final = "has_words.npy"


def save_search(
    directory: Path,
    legs: Sequence[DenseLeg],
    *,
    has_words: Bools,
    words: LexicalIndex | None = None,
    item_words: ItemWords | None = None,
    write_heads: Callable[[Path], object] | None = None,
    index_kind: str = "exact",
) -> None:
    """Write the search part of a bundle into `directory`, which is made where missing.

    `has_words` [N] is that of `items_with_words`. `write_heads` fills the folder of the alignment heads
    (`FittedAlignment.write`). An `index_kind` other than "exact" builds an index for the vectors of each leg.
    """
    directory.mkdir(parents=True, exist_ok=True)
    np.save(directory / HAS_WORDS, has_words, allow_pickle=False)
    for leg in legs:
        _save(directory / VECTORS / f"{leg.name}.npy", leg.vectors.astype(np.float16))
        _save(directory / VECTORS / f"{leg.name}.present.npy", leg.present)
        if leg.imputed.any():
            _save(directory / VECTORS / f"{leg.name}.imputed.npy", leg.imputed)
        if leg.shared is not None:
            _save(directory / SHARED / f"{leg.name}.npy", leg.shared.astype(np.float16))
        if index_kind != "exact":
            build_index(index_kind, leg.vectors.astype(np.float32)).save(directory / "index" / leg.name)
    if words is not None:
        words.save(directory / LEXICAL)
    if item_words is not None:
        item_words.save(directory / WORDS)
    if write_heads is not None:
        (directory / HEADS).mkdir(exist_ok=True)
        write_heads(directory / HEADS)


def items_with_words(documents: Iterable[Document], num_items: int) -> Bools:
    """Whether an item has any text. Shape [N]; `num_items` is N, the two reserved rows included."""
    has_words = np.zeros(num_items, np.bool_)
    for each in documents:
        has_words[each.item] = any((each.title, each.text, each.categories, each.transcript, each.reviews))
    return has_words


def load_search(
    directory: Path,
    settings: SearchSettings,
    *,
    popularity: Floats | None = None,
    device: Literal["cpu", "cuda"] = "cpu",
) -> Searcher:
    """The searcher of the files that `save_search` wrote.

    `popularity` [N] are counts of training events. The alignment heads run on `device`.

    Raises `BundleError` for a file that is missing or has another shape.
    """
    has_words = _load(directory / HAS_WORDS)
    legs = [
        _leg(directory, each.name, each.encoder, len(has_words))
        for each in MODALITIES
        if each.encoder is not None and (directory / VECTORS / f"{each.name}.npy").is_file()
    ]
    heads = OnnxHeads.open(directory / HEADS, device=device)
    words = LexicalIndex.open(directory / LEXICAL) if (directory / LEXICAL).is_dir() else None
    item_words = ItemWords.open(directory / WORDS, len(has_words)) if (directory / WORDS).is_dir() else None
    scorer = Scorer(
        legs,
        num_items=len(has_words),
        heads=heads if heads.kinds else None,
        words=words,
        item_words=item_words,
        has_words=has_words,
        popularity=popularity,
    )
    return Searcher(scorer, settings)


def _leg(directory: Path, name: str, kind: EncoderKind, num_items: int) -> DenseLeg:
    shared, index = directory / SHARED / f"{name}.npy", directory / "index" / name
    path, imputed = directory / VECTORS / f"{name}.npy", directory / VECTORS / f"{name}.imputed.npy"
    vectors = _load(path)
    if vectors.ndim != 2 or len(vectors) != num_items:
        raise BundleError(f"{path} is {list(vectors.shape)}; {num_items} rows are needed, of each item one")
    return DenseLeg(
        name=name,
        kind=kind,
        vectors=vectors,
        present=np.asarray(_load(directory / VECTORS / f"{name}.present.npy")),
        shared=_load(shared) if shared.is_file() else None,
        index=load_index(index) if index.is_dir() else None,
        imputed=np.asarray(_load(imputed)) if imputed.is_file() else None,
    )


def _save(path: Path, array: npt.NDArray[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array, allow_pickle=False)


def _load(path: Path) -> npt.NDArray[Any]:
    try:
        array: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        first_line = str(error).partition("\n")[0]
        raise BundleError(f"{path} cannot be read: {first_line}; copy or make the bundle again") from None
    return array
