"""Home-made names that were replaced by standard terms must not come back as identifiers.

Whole identifiers are compared: NAME tokens, not words inside of strings, comments or longer names. Ordinary
English words are not in the list.
"""

import io
import tokenize
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("recsys", "features", "training", "serving", "tests", "benchmarks", "scripts")

# Replaced identifier -> the term in use.
REPLACED: Mapping[str, str] = {
    # cold start
    "Newcomers": "ColdItems",
    "NewcomerHead": "ColdStartHead",
    "Judges": "ValidationUsers",
    "Race": "WarmColdTradeoff",
    "liked_D": "mean_positive_D",
    "playing_ND": "pseudo_cold_ND",
    "cold_from": "cold_ranks",
    "hold_back": "merge_by_rank",
    "settle_new": "merge_by_rank",
    "let_in_new_items": "merge_by_rank",
    "first_place_of_new": "cold_ranks",
    "cold_places": "cold_positions",
    "regress_new": "content_regression",
    "as_new": "as_cold",
    "dense_as_new": "dense_as_cold",
    "present_as_new": "present_as_cold",
    # retrieval and ranking
    "is_judged": "is_rankable",
    "best_of": "top_k",
    "_barred": "mask_excluded",
    "_described": "score_given",
    "Evidence": "CandidateFeatures",
    "num_evidence": "num_candidate_features",
    "Neighbours": "ItemNeighborSource",
    "Factors": "FactorSource",
    "ContentNeighbours": "ContentNeighbors",
    "item_item_neighbours": "item_item_neighbors",
    "has_say": "is_used",
    "kind_TD": "type_embedding_TD",
    "drawing_from": "use_generator",
    # data and splits
    "NOWHERE": "UNUSED",
    "TrainFacts": "TrainStatistics",
    "FrameFacts": "InMemoryTrainStatistics",
    "StreamedFacts": "StreamedTrainStatistics",
    "Overview": "EventStatistics",
    "SetAside": "Rejected",
    "SpillState": "PartitionState",
    "weave": "scatter",
    # evaluation and reports
    "truth_of": "ground_truth",
    "Patient": "KnockoutSubject",
    "Brought": "Contribution",
    "rivals": "competitors",
    "RIVALS": "competitors",
    "ours": "main_model",
    "theirs": "the name of the other object",
    "Facts": "DataSummary",
    "LeftOut": "RejectedRows",
    "Shown": "ExampleCard",
    "NEW_BELOW": "FEW_ITEMS",
    "PLACES": "VIEW_PHRASES",
    "brings_nothing": "contributes_nothing",
    "warm_question": "warm_task",
    "cold_question": "cold_task",
    "asks_of_any_time": "has_test_events_in_history",
    "knowing": "with_known_events",
    "whenever": "any_time",
    "twin": "id_only",
    "twins": "id_only",
    "whole_and_towers": "full_and_towers",
    "knobs": "settings",
    # importers and tables
    "Sieve": "RowFilter",
    "AGAIN": "REPEATED_REVIEW",
    "lonely_ids": "unmatched_ids",
    "lost_without": "missing_part_warnings",
    "unlike_text": "binary_problem",
    "odd_times": "implausible_times",
    # encoders and the audit
    "ENCODER_OF_TWO": "ENCODER_DECODERS",
    "check_facts": "check_statistics",
    "workshop": "workspace",
}


def replaced_names(source: str) -> dict[str, int]:
    """Each replaced identifier of Python code, with the first line that has it."""
    found: dict[str, int] = {}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.NAME and token.string in REPLACED:
            found.setdefault(token.string, token.start[0])
    return found


@pytest.mark.parametrize("folder", FOLDERS)
def test_replaced_identifiers_do_not_come_back(folder: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {name}; write {REPLACED[name]}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        for name, line in replaced_names(path.read_text("utf-8")).items()
    ]
    assert not found, "\n".join(found)


def test_planted_identifiers_are_found_and_words_in_strings_are_not() -> None:
    source = 'x = 1  # knobs\nname = "Judges"\nclass Judges:\n    def best_of(self, knobs_of): ...\n'
    assert replaced_names(source) == {"Judges": 3, "best_of": 4}
