"""What a server has done, for Prometheus: requests, their time, answers that were degraded."""

from collections.abc import Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
BATCH_SIZES: Final = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """The counters of one application; safe to use from many threads."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "recsys_requests", "Answered requests.", ("method", "route", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "recsys_request_seconds",
            "Time from the request to the end of its answer.",
            ("method", "route"),
            buckets=SECONDS,
            registry=self._registry,
        )
        self._degraded = Counter(
            "recsys_degraded",
            "Answers that do not come from model and history.",
            ("why",),
            registry=self._registry,
        )

        self._batches = Histogram(
            "recsys_batch_size",
            "Requests for lists that were computed together.",
            buckets=BATCH_SIZES,
            registry=self._registry,
        )
        self._swaps = Counter(
            "recsys_swaps",
            "Bundles that were to be served, by request.",
            ("outcome",),
            registry=self._registry,
        )

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

    def degraded(self, reasons: Iterable[str]) -> None:
        """Count the entries of an answer's `degraded`, without what answered instead."""
        for reason in reasons:
            self._degraded.labels(reason.partition(":")[0]).inc()

    def computed(self, size: int) -> None:
        """Count a batch of requests for lists."""
        self._batches.observe(size)

    def swapped(self, *, is_served: bool) -> None:
        """Count a bundle that took the place of another one, or was refused."""
        self._swaps.labels("served" if is_served else "refused").inc()

    def text(self) -> bytes:
        """All numbers, in Prometheus' text format."""
        return generate_latest(self._registry)
