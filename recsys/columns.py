"""Names of columns. All other code uses these constants."""

from typing import Final


class Columns:
    """Columns of the tables inside a `Dataset`, of a split and of every output."""

    USER: Final = "user_id"
    ITEM: Final = "item_id"
    TIMESTAMP: Final = "timestamp"  # Int64: microseconds since the epoch, or a position
    EVENT: Final = "event"
    VALUE: Final = "value"
    POSITIVE: Final = "positive"
    ROW: Final = "row"  # row of the file, counted from 0
    REVIEW: Final = "review"  # row of Dataset.reviews
    TITLE: Final = "title"
    TEXT: Final = "text"
    IMAGE: Final = "image"
    AUDIO: Final = "audio"
    VIDEO: Final = "video"
    IMAGE_FOLDER: Final = "image_folder"  # number of the folder that has the medium, see `MediaFolders`
    VIDEO_FOLDER: Final = "video_folder"
    OWNER: Final = "owner"  # of an item: the user who alone may see it, or null
    IMPUTED: Final = "imputed"  # of an item: names of the modalities whose vectors are imputed
    REVIEWERS: Final = "reviewers"  # of an item: "praise", "enthusiasm" or null
    CREATED_AT: Final = "created_at"
    POPULARITY: Final = "popularity"  # positive training events of an item
    RECENT_POPULARITY: Final = "recent_popularity"  # a decayed sum of these events
    TRAINED: Final = "trained"  # Boolean: the item has training events
    REMOVED: Final = "removed"  # Boolean: the item was removed from a served catalogue
    QUERY: Final = "query_id"
    RANK: Final = "rank"  # from 1
    SCORE: Final = "score"
    RELEVANCE: Final = "relevance"  # calibrated, from 0 to 1
    CATEGORY_PREFIX: Final = "cat:"  # one List(String) column a category field
    NUMERIC_PREFIX: Final = "num:"  # one Float64 column a numeric field
