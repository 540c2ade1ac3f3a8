"""Logs larger than memory: they are read in parts and stored on disk as arrays, sorted by user."""

from features.event_log.dataset import StreamedDataset, load_streamed, open_dataset
from features.event_log.log import EventLog, Partition, map_array, partition_name
from features.event_log.report import all_reasons, check_dataset, prepare_dataset
from features.event_log.selection import Codes, LogSelection, Select

__all__ = [
    "Codes",
    "EventLog",
    "LogSelection",
    "Partition",
    "Select",
    "StreamedDataset",
    "all_reasons",
    "check_dataset",
    "load_streamed",
    "map_array",
    "open_dataset",
    "partition_name",
    "prepare_dataset",
]
