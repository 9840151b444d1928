"""What the service counts, for Prometheus. Labels are route templates, methods and statuses: never a customer."""

import os

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
UNMATCHED = "unmatched"
# A single read answers in about a millisecond and the goal at load is 20 ms: most buckets stand there.
_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)

_REGISTRY = CollectorRegistry()
REQUESTS = Counter("perennial_requests_total", "Requests answered.", ("method", "route", "status"), registry=_REGISTRY)
SECONDS = Histogram(
    "perennial_request_seconds", "Time to answer, body included.", ("route",), buckets=_SECONDS, registry=_REGISTRY
)
IN_FLIGHT = Gauge(
    "perennial_requests_in_flight", "Requests being worked on.", registry=_REGISTRY, multiprocess_mode="livesum"
)
SHED = Counter("perennial_requests_shed_total", "Requests refused for want of capacity.", registry=_REGISTRY)
CUSTOMERS = Counter(
    "perennial_customers_total", "Customers answered for, by status.", ("route", "status"), registry=_REGISTRY
)
READY = Gauge("perennial_ready", "1 when scores can be served.", registry=_REGISTRY, multiprocess_mode="livemin")
AS_OF = Gauge(
    "perennial_scores_as_of_seconds",
    "Unix time that the served scores describe.",
    registry=_REGISTRY,
    multiprocess_mode="livemax",
)
MODEL_LOADS = Counter(
    "perennial_model_loads_total", "Attempts to load the published models.", ("result",), registry=_REGISTRY
)


def observe(method: str, route: str, status: int, seconds: float) -> None:
    """Count one answered request."""
    REQUESTS.labels(method if method in METHODS else "other", route, str(status)).inc()
    SECONDS.labels(route).observe(seconds)


def render() -> bytes:
    """Return the exposition text, summed over the workers when there are several."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest(_REGISTRY)
    together = CollectorRegistry()
    MultiProcessCollector(together)  # type: ignore[no-untyped-call]
    return generate_latest(together)
