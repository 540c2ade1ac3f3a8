"""Full-ranking evaluation of models on the test of a split."""

from training.evaluation.aggregate import compare_lists
from training.evaluation.evaluate import (
    ByUser,
    EvaluationSet,
    EvaluationSettings,
    TopK,
    evaluate,
    results_by_user,
)
from training.evaluation.examples import Example, Listed, draw_examples, load_examples, save_examples
from training.evaluation.ground_truth import GroundTruth, Part, seen_lists
from training.evaluation.names import VIEW_PHRASES, metric_name
from training.evaluation.oracle import Oracle, times_of_tests
from training.evaluation.predictions import Predictions
from training.evaluation.results import FEW_USERS, Change, Evaluation, ViewResult
from training.evaluation.slices import slices_of
from training.evaluation.system import (
    ID_ONLY,
    MODEL,
    TOWERS,
    WITH_VALIDATION,
    KeptLists,
    System,
    audit_predictions,
    full_and_towers,
    id_only,
)
from training.evaluation.tables import (
    REFERENCES,
    is_best,
    markdown_row,
    metrics_table,
    parse_metrics,
    slice_tables,
    view_tables,
)

__all__ = [
    "FEW_USERS",
    "ID_ONLY",
    "MODEL",
    "REFERENCES",
    "TOWERS",
    "VIEW_PHRASES",
    "WITH_VALIDATION",
    "ByUser",
    "Change",
    "Evaluation",
    "EvaluationSet",
    "EvaluationSettings",
    "Example",
    "GroundTruth",
    "KeptLists",
    "Listed",
    "Oracle",
    "Part",
    "Predictions",
    "System",
    "TopK",
    "ViewResult",
    "audit_predictions",
    "compare_lists",
    "draw_examples",
    "evaluate",
    "full_and_towers",
    "id_only",
    "is_best",
    "load_examples",
    "markdown_row",
    "metric_name",
    "metrics_table",
    "parse_metrics",
    "results_by_user",
    "save_examples",
    "seen_lists",
    "slice_tables",
    "slices_of",
    "times_of_tests",
    "view_tables",
]
