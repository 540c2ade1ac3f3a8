"""The texts of the items that are searched by words."""

from collections.abc import Iterator, Mapping

import polars as pl

from features.dataset import Dataset, MediaVectors
from recsys.arrays import Floats
from recsys.columns import Columns
from recsys.ids import NUM_RESERVED, IdMap
from recsys.search import Document


def item_documents(
    dataset: Dataset,
    item_ids: IdMap,
    *,
    reviews: pl.DataFrame,
    vectors: MediaVectors | None = None,
    popularity: Floats | None = None,
) -> Iterator[Document]:
    """A document of each item of `item_ids`, by ascending id.

    `reviews` are the rows of `dataset.reviews` that may be read, as in `Split.reviews`; the words of a spoken
    review stand beside written ones. Transcripts of spoken reviews and of videos come from `vectors`.
    `popularity` [N] orders suggestions.
    """
    row_of = {name: row for row, name in enumerate(dataset.items[Columns.ITEM])}
    review_text_of = _review_texts(dataset, reviews, vectors)
    spoken = vectors.video_transcripts if vectors is not None else {}
    titles, texts = dataset.items[Columns.TITLE].to_list(), dataset.items[Columns.TEXT].to_list()
    values = _category_values(dataset.items)
    for item, name in enumerate(item_ids.external, NUM_RESERVED):
        row = row_of[name]
        yield Document(
            item=item,
            title=titles[row] or "",
            text=texts[row] or "",
            categories=values[row],
            transcript=spoken.get(row, ""),
            reviews=review_text_of.get(name, ""),
            popularity=float(popularity[item]) if popularity is not None else 0.0,
        )


def _category_values(items: pl.DataFrame) -> list[tuple[str, ...]]:
    """The values of all category fields of each item, each once."""
    fields = [items[name].to_list() for name in items.columns if name.startswith(Columns.CATEGORY_PREFIX)]
    return [
        tuple(dict.fromkeys(value for field in fields for value in field[row] or ()))
        for row in range(items.height)
    ]


def _review_texts(dataset: Dataset, reviews: pl.DataFrame, vectors: MediaVectors | None) -> Mapping[str, str]:
    """The written and spoken words of each item's allowed reviews, in the order of the table."""
    transcripts = vectors.transcripts if vectors is not None else {}
    found: dict[str, list[str]] = {}
    if not dataset.reviews.height:
        return {}
    is_allowed = dataset.reviews[Columns.ROW].is_in(reviews[Columns.ROW].implode())
    columns = dataset.reviews.select(Columns.ITEM, Columns.TEXT).with_row_index("at").filter(is_allowed)
    for at, item, text in columns.iter_rows():
        found.setdefault(item, []).extend(each for each in (text, transcripts.get(at)) if each)
    return {item: "\n\n".join(texts) for item, texts in found.items()}
