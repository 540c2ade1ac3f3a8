"""Names of columns and of item modalities. Nothing else spells them out."""

from typing import Final


class Columns:
    """Columns of the tables inside a `Dataset`, of a split and of every output."""

    USER: Final = "user_id"
    ITEM: Final = "item_id"
    TIMESTAMP: Final = "timestamp"  # Int64: microseconds since the epoch, or a position
    EVENT: Final = "event"
    VALUE: Final = "value"
    POSITIVE: Final = "positive"
    ROW: Final = "row"  # place in the file, counted from 0
    REVIEW: Final = "review"  # row in Dataset.reviews
    TITLE: Final = "title"
    TEXT: Final = "text"
    IMAGE: Final = "image"
    AUDIO: Final = "audio"
    VIDEO: Final = "video"
    REVIEWERS: Final = "reviewers"  # of an item: "praise", "enthusiasm" or null
    CREATED_AT: Final = "created_at"
    POPULARITY: Final = "popularity"  # positive training events of an item
    TRAINED: Final = "trained"  # Boolean: the item has training events
    RANK: Final = "rank"  # from 1
    SCORE: Final = "score"
    CATEGORY_PREFIX: Final = "cat:"  # one List(String) column a category field
    NUMERIC_PREFIX: Final = "num:"  # one Float64 column a numeric field


class Modality:
    """Item modalities, each one token of the item tower."""

    TITLE: Final = "title"
    TEXT: Final = "text"
    IMAGE: Final = "image"
    VIDEO: Final = "video"  # evenly spaced frames of videos, through the image encoder
    VIDEO_SPEECH: Final = "video_speech"  # transcripts of their sound, through the text encoder
    VIDEO_AUDIO: Final = "video_audio"  # pooled acoustic vectors of their sound
    REVIEW_TEXT: Final = "review_text"  # written reviews, through the text encoder
    REVIEW_SPEECH: Final = "review_speech"  # transcripts of spoken reviews, through the text encoder
    REVIEW_AUDIO: Final = "review_audio"  # pooled acoustic vectors of spoken reviews
    NUMERIC: Final = "numeric"

    # By the encoder that makes their vectors.
    BY_TEXT: Final = (TITLE, TEXT, VIDEO_SPEECH, REVIEW_TEXT, REVIEW_SPEECH)
    BY_IMAGE: Final = (IMAGE, VIDEO)
    BY_AUDIO: Final = (VIDEO_AUDIO, REVIEW_AUDIO)

    DENSE: Final = (
        TITLE, TEXT, IMAGE, VIDEO, VIDEO_SPEECH, VIDEO_AUDIO,
        REVIEW_TEXT, REVIEW_SPEECH, REVIEW_AUDIO, NUMERIC,
    )  # fmt: skip
