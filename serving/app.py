"""The champion over HTTP: the page, POST /v1/colorize, /healthz, /readyz, /metrics and /openapi.json.

Photographs live in memory for as long as they are being colored. They are never written to a file or to the log.
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

from serving import errors as problems
from serving.metrics import Measured, Metrics
from serving.served_models import Aliases
from serving.worker import TYPES, ZIP, Coloring, Limits

PAGE = Path(__file__).parent / "page"
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_BODY = {"required": True, "content": dict.fromkeys((*TYPES, "application/octet-stream"), _BINARY)}
_COLORED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The photograph in color, in its own format (a GIF: JPEG); several samples: a ZIP of them.",
        "content": dict.fromkeys((*sorted(set(TYPES.values())), ZIP), _BINARY),
    }
}
_MEASURED = ("/", "/v1/colorize", "/healthz", "/readyz", "/metrics", "/openapi.json")
# What the page may do: its own scripts, pictures that it holds in memory, and the slider's style element.
_POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; style-src 'self' 'unsafe-inline'; "
    "frame-ancestors 'none'; form-action 'none'; base-uri 'none'"
)


def create_app(aliases: Aliases, limits: Limits) -> FastAPI:
    """The server's application; starting it starts `aliases` and the threads that color."""
    metrics = Metrics(aliases)
    coloring = Coloring(limits, metrics.batch.observe)
    places = asyncio.Semaphore(limits.at_once)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with coloring, aliases:
            yield

    app = FastAPI(
        title="colorize",
        version="1",
        description="Colors black-and-white photographs with the model in service.",
        docs_url=None,  # its page would fetch scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )
    problems.install(app)

    @app.post(
        "/v1/colorize",
        response_class=Response,
        responses=_COLORED | problems.documented(404, 408, 413, 415, 422, 429, 500, 503),
        openapi_extra={"requestBody": _BODY},
    )
    async def colorize(
        request: Request,
        samples: Annotated[int, Query(ge=1, le=limits.samples, description="Colorings of the photograph.")] = 1,
        seed: Annotated[int, Query(ge=0, lt=1 << 63, description="The same seed gives the same colorings.")] = 0,
        model: Annotated[Literal["champion", "challenger", "previous"], Query(description="Alias.")] = "champion",
        label: Annotated[str | None, Query(description="What it shows, for a model trained with labels.")] = None,
    ) -> Response:
        """Colors the photograph that is the request's body: JPEG, PNG, WebP, TIFF, BMP or GIF."""
        if places.locked():
            raise HTTPException(429, f"{limits.at_once} photographs are being worked on or wait; try again soon")
        content = None
        try:
            async with places, asyncio.timeout(limits.seconds):
                with metrics.in_progress.track_inprogress():
                    content = await _body(request, limits.bytes)
                    served = await aliases.get(model)
                    colored, kind = await coloring.color(served.colorizer, content, samples, seed, label)
        except TimeoutError:
            waited = f"after {limits.seconds:g} seconds"
            if content is None:
                raise HTTPException(408, f"the photograph had not arrived {waited}") from None
            raise HTTPException(503, f"the photograph was not colored {waited}; try again later") from None
        return Response(
            colored, media_type=kind, headers={"Cache-Control": "no-store", "Model-Version": str(served.number)}
        )

    @app.get("/healthz", response_class=PlainTextResponse, responses=problems.documented(503))
    async def healthz() -> str:
        """Whether the process does its work."""
        if not coloring.alive:
            raise HTTPException(503, "the network's thread has ended")
        return "ok"

    @app.get("/readyz", response_class=PlainTextResponse, responses=problems.documented(503))
    async def readyz() -> str:
        """Whether a photograph would be colored."""
        return f"champion is version {(await aliases.get('champion')).number}"

    @app.get("/metrics", response_class=PlainTextResponse)
    async def prometheus() -> PlainTextResponse:
        """Requests, seconds, batches, versions, memory: Prometheus's text format."""
        return PlainTextResponse(metrics.text(), media_type=metrics.media_type)

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(PAGE / "index.html", headers={"Content-Security-Policy": _POLICY})

    app.mount("/page", StaticFiles(directory=PAGE))
    app.add_middleware(Measured, metrics=metrics, paths=_MEASURED)
    return app


async def _body(request: Request, most: int) -> bytes:
    """The request's body, refused as soon as it is known to be longer than `most` bytes."""
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
            raise HTTPException(400, "the photograph broke off") from None
    raise HTTPException(413, f"the file is larger than {most} bytes")
