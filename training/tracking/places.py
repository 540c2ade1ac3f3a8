"""Places where a run is tracked, and how much of its journal each of them has.

`delivered.json` has an entry for each MLflow server or SQLite file:

    {"last": PLACE,
     "places": {PLACE: {"num_bytes": 812, "experiment_id": "1", "run_ids": {"": ..., "train": ...},
                        "asked": "sqlite:///mlflow.db", "path_from_run": "../mlflow.db"}}}

PLACE is the address without a password. A SQLite file that was moved together with the run directory is found
by its path relative to the run directory.
"""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from recsys.files import replacing

SQLITE = "sqlite:///"
ARTIFACT_FOLDER = "mlartifacts"  # beside a SQLite file
URI_VARIABLE = "MLFLOW_TRACKING_URI"
DATABASE = "mlflow.db"  # by default, beside the run directory


@dataclass(kw_only=True)
class Place:
    """One MLflow server or SQLite file; `run_ids` has the run of each step, and the parent run as ""."""

    uri: str  # without a password
    num_bytes: int = 0  # of the journal that were delivered
    experiment_id: str | None = None
    run_ids: dict[str, str] = field(default_factory=dict)
    asked: str | None = None  # track.uri, if it names a SQLite file
    path_from_run: str | None = None  # of a SQLite file

    @property
    def database(self) -> Path | None:
        """The SQLite file, None of a server."""
        return database_of(self.uri)

    def forget(self) -> None:
        """Deliver the whole journal the next time."""
        self.num_bytes, self.experiment_id = 0, None
        self.run_ids.clear()


class Places:
    """The places of the run in `run_directory`, stored in the file `path`."""

    def __init__(self, path: Path, run_directory: Path) -> None:
        self._path, self.run_directory = path, run_directory.resolve()
        self._addresses: dict[str, str] = {}  # with passwords
        content = json.loads(path.read_text("utf-8")) if path.exists() else {"last": None, "places": {}}
        self._last: str | None = content["last"]
        self._keeps_last = False
        self._places = {uri: Place(uri=uri, **values) for uri, values in content["places"].items()}

    def choose(self, asked: str | None, *, is_copy: bool = False) -> Place:
        """The place to send to.

        In order of precedence: `asked`, which is track.uri; the variable `MLFLOW_TRACKING_URI`; the last
        place that was used; a SQLite file beside the run directory. With `is_copy` a later call without
        `asked` chooses as before this one, if the run was tracked somewhere before.
        """
        self._keeps_last = is_copy and self._last is not None
        uri = asked or os.environ.get(URI_VARIABLE)
        if uri is None:
            place = self._of_last_time() or self._at(self._default())
        else:
            place = self._known_as(asked) or self._at(_absolute(uri))
            if asked is not None and place.database is not None:  # an address of a server may hold a password
                place.asked = asked
        if place.database is not None:
            place.path_from_run = os.path.relpath(place.database, self.run_directory)
            if not place.database.exists():
                place.forget()  # MLflow creates a new file
        elif uri is not None:
            self._addresses[place.uri] = uri
        return place

    def address(self, place: Place) -> str:
        """The address of `place` with its password, if it has one."""
        return self._addresses.get(place.uri, place.uri)

    def save(self, place: Place) -> None:
        """Write the state of `place` to the file."""
        self._places[place.uri] = place
        if not self._keeps_last:
            self._last = place.uri
        values = {
            uri: {k: v for k, v in asdict(each).items() if k != "uri"} for uri, each in self._places.items()
        }
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self._path) as temporary:
            temporary.write_text(json.dumps({"last": self._last, "places": values}, indent=2), "utf-8")

    def _default(self) -> str:
        return uri_of(self.run_directory.parent / DATABASE)

    def _of_last_time(self) -> Place | None:
        return None if self._last is None else self._where_it_is_now(self._places[self._last])

    def _known_as(self, asked: str | None) -> Place | None:
        """The place of an earlier use of this track.uri, perhaps in another working directory."""
        for place in self._places.values():
            if asked is not None and place.asked == asked:
                return self._where_it_is_now(place)
        return None

    def _where_it_is_now(self, place: Place) -> Place | None:
        """The place with its present address; None for a SQLite file that no longer exists."""
        if place.database is None or place.database.exists():
            return place
        moved = self.run_directory / (place.path_from_run or DATABASE)
        if not moved.exists():
            return None
        del self._places[place.uri]
        was_last = self._last == place.uri
        place.uri = uri_of(moved)
        if was_last:
            self._last = place.uri
        self._places[place.uri] = place
        return place

    def _at(self, uri: str) -> Place:
        uri = without_password(uri)
        if uri in self._places:
            return self._places[uri]
        database = database_of(uri)
        for place in self._places.values():
            moved = self.run_directory / (place.path_from_run or "")
            if database is not None and place.path_from_run and moved.resolve() == database.resolve():
                return self._where_it_is_now(place) or Place(uri=uri)
        return Place(uri=uri)


def uri_of(database: Path) -> str:
    """The address of a SQLite file; "?" and "%" are escaped."""
    return SQLITE + str(database.resolve()).replace("%", "%25").replace("?", "%3F")


def database_of(uri: str) -> Path | None:
    """The SQLite file of an address; None for a server."""
    if not uri.startswith(SQLITE):
        return None
    name = uri.removeprefix(SQLITE).partition("?")[0]
    return Path(unquote(name))


def artifact_location(uri: str) -> str | None:
    """Where a new experiment at `uri` keeps its files: beside a SQLite file; a server knows its own place."""
    database = database_of(uri)
    return None if database is None else (database.resolve().parent / ARTIFACT_FOLDER).as_uri()


def _absolute(uri: str) -> str:
    """The canonical form of an address: an absolute path without links, no slash at the end."""
    database = database_of(uri)
    if database is None:
        return uri.rstrip("/")
    _, sign, options = uri.partition("?")
    return uri_of(database) + sign + options


def without_password(uri: str) -> str:
    """The address without user name and password."""
    parts = urlsplit(uri)
    if "@" not in parts.netloc:
        return uri
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
