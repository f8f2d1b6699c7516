"""What /metrics shows of the server, in Prometheus's words."""

from collections.abc import Iterable
from time import perf_counter

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.served_models import Aliases

_SECONDS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)


class Metrics:
    """One server's metrics."""

    def __init__(self, aliases: Aliases) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._registry.register(_Models(aliases))
        self.requests = Counter("colorize_requests", "Requests answered.", ("path", "status"), registry=self._registry)
        self.seconds = Histogram(
            "colorize_request_seconds", "From head to answer.", ("path",), buckets=_SECONDS, registry=self._registry
        )
        self.in_progress = Gauge(
            "colorize_in_progress", "Photographs that are worked on or wait.", registry=self._registry
        )
        self.batch = Histogram(
            "colorize_batch_size", "Pictures in a batch.", buckets=(1, 2, 3, 4, 6, 8), registry=self._registry
        )

    media_type = "text/plain; version=0.0.4; charset=utf-8"

    def text(self) -> bytes:
        return generate_latest(self._registry)


class Measured:
    """ASGI middleware: counts and times the requests for these paths; all others are one, named `other`."""

    def __init__(self, app: ASGIApp, metrics: Metrics, paths: Iterable[str]) -> None:
        self._app, self._metrics, self._paths = app, metrics, frozenset(paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        path = scope["path"] if scope["path"] in self._paths else "other"
        began, status = perf_counter(), 500

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, sending)
        finally:
            self._metrics.requests.labels(path, status).inc()
            self._metrics.seconds.labels(path).observe(perf_counter() - began)


class _Models(Collector):
    """What the aliases stand for, at the moment of asking."""

    def __init__(self, aliases: Aliases) -> None:
        self._aliases = aliases

    def collect(self) -> Iterable[Metric]:
        version = GaugeMetricFamily("colorize_model_version", "Version in memory.", labels=["alias"])
        for alias, served in self._aliases.served().items():
            version.add_metric([alias], served.number)
        yield version
        yield GaugeMetricFamily(
            "colorize_model_failures", "Looks at the registry that failed.", value=self._aliases.failures
        )
