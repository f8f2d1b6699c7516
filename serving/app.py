"""HTTP application of the champion: the page, POST /v1/colorize, /healthz, /readyz, /metrics and /openapi.json.

A photograph stays in memory while it is colored. The server never writes it to a file or to the log.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import FileResponse, PlainTextResponse
from fastapi.staticfiles import StaticFiles
from pydantic import StringConstraints

from model.data.images import Photograph, decode
from model.inference.choices import STRONGEST, Choices
from model.inference.hints import parse_hints
from serving import errors
from serving.delivery import MARKED, Delivery, model_name
from serving.guard import Guard
from serving.limits import Limits
from serving.memory import Files, Memory, available
from serving.metrics import Metrics, RequestMetrics
from serving.progress import Progress, State
from serving.served_models import ServedModels
from serving.transfer import PiecewiseResponse, receive, while_connected
from serving.worker import TYPES, ZIP, ColoringPool

PAGE = Path(__file__).parent / "page"
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_BODY = {"required": True, "content": dict.fromkeys((*TYPES, "application/octet-stream"), _BINARY)}
_COLORED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The photograph in color, in its own format (a GIF becomes a JPEG); a ZIP of several samples.",
        "content": dict.fromkeys((*sorted(set(TYPES.values())), ZIP), _BINARY),
    }
}
_PREVIEW: dict[int | str, dict[str, Any]] = {
    200: {"description": "The photograph as a JPEG.", "content": {"image/jpeg": _BINARY}}
}
_HINTS = 16_384  # characters; the whole head of a request may have 64 KiB
_HINT = '[{"color": "#2a4b8d", "points": [[0.4, 0.6]]}]'
_WATCH = r"^[\w-]{8,64}$"
_MEASURED = ("/", "/v1/colorize", "/v1/preview", "/healthz", "/readyz", "/metrics", "/openapi.json")
# The page may load its own scripts and pictures that it holds in memory, and set the styles of its elements.
_POLICY = "default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'; form-action 'none'; base-uri 'none'"


def create_app(
    models: ServedModels, limits: Limits, names: Collection[str] = (), delivery: Delivery = MARKED
) -> FastAPI:
    """Builds the application of the server; its start also starts `models` and the coloring threads.

    Args:
        models: models to serve.
        limits: limits of requests.
        names: names under which browsers and proxies reach the server, as in `Guard`.
        delivery: mark and signature of the answers.
    """
    metrics = Metrics(models)
    memory = Memory(limits.memory or available(), limits.enforced)
    pool = ColoringPool(limits, memory, metrics.batch.observe)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with models:
            pool.__enter__()
            try:
                yield
            finally:
                await asyncio.to_thread(pool.__exit__)  # requests that were cancelled answer meanwhile

    app = FastAPI(
        title="colorize",
        version="1",
        description="Colors black-and-white photographs with the model in service.",
        docs_url=None,  # its page would fetch scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )
    errors.install(app)
    _add_coloring(app, models, limits, metrics, pool, memory, delivery)
    _add_preview(app, models, limits, pool, memory)
    _add_status(app, models, metrics, pool)

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(PAGE / "index.html", headers={"Content-Security-Policy": _POLICY})

    app.mount("/page", StaticFiles(directory=PAGE))
    app.add_middleware(Guard, names=names)
    app.add_middleware(RequestMetrics, metrics=metrics, paths=_MEASURED)
    return app


def _add_coloring(
    app: FastAPI,
    models: ServedModels,
    limits: Limits,
    metrics: Metrics,
    pool: ColoringPool,
    memory: Memory,
    delivery: Delivery,
) -> None:
    """Adds POST /v1/colorize and GET /v1/progress/{watch}."""
    progress = Progress()

    @app.post(
        "/v1/colorize",
        response_class=Response,
        responses=_COLORED | errors.documented(400, 404, 408, 413, 415, 422, 429, 500, 503),
        openapi_extra={"requestBody": _BODY},
    )
    async def colorize(
        request: Request,
        files: Annotated[Files, Depends(_account(memory))],
        samples: Annotated[int, Query(ge=1, le=limits.samples, description="Number of colorings, with other z.")] = 1,
        seed: Annotated[int, Query(ge=0, lt=1 << 63, description="The same seed gives the same colorings.")] = 0,
        model: Annotated[Literal["champion", "challenger", "previous"], Query(description="Alias.")] = "champion",
        label: Annotated[str | None, Query(description="Label, for a model trained with labels.")] = None,
        strength: Annotated[float, Query(ge=0, le=STRONGEST, description="Factor of the chroma.")] = 1.0,
        alpha: Annotated[Literal["white", "keep"], Query(description="What becomes of transparent pixels.")] = "white",
        page: Annotated[int, Query(ge=1, description="Page of a TIFF.")] = 1,
        hints: Annotated[str, Query(max_length=_HINTS, description="Colors to use, in JSON.", examples=[_HINT])] = "[]",
        watch: Annotated[str | None, Query(pattern=_WATCH, description="Name for /v1/progress/{watch}.")] = None,
    ) -> Response:
        """Colors the photograph in the body of the request: JPEG, PNG, WebP, TIFF, BMP, GIF, HEIC, AVIF, JPEG 2000."""
        choices = Choices(seed, label, strength, parse_hints(hints, "hints"))
        served = await models.get(model)
        memory.measure()
        headers = {"Model-Version": str(served.number)}
        wanted = replace(delivery, keep_alpha=alpha == "keep")
        write = partial(wanted.file, model=model_name(served.number, served.weights_sha256))

        def read(content: bytes, max_pixels: int) -> Photograph:
            photograph = decode(content, max_pixels=max_pixels, page=page, keep_alpha=wanted.keep_alpha)
            headers["Pages"] = str(photograph.pages)
            return photograph

        with progress.watch(watch) as watched:

            async def work(content: bytes) -> tuple[bytes, str]:
                with metrics.in_progress.track_inprogress():
                    return await pool.color(served.colorizer, content, samples, choices, watched.advance, read, write)

            return await _answer(request, limits, files, work, headers)

    @app.get("/v1/progress/{watch}", responses=errors.documented(404, 422))
    async def where(watch: Annotated[str, StringConstraints(pattern=_WATCH)]) -> State:
        """Tells where a photograph is that was sent with ?watch=: its place in the queue, or the tile at work."""
        if (found := progress.state(watch)) is None:
            raise HTTPException(404, "no photograph of this name is on the server")
        return found


def _add_preview(app: FastAPI, models: ServedModels, limits: Limits, pool: ColoringPool, memory: Memory) -> None:
    """Adds POST /v1/preview."""

    @app.post(
        "/v1/preview",
        response_class=Response,
        responses=_PREVIEW | errors.documented(400, 408, 413, 415, 422, 429, 500, 503),
        openapi_extra={"requestBody": _BODY},
    )
    async def preview(request: Request, files: Annotated[Files, Depends(_account(memory))]) -> Response:
        """Returns the photograph in the body of the request as a JPEG, which every browser shows."""
        await models.get("champion")
        memory.measure()
        return await _answer(request, limits, files, pool.preview, {})


def _account(memory: Memory) -> Callable[[], AsyncIterator[Files]]:
    """Returns a dependency: the account of one request's files, until its answer has been sent."""

    async def account() -> AsyncIterator[Files]:
        with memory.files() as files:
            yield files

    return account


async def _answer(
    request: Request,
    limits: Limits,
    files: Files,
    work: Callable[[bytes], Coroutine[Any, Any, tuple[bytes, str]]],
    headers: dict[str, str],
) -> Response:
    """Returns what `work` makes of the request's body, with its media type."""
    try:
        content = await receive(request, limits, files)
        made, kind = await while_connected(request, work(content))
    except asyncio.CancelledError:
        raise HTTPException(503, "the server ends; try again soon") from None
    files.leave(len(made))
    return PiecewiseResponse(made, files, media_type=kind, headers={"Cache-Control": "no-store", **headers})


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
