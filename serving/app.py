"""HTTP application of the champion: the page, POST /v1/colorize, /healthz, /readyz, /metrics and /openapi.json.

A photograph stays in memory while it is colored. The server never writes it to a file or to the log.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import FileResponse, PlainTextResponse
from fastapi.staticfiles import StaticFiles
from starlette.requests import ClientDisconnect

from model.inference.choices import STRONGEST, Choices
from model.inference.hints import parse_hints
from serving import errors
from serving.metrics import Metrics, RequestMetrics
from serving.served_models import ServedModels
from serving.worker import TYPES, ZIP, ColoringPool, Limits

PAGE = Path(__file__).parent / "page"
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_BODY = {"required": True, "content": dict.fromkeys((*TYPES, "application/octet-stream"), _BINARY)}
_COLORED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The photograph in color, in its own format (a GIF becomes a JPEG); a ZIP of several samples.",
        "content": dict.fromkeys((*sorted(set(TYPES.values())), ZIP), _BINARY),
    }
}
_HINTS = 16_384  # characters; the whole head of a request may have 64 KiB
_HINT = '[{"color": "#2a4b8d", "points": [[0.4, 0.6]]}]'
_MEASURED = ("/", "/v1/colorize", "/healthz", "/readyz", "/metrics", "/openapi.json")
# The page may load its own scripts, pictures that it holds in memory, and the style element of the slider.
_POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; style-src 'self' 'unsafe-inline'; "
    "frame-ancestors 'none'; form-action 'none'; base-uri 'none'"
)


def create_app(models: ServedModels, limits: Limits) -> FastAPI:
    """Builds the application of the server; its start also starts `models` and the coloring threads."""
    metrics = Metrics(models)
    pool = ColoringPool(limits, metrics.batch.observe)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with pool, models:
            yield

    app = FastAPI(
        title="colorize",
        version="1",
        description="Colors black-and-white photographs with the model in service.",
        docs_url=None,  # its page would fetch scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )
    errors.install(app)
    _add_coloring(app, models, limits, metrics, pool)
    _add_status(app, models, metrics, pool)

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(PAGE / "index.html", headers={"Content-Security-Policy": _POLICY})

    app.mount("/page", StaticFiles(directory=PAGE))
    app.add_middleware(RequestMetrics, metrics=metrics, paths=_MEASURED)
    return app


def _add_coloring(app: FastAPI, models: ServedModels, limits: Limits, metrics: Metrics, pool: ColoringPool) -> None:
    """Adds POST /v1/colorize."""
    places = asyncio.Semaphore(limits.max_requests)

    @app.post(
        "/v1/colorize",
        response_class=Response,
        responses=_COLORED | errors.documented(404, 408, 413, 415, 422, 429, 500, 503),
        openapi_extra={"requestBody": _BODY},
    )
    async def colorize(
        request: Request,
        samples: Annotated[int, Query(ge=1, le=limits.samples, description="Number of colorings, with other z.")] = 1,
        seed: Annotated[int, Query(ge=0, lt=1 << 63, description="The same seed gives the same colorings.")] = 0,
        model: Annotated[Literal["champion", "challenger", "previous"], Query(description="Alias.")] = "champion",
        label: Annotated[str | None, Query(description="Label, for a model trained with labels.")] = None,
        strength: Annotated[float, Query(ge=0, le=STRONGEST, description="Factor of the chroma.")] = 1.0,
        hints: Annotated[str, Query(max_length=_HINTS, description="Colors to use, in JSON.", examples=[_HINT])] = "[]",
    ) -> Response:
        """Colors the photograph in the body of the request: JPEG, PNG, WebP, TIFF, BMP or GIF."""
        if places.locked():
            raise HTTPException(429, f"{limits.max_requests} photographs are in progress; try again soon")
        choices = Choices(seed, label, strength, parse_hints(hints, "hints"))
        content = None
        try:
            async with places, asyncio.timeout(limits.seconds):
                with metrics.in_progress.track_inprogress():
                    content = await _body(request, limits.bytes)
                    served = await models.get(model)
                    colored, kind = await pool.color(served.colorizer, content, samples, choices)
        except TimeoutError:
            waited = f"after {limits.seconds:g} seconds"
            if content is None:
                raise HTTPException(408, f"the photograph had not arrived {waited}") from None
            raise HTTPException(503, f"the photograph was not colored {waited}; try again later") from None
        return Response(
            colored, media_type=kind, headers={"Cache-Control": "no-store", "Model-Version": str(served.number)}
        )


def _add_status(app: FastAPI, models: ServedModels, metrics: Metrics, pool: ColoringPool) -> None:
    """Adds /healthz, /readyz and /metrics."""

    @app.get("/healthz", response_class=PlainTextResponse, responses=errors.documented(503))
    async def healthz() -> str:
        """Tells whether the process works."""
        if not pool.alive:
            raise HTTPException(503, "the thread of the network has ended; restart the server")
        return "ok"

    @app.get("/readyz", response_class=PlainTextResponse, responses=errors.documented(503))
    async def readyz() -> str:
        """Tells whether the champion is loaded."""
        return f"champion is version {(await models.get('champion')).number}"

    @app.get("/metrics", response_class=PlainTextResponse)
    async def prometheus() -> PlainTextResponse:
        """Returns requests, durations, batches, versions and memory in Prometheus's text format."""
        return PlainTextResponse(metrics.text(), media_type=metrics.media_type)


async def _body(request: Request, most: int) -> bytes:
    """Reads the body of a request; refuses it as soon as it exceeds `most` bytes."""
    content = bytearray()
    if int(request.headers.get("content-length", 0)) <= most:
        try:
            async for chunk in request.stream():
                content += chunk
                if len(content) > most:
                    break
            else:
                return bytes(content)
        except ClientDisconnect:
            raise HTTPException(400, "the connection ended before the whole photograph arrived") from None
    raise HTTPException(413, f"the file is larger than {most} bytes")
