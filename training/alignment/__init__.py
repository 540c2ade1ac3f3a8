"""The shared space of search: heads fitted on a catalogue, exported as ONNX, evaluated between modalities."""

from training.alignment.evaluate import cross_modal_recall
from training.alignment.fit import AlignmentRecord, FittedAlignment, fit_alignment
from training.alignment.views import ModalityVectors

__all__ = [
    "AlignmentRecord",
    "FittedAlignment",
    "ModalityVectors",
    "cross_modal_recall",
    "fit_alignment",
]
