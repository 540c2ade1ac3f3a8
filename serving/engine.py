"""`Engine`: a bundle, its graphs and the users' histories, composed to answer questions."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from features.inputs.history_file import iter_histories
from recsys.arrays import Bools, Floats, Ints
from recsys.bundle.compose import Device, compose_bundle
from recsys.bundle.load import Bundle
from recsys.columns import Columns
from recsys.errors import DataError
from recsys.history import History
from recsys.ids import NUM_RESERVED, PAD
from recsys.retrieval.explanations import Reason, reason_of
from recsys.retrieval.recommender import Recommendations, Recommender
from serving.fallback import Popularity, interleave
from serving.http.requests import RequestReader
from serving.state.sqlite import SqliteState, State

HISTORIES = "histories.parquet"
STATE = "state.sqlite"


class Engine:
    """Answers for users of the state and for histories given outright; safe to use from many threads."""

    def __init__(
        self,
        *,
        bundle: Bundle,
        recommender: Recommender,
        state: State,
        providers: Mapping[str, tuple[str, ...]],
    ) -> None:
        self.bundle, self.recommender, self.state, self.providers = bundle, recommender, state, providers
        self.read = RequestReader(bundle)
        self._popularity = Popularity(bundle.popularity)
        self._titles: list[str | None] = bundle.catalogue[Columns.TITLE].to_list()
        self._reviewers: list[str | None] = bundle.reviewers

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        histories: Path | None = None,
        state: Path | None = None,
        device: Device = "cpu",
    ) -> "Engine":
        """An engine over the bundle in `path`.

        `histories` (by default the bundle's sibling histories.parquet, if there is one) is imported
        once into the database at `state` (by default the bundle's sibling state.sqlite). Raises
        `BundleError`, `DataError` where `histories` cannot be read, `ProviderError` where `device` is
        not to be had.
        """
        bundle = Bundle.open(path)
        recommender, providers = compose_bundle(bundle, device=device)
        run = bundle.path.resolve().parent
        if histories is None and (run / HISTORIES).is_file():
            histories = run / HISTORIES
        database = _open_state(state or run / STATE, bundle, histories)
        return cls(bundle=bundle, recommender=recommender, state=database, providers=providers)

    def recommend(
        self,
        histories: Sequence[History | None],
        k: int,
        *,
        exclude_seen: bool = True,
        allowed: Bools | None = None,
        diversity: float = 0.0,
    ) -> Recommendations:
        """The best `k` items for each history; the most popular ones where it is None or empty."""
        is_known, known, others = _by_knowledge(histories)
        ranked = popular = None
        if known:
            ranked = self.recommender.recommend(
                known, k, exclude_seen=exclude_seen, allowed=allowed, diversity=diversity
            )
        if others:
            popular = self._popularity.recommend(others, k, exclude_seen=exclude_seen, allowed=allowed)
        return interleave(is_known, ranked, popular)

    def rank(self, histories: Sequence[History | None], candidates: Ints) -> Recommendations:
        """Candidates [B, K] as `Recommender.rank` orders them, or by popularity where nothing is known."""
        is_known, known, others = _by_knowledge(histories)
        ranked = self.recommender.rank(known, candidates[is_known]) if known else None
        popular = self._popularity.rank(candidates[~is_known]) if others else None
        return interleave(is_known, ranked, popular)

    def similar(self, item: int, k: int) -> tuple[Ints, Floats]:
        """The `k` nearest other items of `item` and their cosines, fewer in a small catalogue."""
        items_BK, scores_BK = self.recommender.similar(np.array([item], np.int64), k)
        found = items_BK[0] != PAD
        return items_BK[0][found], scores_BK[0][found]

    def close(self) -> None:
        """Let go of the state."""
        self.state.close()

    def __enter__(self) -> "Engine":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def degraded(self, history: History | None) -> list[str]:
        """What stood in for the model in an answer to this history, and why."""
        if history is None:
            return ["unknown_user: popularity"]
        return [] if len(history) else ["empty_history: popularity"]

    def item_id(self, item: int) -> str:
        return self.bundle.item_ids.external[item - NUM_RESERVED]

    def title(self, item: int) -> str | None:
        return self._titles[item - NUM_RESERVED]

    def name(self, item: int) -> str:
        """The title, or the id of an item that has none."""
        return self.title(item) or self.item_id(item)

    def reason(self, ranked: Recommendations, row: int, place: int) -> Reason | None:
        """Why the item at `place` of list `row` stands there; None where no ranker ran."""
        item = int(ranked.items[row, place])
        reviewers = None if item == PAD else self._reviewers[item - NUM_RESERVED]
        return reason_of(ranked, row, place, self.bundle.manifest.modalities, self.name, reviewers)


def maps_fingerprint(bundle: Bundle) -> str:
    """Two bundles with the same number items, kinds of event and users' fields alike."""
    return " ".join(bundle.manifest.files[name] for name in ("item_ids.npy", "maps.json"))


def _open_state(path: Path, bundle: Bundle, histories: Path | None) -> SqliteState:
    """The database at `path` with `histories` imported; one that was made for them goes where they fail."""
    is_new = not path.exists()
    database = SqliteState(path, maps=maps_fingerprint(bundle))
    try:
        if histories is not None:
            database.import_histories(histories, partial(_read_histories, bundle))
        database.check()
    except BaseException:
        database.close()
        if is_new:
            path.unlink(missing_ok=True)
        raise
    return database


def _read_histories(bundle: Bundle, source: Path) -> Iterator[tuple[str, History]]:
    schema = bundle.manifest.sequence_schema
    for user, history in iter_histories(source, bundle.item_ids, bundle.event_ids, bundle.profile_ids):
        for found, dim in (
            (history.review_text, schema.review_text_dim),
            (history.review_audio, schema.review_audio_dim),
        ):
            if dim and any(len(vector) != dim for vector in found.values()):
                raise DataError(
                    f"{source}: a review of user {user!r} has a vector of another width than {dim}, which "
                    "this bundle reads; name the histories that were exported with it"
                )
        yield user, history


def _by_knowledge(
    histories: Sequence[History | None],
) -> tuple[Bools, list[History], list[History | None]]:
    """Which histories say anything, those, and the others."""
    known = [history for history in histories if history is not None and len(history)]
    others = [history for history in histories if history is None or not len(history)]
    is_known = np.array([history is not None and len(history) > 0 for history in histories], np.bool_)
    return is_known, known, others
