"""`Engine`: a bundle, its graphs and the users' histories, composed to answer requests."""

from collections.abc import Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Final

import numpy as np

from recsys.arrays import Bools, Floats, Ints
from recsys.bundle import Bundle, Device, compose_bundle
from recsys.columns import Columns
from recsys.errors import BundleError
from recsys.history import History
from recsys.ids import NUM_RESERVED, PAD
from recsys.onnx import OnnxSession
from recsys.retrieval import (
    AnsweredBy,
    IsLate,
    Reason,
    Recommendations,
    Recommender,
    RuledLists,
    Rules,
    by_leave_one_out,
    reason_of,
    recommend_by_rules,
    recommend_visible,
)
from serving.requests import Event, RequestReader
from serving.rules import RuleBook
from serving.state import State, UserState, open_state, state_of_bundle

LIVE_ROWS_MISSING: Final = "live_state: does not answer, so that events since the training are left out"


class Engine:
    """Answers for users of the state and for given histories; safe to use from many threads.

    Without a `recommender`, in a bundle of items alone, items are searched and nothing else: every other
    method that answers raises `BundleError`.

    An item with an owner exists for that user alone: `reader_of`, `histories` and all answers take the user
    for whom they are, and without one only items without an owner are read and listed.
    """

    def __init__(
        self,
        *,
        bundle: Bundle,
        recommender: Recommender | None,
        state: State,
        sessions: Mapping[str, OnnxSession],
        rules: Path | None = None,
    ) -> None:
        self.state, self._sessions = state, dict(sessions)
        self._read(bundle, recommender)
        self.rule_book = RuleBook.open(rules, self.operator_reader.filter, bundle.item_ids)

    def _read(self, bundle: Bundle, recommender: Recommender | None) -> None:
        self.bundle, self.recommender = bundle, recommender
        self.owners = bundle.owners
        self.operator_reader = RequestReader(bundle)  # of all items, for files of the operator
        self.request_reader = self.reader_of(None)
        self._titles: list[str | None] = bundle.catalogue[Columns.TITLE].to_list()
        known = Columns.IMAGE in bundle.catalogue.columns
        self._images: list[str | None] = (
            bundle.catalogue[Columns.IMAGE].to_list() if known else [None] * bundle.catalogue.height
        )
        self._reviewers: list[str | None] = bundle.reviewers
        self._imputed = bundle.imputed

    def over(self, bundle: Bundle, recommender: Recommender | None) -> "Engine":
        """An engine over another catalogue of the same bundle, with the same users and rules.

        A rule that does not fit the other catalogue has no effect there.
        """
        other = copy(self)
        other.state = self.state.over(bundle)
        other._read(bundle, recommender)
        other.rule_book = self.rule_book.over(other.operator_reader.filter, bundle.item_ids)
        return other

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        histories: Path | None = None,
        state: Path | str | UserState | None = None,
        device: Device = "cpu",
        rules: Path | None = None,
    ) -> "Engine":
        """An engine over the bundle in `path`.

        `histories` and `state` are those of `serving.state.opening.open_state`: the files beside the
        bundle by default. A `state` that another engine has open is shared, and closed with either.
        `rules` is the operator's rules file. Raises `BundleError`, `DataError` where `histories`, `state` or
        `rules` cannot be used, `ProviderError` where `device` is not available.
        """
        bundle = Bundle.open(path)
        recommender: Recommender | None = None
        sessions: Mapping[str, OnnxSession] = {}
        if bundle.manifest.recommender is not None:
            recommender, sessions = compose_bundle(bundle, device=device)
        return cls(
            bundle=bundle,
            recommender=recommender,
            state=state_of_bundle(state, bundle, histories=histories)
            if isinstance(state, UserState)
            else open_state(bundle, histories=histories, path=state),
            sessions=sessions,
            rules=rules,
        )

    @property
    def providers(self) -> dict[str, tuple[str, ...]]:
        """The execution providers that each graph runs on."""
        return {graph: session.providers for graph, session in self._sessions.items()}

    @property
    def ran_on(self) -> dict[str, str | None]:
        """The device of the last inference of each graph, "cpu" or "cuda"; None before the first."""
        return {graph: session.ran_on for graph, session in self._sessions.items()}

    def require_recommender(self) -> Recommender:
        """The recommender; raises `BundleError` where the bundle has none."""
        if self.recommender is None:
            raise BundleError(
                f"{self.bundle.path}: a bundle of items alone, which recommends nothing; search it (recsys "
                "search), or train a recommender on a dataset with interactions (recsys run)"
            )
        return self.recommender

    def warm(self) -> None:
        """Answer once, so that the first request finds everything loaded."""
        if self.recommender is not None and len(self.bundle.item_ids):
            history, _ = self.request_reader.history([Event(item=self.item_id(NUM_RESERVED))])
            self.recommend([history, None], 1)

    def reader_of(self, user: str | None) -> RequestReader:
        """A reader of requests by `user`, None where none is named."""
        return self.operator_reader.among(self.owners.visible(user))

    def history(self, user: str) -> tuple[History | None, list[str]]:
        """The history of one user as in `histories`, and why it lacks the events since the training."""
        known = self.state.read([user])
        (history,) = known.histories
        visible = None if history is None else self.owners.visible_history(user, history)
        return visible, [] if known.is_live else [LIVE_ROWS_MISSING]

    def histories(self, users: Sequence[str]) -> list[History | None]:
        """The stored histories of `users`, of the items that they may see; None for an unknown user."""
        found = zip(users, self.state.histories(users), strict=True)
        return [
            None if history is None else self.owners.visible_history(user, history) for user, history in found
        ]

    def recommend(
        self,
        histories: Sequence[History | None],
        k: int,
        *,
        users: Sequence[str | None] | None = None,
        exclude_seen: bool = True,
        allowed: Bools | None = None,
        diversity: float = 0.0,
    ) -> Recommendations:
        """`Recommender.recommend`; None is a user of whom nothing is known.

        `users` are the ids of the users with these histories, None for one without, as are all by default.
        """
        return recommend_visible(
            self.require_recommender(),
            self.owners,
            [None] * len(histories) if users is None else users,
            histories,
            k,
            exclude_seen=exclude_seen,
            allowed=allowed,
            diversity=diversity,
        )

    def recommend_by_rules(
        self,
        histories: Sequence[History | None],
        k: int,
        rules: Rules,
        *,
        seeds: Sequence[int],
        users: Sequence[str | None] | None = None,
        exclude_seen: bool = True,
        allowed: Bools | None = None,
        diversity: float = 0.0,
        is_late: IsLate | None = None,
    ) -> RuledLists:
        """As `recommend`, by rules of `rule_book`; `seeds` of the users decide what exploration draws.

        `is_late` is that of `Recommender.recommend`.
        """
        return recommend_by_rules(
            self.require_recommender(),
            self.owners,
            [None] * len(histories) if users is None else users,
            histories,
            k,
            rules,
            seeds=seeds,
            exclude_seen=exclude_seen,
            allowed=allowed,
            diversity=diversity,
            is_late=is_late,
        )

    def rank(self, histories: Sequence[History | None], candidates: Ints) -> Recommendations:
        """`Recommender.rank` of candidates [B, K]."""
        return self.require_recommender().rank(histories, candidates)

    def similar(self, item: int, k: int, *, user: str | None = None) -> tuple[Ints, Floats]:
        """The `k` nearest other items of `item` and their cosines, fewer in a small catalogue."""
        items_BK, scores_BK = self.require_recommender().similar(
            np.array([item], np.int64), k, allowed=self.owners.visible(user)
        )
        found = items_BK[0] != PAD
        return items_BK[0][found], scores_BK[0][found]

    def close(self) -> None:
        """Close the state."""
        self.state.close()

    def __enter__(self) -> "Engine":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def degraded(self, history: History | None, answered_by: AnsweredBy) -> list[str]:
        """What answered in place of the model with the user's history, and why; empty where it answered."""
        if answered_by is AnsweredBy.HISTORY:
            return []
        if answered_by is AnsweredBy.RETRIEVAL:
            return [f"time_budget: {answered_by}"]
        if history is None:
            return [f"unknown_user: {answered_by}"]
        # A stored history may have only items that are no longer in the catalogue.
        return [f"{'unknown_items' if len(history) else 'empty_history'}: {answered_by}"]

    def item_id(self, item: int) -> str:
        return self.bundle.item_ids.external[item - NUM_RESERVED]

    def image(self, item: int) -> str | None:
        """Path of the item's picture as the dataset names it; None where it has none."""
        return self._images[item - NUM_RESERVED]

    def title(self, item: int) -> str | None:
        return self._titles[item - NUM_RESERVED]

    def name(self, item: int) -> str:
        """The title, or the id of an item that has none."""
        return self.title(item) or self.item_id(item)

    def explained(self, ranked: Recommendations, history: History | None) -> Recommendations:
        """The one list of `ranked` with past items by leave-one-out in place of attention, for `reason`."""
        if history is None or ranked.history_attention is None:
            return ranked
        return by_leave_one_out(self.require_recommender(), history, ranked)

    def reason(self, ranked: Recommendations, row: int, place: int) -> Reason | None:
        """Why the item at `place` of list `row` was recommended; None where no ranker ran."""
        item = int(ranked.items[row, place])
        reviewers = None if item == PAD else self._reviewers[item - NUM_RESERVED]
        imputed = [] if item == PAD else self._imputed[item - NUM_RESERVED]
        modalities = self.bundle.manifest.modalities
        return reason_of(ranked, row, place, modalities, self.name, reviewers, imputed)
