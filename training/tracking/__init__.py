"""Tracking of a run: into a journal in its directory, and from there to MLflow when MLflow can be reached."""

from training.tracking.delivery import DEFAULT_EXPERIMENT
from training.tracking.mlflow_calls import connect
from training.tracking.places import artifact_location
from training.tracking.run_tracker import RunTracker, deliver_now, tracked_run_id
from training.tracking.steps import log_inputs, step
from training.tracking.tracker import NullTracker, Tracker

__all__ = [
    "DEFAULT_EXPERIMENT",
    "NullTracker",
    "RunTracker",
    "Tracker",
    "artifact_location",
    "connect",
    "deliver_now",
    "log_inputs",
    "step",
    "tracked_run_id",
]
