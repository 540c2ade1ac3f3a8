"""Opens the state of a bundle: its file, and the histories that are imported into it."""

import hashlib
import json
import logging
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

from features.inputs import iter_histories
from recsys.bundle import Bundle, state_directory
from recsys.errors import DataError, StateError
from recsys.history import History
from serving.state.assembling import Assembler
from serving.state.database import Database
from serving.state.imported import ImportedHistories
from serving.state.layout import IN_MEMORY, UnwritableStateError
from serving.state.live import SqliteLiveRows
from serving.state.protocol import LiveRows
from serving.state.users import UserState

HISTORIES: Final = "histories.parquet"
STATE: Final = "state.sqlite"
REDIS: Final = ("redis://", "rediss://", "unix://")  # how the address of a Redis begins
log = logging.getLogger(__name__)


def open_state(bundle: Bundle, *, histories: Path | None = None, path: Path | str | None = None) -> UserState:
    """The state at `path` with `histories` imported for `bundle`.

    With a `path` that begins with "redis://" the live rows are in that Redis, and the histories of training
    where they are by default.

    `histories` is by default histories.parquet beside the bundle, if there is one; `path` is by default
    state.sqlite beside the bundle, or in the store that holds the bundle. Where that default cannot be
    written the state is kept in memory, and begins with the content of the file, erasures included. With
    `path` ":memory:" an empty state is kept in memory. Raises `DataError` where `histories` cannot be read
    or `path` cannot be used; a file that this call created is then removed.
    """
    run = bundle.path.resolve().parent
    if bundle.manifest.recommender is None and path is None:  # of items alone: no history is read
        path, histories = Path(IN_MEMORY), None
    if histories is None and (run / HISTORIES).is_file():
        histories = run / HISTORIES
    live = _redis_rows(path)
    path = None if path is None or live is not None else Path(path)
    is_default, path = path is None, path or state_directory(bundle.path) / STATE
    is_new = not path.exists()
    state = compose_state(_opened(path, is_default=is_default), bundle, live)
    try:
        if live is not None:
            state.imported.remove_erased(live.erased())
        if histories is not None:
            state.imported.import_histories(histories, partial(_read_histories, bundle))
        elif not state.imported.has_histories and not state.imported.is_empty():
            log.warning("%s: holds no histories of this bundle's items; every user is unknown", path)
    except BaseException:
        is_unused = is_new and state.is_durable and state.is_empty()
        state.close()
        if is_unused:
            path.unlink(missing_ok=True)
        raise
    return state


def state_of_bundle(shared: UserState, bundle: Bundle, *, histories: Path | None = None) -> UserState:
    """The users of `shared` in the ids of another bundle: the same rows, with `histories` imported for it.

    histories.parquet beside the bundle comes before `histories`. Both states may be read at once; closing one
    closes both. Raises `DataError` where the file cannot be read.
    """
    beside = bundle.path.resolve().parent / HISTORIES
    source = beside if beside.is_file() else histories
    imported = ImportedHistories(shared.database, maps=maps_fingerprint(bundle))
    with suppress(StateError):  # of a Redis that does not answer; a read finds these erasures as well
        imported.remove_erased(shared.live.erased())
    if source is not None and bundle.manifest.recommender is not None:
        imported.import_histories(source, partial(_read_histories, bundle))
    return shared.of_bundle(imported, Assembler(bundle))


def open_live_rows(place: Path | str) -> LiveRows:
    """The live rows of the state at `place`: a file, a folder with a state.sqlite, or a Redis.

    Other processes may use it. Raises `DataError` where there is none.
    """
    if (live := _redis_rows(place)) is not None:
        return live
    path = Path(place)
    path = path / STATE if path.is_dir() else path
    if not path.is_file():
        raise DataError(f"no state at {path}; name the file that recsys serve keeps (--state)")
    return SqliteLiveRows(Database(path))


def maps_fingerprint(bundle: Bundle) -> str:
    """Equal for two bundles that read each other's stored histories in the same way.

    It covers the numbers of items, kinds of event and values of users' fields, the clock, and the
    encoders that made the vectors of reviews.
    """
    manifest = bundle.manifest
    schema, files = manifest.sequence_schema, manifest.files
    if schema is None:  # of items alone
        return files["item_ids.npy"]
    encoders = [manifest.encoders[kind] for kind in ("text", "audio") if kind in manifest.encoders]
    meaning = {
        "maps": [files["item_ids.npy"], files["maps.json"]],
        "has_clock": schema.has_clock,
        "review_dims": [schema.review_text_dim, schema.review_audio_dim],
        "encoders": [files[name] for name in sorted(files) if name.startswith(tuple(encoders))],
    }
    return hashlib.sha256(json.dumps(meaning, sort_keys=True).encode()).hexdigest()


def compose_state(database: Database, bundle: Bundle, live: LiveRows | None = None) -> UserState:
    """The state of `bundle` in `database`, without an import; `live` may have the live rows instead."""
    try:
        return UserState(
            database,
            ImportedHistories(database, maps=maps_fingerprint(bundle)),
            SqliteLiveRows(database) if live is None else live,
            Assembler(bundle),
        )
    except BaseException:
        database.close()
        raise


def _redis_rows(place: Path | str | None) -> LiveRows | None:
    """The live rows of the Redis that `place` names; None where it names none."""
    if not isinstance(place, str) or not place.startswith(REDIS):
        return None
    from serving.state.redis_rows import RedisLiveRows  # an optional library

    return RedisLiveRows(place)


def _opened(path: Path, *, is_default: bool) -> Database:
    try:
        return Database(path)
    except UnwritableStateError:
        if not is_default:
            raise
    log.info("%s cannot be written; the state is kept in memory", path)
    return Database(IN_MEMORY, copy_of=path)


def _read_histories(bundle: Bundle, source: Path) -> Iterator[tuple[str, History]]:
    schema = bundle.sequence_schema
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
