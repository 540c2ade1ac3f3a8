"""The registry of item modalities: one entry has the column, the encoder and all names of a modality.

A modality is one token of the item tower. Its vectors are made in `features/extraction` from the column of
the entry. Towers, baselines, knock-outs, reasons, the report and the bundle iterate over the registry.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from recsys.columns import Columns

EncoderKind = Literal["text", "image", "audio"]


class Modality:
    """Names of the modalities, as constants."""

    TITLE: Final = "title"
    TEXT: Final = "text"
    IMAGE: Final = "image"
    VIDEO: Final = "video"
    VIDEO_SPEECH: Final = "video_speech"
    VIDEO_AUDIO: Final = "video_audio"
    REVIEW_TEXT: Final = "review_text"
    REVIEW_SPEECH: Final = "review_speech"
    REVIEW_AUDIO: Final = "review_audio"
    NUMERIC: Final = "numeric"


@dataclass(frozen=True, kw_only=True)
class ModalityInfo:
    """One modality."""

    name: str
    table: Literal["items", "reviews"]
    column: str | None  # of that table; None: all of the table's numeric columns
    encoder: (
        EncoderKind | None
    )  # kind of the encoder of its vectors; None: the vector has the numbers themselves
    label: str  # in tables: "content (picture)"
    plural: str  # in sentences: "without pictures"
    phrase: str  # in reasons: "most telling: its picture"
    group: str | None = None  # knocked out together with the others of its group


# In the order of the item tower's tokens.
MODALITIES: tuple[ModalityInfo, ...] = (
    ModalityInfo(
        name=Modality.TITLE, table="items", column=Columns.TITLE, encoder="text",
        label="title", plural="titles", phrase="its name", group="texts",
    ),
    ModalityInfo(
        name=Modality.TEXT, table="items", column=Columns.TEXT, encoder="text",
        label="text", plural="descriptions", phrase="its description", group="texts",
    ),
    ModalityInfo(
        name=Modality.IMAGE, table="items", column=Columns.IMAGE, encoder="image",
        label="picture", plural="pictures", phrase="its picture",
    ),
    # Evenly spaced frames.
    ModalityInfo(
        name=Modality.VIDEO, table="items", column=Columns.VIDEO, encoder="image",
        label="video", plural="frames of videos", phrase="its video", group="videos",
    ),
    # Transcripts of the sound.
    ModalityInfo(
        name=Modality.VIDEO_SPEECH, table="items", column=Columns.VIDEO, encoder="text",
        label="video speech", plural="words of videos", phrase="what is said in its video", group="videos",
    ),
    # Pooled acoustic vectors of the sound.
    ModalityInfo(
        name=Modality.VIDEO_AUDIO, table="items", column=Columns.VIDEO, encoder="audio",
        label="video sound", plural="sounds of videos", phrase="how its video sounds", group="videos",
    ),
    ModalityInfo(
        name=Modality.REVIEW_TEXT, table="reviews", column=Columns.TEXT, encoder="text",
        label="review text", plural="written reviews", phrase="what reviewers write",
    ),
    # Transcripts of spoken reviews.
    ModalityInfo(
        name=Modality.REVIEW_SPEECH, table="reviews", column=Columns.AUDIO, encoder="text",
        label="review speech", plural="words of spoken reviews", phrase="what reviewers say", group="voices",
    ),
    # Pooled acoustic vectors of spoken reviews.
    ModalityInfo(
        name=Modality.REVIEW_AUDIO, table="reviews", column=Columns.AUDIO, encoder="audio",
        label="review voice", plural="sounds of spoken reviews", phrase="how reviewers sound", group="voices",
    ),
    ModalityInfo(
        name=Modality.NUMERIC, table="items", column=None, encoder=None,
        label="numbers", plural="numbers", phrase="its numbers",
    ),
)  # fmt: skip
BY_NAME: Mapping[str, ModalityInfo] = {each.name: each for each in MODALITIES}
# Group -> its members together, in sentences.
GROUP_PLURALS: Mapping[str, str] = {
    "texts": "titles and descriptions",
    "voices": "spoken reviews",
    "videos": "videos",
}


def encoded_by(kind: EncoderKind) -> tuple[str, ...]:
    """Names of the modalities whose vectors an encoder of `kind` makes."""
    return tuple(each.name for each in MODALITIES if each.encoder == kind)


def of_table(table: Literal["items", "reviews"]) -> tuple[str, ...]:
    """Names of the modalities that come from `table`."""
    return tuple(each.name for each in MODALITIES if each.table == table)


def modality_groups() -> dict[str, tuple[str, ...]]:
    """Group -> the names of its members, in their order."""
    groups: dict[str, tuple[str, ...]] = {}
    for each in MODALITIES:
        if each.group is not None:
            groups[each.group] = (*groups.get(each.group, ()), each.name)
    return groups
