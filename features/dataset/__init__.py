"""A folder with a `dataset.toml` to a validated `Dataset`."""

from features.dataset.event_statistics import EventStatistics, EventSummary
from features.dataset.files.media_paths import MediaFolder, MediaFolders
from features.dataset.files.readers import (
    INGESTED,
    PARQUET,
    POLARS_ERRORS,
    RawTable,
    concat_files,
    explained_errors,
    find_files,
    numbers_as_text,
    read_file,
    scan_file,
    select_columns,
    value_text,
)
from features.dataset.files.user_files import NamedIds, file_start, read_ids
from features.dataset.interactions import (
    NO_EVENT_KIND,
    EventsTable,
    check_interactions,
    id_columns,
    index_command,
    interaction_columns,
    require_interactions,
    valid_item_ids,
)
from features.dataset.joins import KnownIds, describe_near_misses
from features.dataset.load import load_dataset
from features.dataset.rejected import SCHEMA, count_reasons, summarise, summary_in_words, write_rejected
from features.dataset.schema import FILE_NAME, DatasetSpec
from features.dataset.sections import InteractionsSpec, ReviewsSpec, TimeUnit, positive_columns
from features.dataset.table_checker import DUPLICATE_ID, Remark, TableChecker, named_files, nothing_left
from features.dataset.tables import (
    Dataset,
    DatasetTables,
    MediaVectors,
    MediumVectors,
    Rejected,
    StepTime,
    fingerprint_of,
)
from features.dataset.user_events import HistoryMaker, UserEvents
from features.dataset.values import casting, times
from features.dataset.values.casting import MAX_ID_LENGTH
from features.dataset.values.id_encoding import IdMaps, encode, encode_lists, split_by

__all__ = [
    "DUPLICATE_ID",
    "FILE_NAME",
    "INGESTED",
    "MAX_ID_LENGTH",
    "NO_EVENT_KIND",
    "PARQUET",
    "POLARS_ERRORS",
    "SCHEMA",
    "Dataset",
    "DatasetSpec",
    "DatasetTables",
    "EventStatistics",
    "EventSummary",
    "EventsTable",
    "HistoryMaker",
    "IdMaps",
    "InteractionsSpec",
    "KnownIds",
    "MediaFolder",
    "MediaFolders",
    "MediaVectors",
    "MediumVectors",
    "NamedIds",
    "RawTable",
    "Rejected",
    "Remark",
    "ReviewsSpec",
    "StepTime",
    "TableChecker",
    "TimeUnit",
    "UserEvents",
    "casting",
    "check_interactions",
    "concat_files",
    "count_reasons",
    "describe_near_misses",
    "encode",
    "encode_lists",
    "explained_errors",
    "file_start",
    "find_files",
    "fingerprint_of",
    "id_columns",
    "index_command",
    "interaction_columns",
    "load_dataset",
    "named_files",
    "nothing_left",
    "numbers_as_text",
    "positive_columns",
    "read_file",
    "read_ids",
    "require_interactions",
    "scan_file",
    "select_columns",
    "split_by",
    "summarise",
    "summary_in_words",
    "times",
    "valid_item_ids",
    "value_text",
    "write_rejected",
]
