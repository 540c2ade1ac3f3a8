"""`fit_search`: the settings of search from queries with known answers."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from recsys.progress import Progress, silent
from recsys.search import Calibration, EncodedQuery, FusionWeights, QueryKind, Searcher, SearchSettings
from training.search.default_relevance import default_relevance
from training.search.fusion_fit import RankedQuery, choose_fusion
from training.search.known_item import LabelledQuery, drawn, typed_queries
from training.search.no_answer import FOREIGN, UnansweredQuery, long_texts, without_similar
from training.search.personal_fit import PersonalChoice, PersonalQuery, PersonalTask, choose_personal
from training.search.relevance_fit import RelevanceChoice, choose_relevance
from training.search.word_relevance import LEAST_EMPTY_SHARE, WordRelevance, word_relevance

MAX_QUERIES: Final = 1000  # of one kind, for the fusion
MAX_TYPED: Final = 200
MAX_REMOVED: Final = 300  # whose items are removed, for the threshold
MAX_PERSONAL: Final = 500


def fit_search(
    searcher: Searcher,
    queries: Sequence[LabelledQuery],
    *,
    encode: Callable[[str], EncodedQuery] | None = None,
    personal_task: PersonalTask | None = None,
    empty_share: float = 0.95,
    max_lost: float = 0.1,
    seed: int = 0,
    progress: Progress = silent,
) -> SearchSettings:
    """The settings of `searcher` with fusion, relevance and personal share chosen on `queries`.

    Only queries with one clause take part, at most 1,000 of a kind. `encode` encodes sentences that few
    catalogues answer, for the threshold of relevance. `personal_task`, by default `searcher` and those of
    `queries` with a history, chooses the personal share. Spoken queries have the
    fusion and the calibration of text where there are too few of them, since their transcripts are texts. The
    reasons are in the settings.
    """
    rng = np.random.default_rng(seed)
    by_kind: dict[QueryKind, list[LabelledQuery]] = defaultdict(list)
    for query in queries:
        if len(query.query.clauses) == 1:
            by_kind[query.query.clauses[0].kind].append(query)
    ranked: dict[QueryKind, list[RankedQuery]] = {}
    settings = searcher.settings
    for kind, of_kind in by_kind.items():
        chosen = drawn(of_kind, MAX_QUERIES, rng)
        ranked[kind] = [ranked_query(searcher, each) for each in chosen]
        by_kind[kind] = chosen
        progress(f"fusion of {kind} queries", len(ranked), len(by_kind))
        made = _typed(searcher, encode, len(chosen), seed) if kind == "text" else []
        choice = choose_fusion(ranked[kind], settings, typed=made, seed=seed)
        settings = _with_fusion(settings, kind, choice.weights, choice.reason)
    searcher = searcher.with_settings(_spoken_as_text(settings))
    relevance = _relevance(searcher, by_kind, ranked, encode, (empty_share, max_lost), rng)
    by_word = _word_relevance(searcher, relevance, ranked, encode, (empty_share, max_lost), seed)
    settings = searcher.settings.model_copy(
        update={
            "calibration": _with_audio(relevance.calibration),
            "word_calibration": by_word.calibration,
            "long_calibration": relevance.long_calibration,
            "min_relevance": relevance.min_relevance,
            "relevance_reason": "; ".join(filter(None, (relevance.reason, by_word.reason))),
        }
    )
    progress("personal order", 0, 1)
    task = personal_task or PersonalTask(folds=((searcher, queries),))
    personal = _personal(task, settings, rng)
    return settings.model_copy(update={"personal": personal.personal, "personal_reason": personal.reason})


def _personal(task: PersonalTask, settings: SearchSettings, rng: np.random.Generator) -> PersonalChoice:
    known = [
        (searcher.with_settings(settings), each, each.history)
        for searcher, queries in task.folds
        for each in queries
        if each.history is not None
    ]
    choice = choose_personal(
        [
            PersonalQuery(searcher=searcher, ranked=ranked_query(searcher, each), history=history)
            for searcher, each, history in drawn(known, MAX_PERSONAL, rng)
        ]
    )
    noted = f"{choice.reason}. {task.note}" if task.note else choice.reason
    return replace(choice, reason=noted)


def ranked_query(searcher: Searcher, query: LabelledQuery) -> RankedQuery:
    """The candidates of the query with the scores of all legs, and the positions of its answers."""
    scores = searcher.scorer.score(query.query, searcher.settings.num_candidates, query.allowed)
    answers = np.flatnonzero(np.isin(scores.items, query.relevant))
    return RankedQuery(scores=scores, answers=answers, num_relevant=len(query.relevant), group=query.group)


def _typed(
    searcher: Searcher, encode: Callable[[str], EncodedQuery] | None, num: int, seed: int
) -> list[RankedQuery]:
    """Queries as people type them, at most `num`."""
    if encode is None:
        return []
    return [
        ranked_query(searcher, LabelledQuery(query=encode(text), relevant=answers, group=text))
        for text, answers in typed_queries(searcher, max_queries=min(num, MAX_TYPED), seed=seed)
    ]


def _relevance(
    searcher: Searcher,
    by_kind: dict[QueryKind, list[LabelledQuery]],
    ranked: dict[QueryKind, list[RankedQuery]],
    encode: Callable[[str], EncodedQuery] | None,
    shares: tuple[float, float],
    rng: np.random.Generator,
) -> RelevanceChoice:
    unanswered: dict[QueryKind, list[UnansweredQuery]] = defaultdict(list)
    for kind, queries in by_kind.items():
        for query in drawn([each for each in queries if len(each.relevant)], MAX_REMOVED, rng):
            left = without_similar(searcher.scorer.legs, int(query.relevant[0]), searcher.scorer.num_items)
            left = left if query.allowed is None else left & query.allowed
            unanswered[kind].append(
                UnansweredQuery(query=query.query, allowed=left, group=query.group, is_foreign=False)
            )
    foreign = [] if encode is None else [(sentence, encode(sentence)) for sentence in FOREIGN]
    for sentence, query_ in foreign:
        unanswered["text"].append(
            UnansweredQuery(query=query_, allowed=None, group=sentence, is_foreign=True)
        )
    choice = choose_relevance(
        searcher, ranked, unanswered, empty_share=shares[0], max_lost=shares[1], seed=int(rng.integers(2**31))
    )
    is_of_use = choice.empty_share >= LEAST_EMPTY_SHARE or choice.calibration.keys() != {"text"}
    if encode is None or (choice.calibration and is_of_use):
        return choice
    long = [encode(text) for text in long_texts()]
    default = default_relevance(searcher, [each for _, each in foreign], long, empty_share=shares[0])
    if not choice.calibration:
        return default
    # Texts such as reviews, which are hardly about the item, say nothing of what people type.
    reason = f"{default.reason}; learned from {len(by_kind['text'])} validation queries: {choice.reason}"
    return replace(default, reason=f"{reason}; too few end empty, so that these queries are ignored")


def _word_relevance(
    searcher: Searcher,
    relevance: RelevanceChoice,
    ranked: dict[QueryKind, list[RankedQuery]],
    encode: Callable[[str], EncodedQuery] | None,
    shares: tuple[float, float],
    seed: int,
) -> WordRelevance:
    """The relevance of texts of few words, with the threshold of `relevance`."""
    if encode is None or not 0 < relevance.min_relevance < 1:
        return WordRelevance(calibration=None, reason="")
    return word_relevance(
        searcher,
        encode,
        [each for kind in ("text", "audio") for each in ranked.get(kind, ())],
        threshold=relevance.min_relevance,
        empty_share=shares[0],
        max_lost=shares[1],
        seed=seed,
    )


def _with_fusion(
    settings: SearchSettings, kind: QueryKind, weights: FusionWeights | None, reason: str
) -> SearchSettings:
    fusion = dict(settings.fusion)
    fusion.pop(kind, None)
    if weights is not None:
        fusion[kind] = weights
    reasons = {**settings.fusion_reason, kind: reason}
    return settings.model_copy(update={"fusion": fusion, "fusion_reason": reasons})


def _spoken_as_text(settings: SearchSettings) -> SearchSettings:
    if "audio" in settings.fusion or "text" not in settings.fusion:
        return settings
    reason = "as for text, since transcripts are texts"
    return _with_fusion(settings, "audio", settings.fusion["text"], reason)


def _with_audio(calibration: Mapping[QueryKind, Calibration]) -> Mapping[QueryKind, Calibration]:
    if "audio" in calibration or "text" not in calibration:
        return calibration
    return {**calibration, "audio": calibration["text"]}
