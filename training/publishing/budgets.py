"""Size and latency of a bundle beside those of the champion; both are timed in turns, for the same users."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from features.inputs import load_histories
from recsys.bundle import Bundle, compose_bundle
from recsys.columns import Columns
from recsys.config import PublishConfig
from recsys.errors import RecsysError
from recsys.history import History
from recsys.retrieval import Recommender
from training.publishing.bars import Bar, at_most

K: Final = 20  # items of a timed list
REPEATS: Final = 3  # of each list; the fastest counts, since other processes only add time
BYTES_PER_MB: Final = 1e6


def size_of(bundle: Bundle) -> int:
    """Bytes of all files of the bundle."""
    return sum((bundle.path / name).stat().st_size for name in bundle.manifest.files)


def size_bars(bundle: Bundle, champion: Bundle | None, config: PublishConfig) -> list[Bar]:
    size = size_of(bundle)
    bars = []
    if champion is not None:
        words = (
            f"{size / BYTES_PER_MB:.1f} MB against {size_of(champion) / BYTES_PER_MB:.1f} MB of the champion"
        )
        bars.append(at_most("size ratio", size / size_of(champion), config.max_size_ratio, words=words))
    if config.max_size_mb is not None:
        bars.append(at_most("size", size / BYTES_PER_MB, config.max_size_mb, unit=" MB"))
    return bars


def latency_bars(
    bundle: Bundle, champion: Bundle | None, histories: Path, config: PublishConfig
) -> list[Bar]:
    """Median latency of one user's list, over users of `histories`."""
    users = _sample(histories, config.latency_users) if histories.is_file() else []
    if not users:
        return [_not_timed(f"no histories at {histories}; export the run again")]
    timed = [bundle] if champion is None else [bundle, champion]
    try:
        seconds = _in_turns([(compose_bundle(each)[0], _histories(each, histories, users)) for each in timed])
    except RecsysError as error:
        return [_not_timed(str(error))]
    milliseconds = [float(np.median(each) * 1e3) for each in seconds]
    bars = []
    if champion is not None:
        words = (
            f"{milliseconds[0]:.2f} ms against {milliseconds[1]:.2f} ms of the champion, {len(users)} users"
        )
        ratio = milliseconds[0] / milliseconds[1]
        bars.append(at_most("latency ratio", ratio, config.max_latency_ratio, words=words))
    if config.max_latency_ms is not None:
        bars.append(at_most("latency", milliseconds[0], config.max_latency_ms, unit=" ms"))
    measured = f"{milliseconds[0]:.2f} ms, {len(users)} users"
    return bars or [Bar(name="latency", passed=None, found=measured, required="nothing")]


def _sample(histories: Path, num: int) -> list[str]:
    """Users at equal distances in the file."""
    users = pl.scan_parquet(histories, glob=False).select(Columns.USER).collect()[Columns.USER]
    chosen = np.unique(np.linspace(0, len(users) - 1, num).round().astype(np.int64))
    return [users[int(at)] for at in chosen if len(users)]


def _histories(bundle: Bundle, path: Path, users: Sequence[str]) -> list[History]:
    """The users' histories in the ids of `bundle`, without reviews, whose vectors may have another width."""
    found = load_histories(path, bundle.item_ids, bundle.event_ids, bundle.profile_ids, users=users)
    return [
        History.of(found[user].events, seen=found[user].seen, profile=found[user].profile) for user in users
    ]


def _in_turns(models: Sequence[tuple[Recommender, Sequence[History]]]) -> list[list[float]]:
    """Seconds of each user's list, for each model; the models take turns, so that load meets them alike."""
    seconds: list[list[float]] = [[] for _ in models]
    for recommender, histories in models:
        recommender.recommend([histories[0]], K)  # the first answer makes what later ones reuse
    for at in range(len(models[0][1])):
        fastest = [np.inf] * len(models)
        for _ in range(REPEATS):
            for number, (recommender, histories) in enumerate(models):
                start = time.perf_counter()
                recommender.recommend([histories[at]], K)
                fastest[number] = min(fastest[number], time.perf_counter() - start)
        for number, value in enumerate(fastest):
            seconds[number].append(value)
    return seconds


def _not_timed(reason: str) -> Bar:
    return Bar(name="latency", passed=False, found=f"not measured: {reason}", required="a measurement")
