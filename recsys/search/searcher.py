"""`Searcher`: an encoded query to a list of items.

    legs → fusion → relevance → (recommender) → list

Candidates and their scores come from `Scorer`. Items below the threshold of relevance are left out. For a
known user the recommender orders the head of what is left. A shorter list is a prefix of a longer list.

Legend: K candidates, H items of the head, k hits.
"""

from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt

from recsys.arrays import Bools, Floats, Ints
from recsys.errors import RequestError
from recsys.history import History
from recsys.search.fusion import fuse
from recsys.search.legs import POPULARITY
from recsys.search.personal import Personalizer, in_deviations, personal_order
from recsys.search.query import EncodedQuery
from recsys.search.relevance import relevance
from recsys.search.results import HitExplanation, SearchResults
from recsys.search.scoring import QueryScores, Scorer, Stopwatch
from recsys.search.settings import SearchSettings

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class _Ranked:
    """Positions of the hits among the candidates, best first."""

    place: Ints  # [k]
    score: Doubles  # [k]
    past_item: dict[int, int]  # position -> past item
    is_personal: bool


class Searcher:
    """Search over one catalogue; safe to use from many threads."""

    def __init__(
        self, scorer: Scorer, settings: SearchSettings, personalizer: Personalizer | None = None
    ) -> None:
        self.scorer, self.settings, self.personalizer = scorer, settings, personalizer
        self._kinds: dict[str, str] = {leg.name: leg.kind for leg in scorer.legs}
        self._imputed = {leg.name: leg.imputed for leg in scorer.legs if leg.imputed.any()}

    def over(self, scorer: Scorer, personalizer: Personalizer | None) -> "Searcher":
        """The same settings over another catalogue."""
        return Searcher(scorer, self.settings, personalizer)

    def with_settings(self, settings: SearchSettings) -> "Searcher":
        """The same legs with other settings."""
        return Searcher(self.scorer, settings, self.personalizer)

    def with_personalizer(self, personalizer: Personalizer | None) -> "Searcher":
        """The same legs with a recommender of the bundle."""
        return Searcher(self.scorer, self.settings, personalizer)

    @property
    def encoder_kinds(self) -> dict[str, str]:
        """Name of each dense leg -> the kind of its encoder."""
        return dict(self._kinds)

    def search(
        self,
        query: EncodedQuery,
        k: int,
        *,
        allowed: Bools | None = None,
        min_relevance: float | None = None,
        history: History | None = None,
        personal: float | None = None,
        explain: bool = True,
    ) -> SearchResults:
        """At most `k` items, best first, ties by lowest id; of the items `allowed` [N].

        Fewer where fewer have any relation to the query or a relevance of at least `min_relevance`, which is
        the one of the settings by default; 0 leaves nothing out. `personal` from 0, the impersonal order, to
        1, the recommender's order of the head, is the one of the settings by default. A user of whom the
        recommender knows nothing gets the impersonal list. Without `explain` the hits name no words, which
        takes most of the time of a long list. Raises `RequestError` for values out of range and
        for a query that the catalogue cannot answer.
        """
        self._check(k, min_relevance, personal)
        watch = Stopwatch()
        scores = self.scorer.score(query, self.settings.num_candidates, allowed, watch)
        return self.ranked(
            scores, query, k, min_relevance=min_relevance, history=history, personal=personal,
            explain=explain, watch=watch,
        )  # fmt: skip

    def ranked(
        self,
        scores: QueryScores,
        query: EncodedQuery,
        k: int,
        *,
        min_relevance: float | None = None,
        history: History | None = None,
        personal: float | None = None,
        explain: bool = True,
        watch: Stopwatch | None = None,
    ) -> SearchResults:
        """The list of `search` from the scores of `query`, or from those of some of its legs.

        Several lists of one query, of other legs or settings, need its scores once.
        """
        self._check(k, min_relevance, personal)
        watch = watch or Stopwatch()
        with watch.stage("fusion"):
            fused_K, parts = fuse(scores, self.settings, query.modality_weights)
            relevance_K = relevance(scores, self.settings, self._kinds)
            least = self.settings.min_relevance if min_relevance is None else min_relevance
            kept = np.flatnonzero(relevance_K >= least)
            place = kept[np.lexsort((scores.items[kept], -fused_K[kept]))]
        with watch.stage("personal"):
            ranked = self._ordered(scores.items, fused_K, place, history, personal)
        with watch.stage("fusion"):
            return self._results(query if explain else None, scores, ranked, parts, relevance_K, k, watch)

    def _ordered(
        self, items: Ints, fused_K: Doubles, place: Ints, history: History | None, personal: float | None
    ) -> _Ranked:
        """The hits, the head in the order of `personal_order`; the tail keeps its order below the head."""
        impersonal = _Ranked(place=place, score=fused_K[place], past_item={}, is_personal=False)
        personal = self.settings.personal if personal is None else personal
        if self.personalizer is None or history is None or personal == 0 or not len(place):
            return impersonal
        head, tail = np.split(place, [self.settings.personal_head])
        recommended = self.personalizer(history, items[head])
        if recommended is None:
            return impersonal
        fused_K = in_deviations(fused_K)
        order, final = personal_order(items[head], fused_K[head], recommended.scores, personal)
        below = final[-1] + fused_K[tail] - fused_K[head].min()
        pasts = zip(head.tolist(), recommended.past_items.tolist(), strict=True)
        return _Ranked(
            place=np.concatenate([head[order], tail]),
            score=np.concatenate([final, below]),
            past_item={at: past for at, past in pasts if past},
            is_personal=True,
        )

    def _results(
        self,
        query: EncodedQuery | None,
        scores: QueryScores,
        ranked: _Ranked,
        parts: dict[str, Doubles],
        relevance_K: Doubles,
        k: int,
        watch: Stopwatch,
    ) -> SearchResults:
        place = ranked.place[:k]
        items, found = scores.items[place], relevance_K[place].astype(np.float32)
        words, legs = self._matched(query, items), self._strongest(parts, place, items)
        explanations = tuple(
            HitExplanation(
                words=words[at],
                leg=legs[at],
                past_item=ranked.past_item.get(int(place[at])),
                relevance=float(found[at]),
            )
            for at in range(len(items))
        )
        score: Floats = ranked.score[:k].astype(np.float32)
        return SearchResults(
            items=items,
            scores=score,
            relevance=found,
            explanations=explanations,
            is_personal=ranked.is_personal,
            milliseconds=watch.milliseconds,
        )

    def _matched(self, query: EncodedQuery | None, items: Ints) -> list[tuple[str, ...]]:
        """The words of the query's clauses that each item has, each once."""
        asked = [] if query is None else [each.words for each in query.positive if each.words is not None]
        if self.scorer.words is None or not asked:
            return [()] * len(items)
        by_clause = [self.scorer.words.matched(words, items) for words in asked]
        return [
            tuple(dict.fromkeys(chain.from_iterable(of_item))) for of_item in zip(*by_clause, strict=True)
        ]

    def _strongest(self, parts: dict[str, Doubles], place: Ints, items: Ints) -> list[str | None]:
        """The leg with the largest positive part in the score of each of the candidates `place`.

        A leg whose vector of the item is imputed explains nothing: the item has no such medium.
        """
        names = [name for name in parts if name != POPULARITY]
        if not names:
            return [None] * len(place)
        part_LK = np.stack([parts[name][place] for name in names])
        for leg, name in enumerate(names):
            if name in self._imputed:
                part_LK[leg, self._imputed[name][items]] = 0.0
        best = part_LK.argmax(axis=0)
        return [names[leg] if part_LK[leg, at] > 0 else None for at, leg in enumerate(best.tolist())]

    def _check(self, k: int, min_relevance: float | None, personal: float | None) -> None:
        if not 1 <= k <= self.settings.max_list_length:
            raise RequestError("k", f"from 1 to {self.settings.max_list_length}", k)
        for name, value in (("min_relevance", min_relevance), ("personal", personal)):
            if value is not None and not 0 <= value <= 1:
                raise RequestError(name, "from 0 to 1", value)
