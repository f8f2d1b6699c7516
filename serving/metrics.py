"""Metrics of the server in Prometheus's text format."""

from collections.abc import Iterable
from time import perf_counter

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.served_models import ServedModels

_SECONDS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)


class Metrics:
    """Holds the metrics of one server."""

    def __init__(self, models: ServedModels) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._registry.register(_Models(models))
        self.requests = Counter("colorize_requests", "Requests answered.", ("path", "status"), registry=self._registry)
        self.seconds = Histogram(
            "colorize_request_seconds",
            "Seconds from the head of a request to its answer.",
            ("path",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.in_progress = Gauge(
            "colorize_in_progress", "Photographs that are colored or wait.", registry=self._registry
        )
        self.batch = Histogram(
            "colorize_batch_size", "Pictures in a batch.", buckets=(1, 2, 3, 4, 6, 8), registry=self._registry
        )

    media_type = "text/plain; version=0.0.4; charset=utf-8"

    def text(self) -> bytes:
        return generate_latest(self._registry)


class RequestMetrics:
    """ASGI middleware that counts and times requests by path. Unknown paths count as `other`."""

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
    """Reports the version of each alias at the time of a scrape."""

    def __init__(self, models: ServedModels) -> None:
        self._models = models

    def collect(self) -> Iterable[Metric]:
        version = GaugeMetricFamily("colorize_model_version", "Version in service, by alias.", labels=["alias"])
        for alias, served in self._models.served().items():
            version.add_metric([alias], served.number)
        yield version
        yield GaugeMetricFamily(
            "colorize_model_failures", "Polls of the registry that failed.", value=self._models.failures
        )
