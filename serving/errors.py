"""Error answers as problem details (RFC 9457, application/problem+json)."""

from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from model.data.images import FormatError, TooLargeError
from model.utils.errors import UserError
from serving.lanes import LateError, NoPlaceError
from serving.memory import FullError, NeedsMoreError
from serving.served_models import NotReadyError, NoVersionError

MEDIA_TYPE = "application/problem+json"
_RETRY = {"Retry-After": "2"}  # seconds
_STATUSES = {
    TooLargeError: 413,
    NeedsMoreError: 413,
    NoPlaceError: 429,
    LateError: 503,
    FullError: 503,
    FormatError: 415,
    NoVersionError: 404,
    NotReadyError: 503,
    UserError: 422,
}
"""Status of each error class; the first match counts."""


class Problem(BaseModel):
    """Describes an error in an answer."""

    title: str
    """Name of the HTTP status."""
    status: int
    detail: str
    """One sentence that says what went wrong."""


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Returns the OpenAPI `responses` of these statuses."""
    content = {MEDIA_TYPE: {"schema": Problem.model_json_schema()}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in statuses}


def install(app: FastAPI) -> None:
    """Makes the app answer every error with problem details."""

    @app.exception_handler(HTTPException)
    async def _refused(request: Request, error: HTTPException) -> JSONResponse:
        return problem(error.status_code, str(error.detail), error.headers or {})

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        found = [f"{'.'.join(map(str, one['loc'][1:]))}: {one['msg']}" for one in error.errors()]
        return problem(422, "; ".join(found))

    @app.exception_handler(UserError)
    async def _mistaken(request: Request, error: UserError) -> JSONResponse:
        status = next(status for kind, status in _STATUSES.items() if isinstance(error, kind))
        return problem(status, getattr(error, "reason", str(error)).rstrip("."))

    @app.exception_handler(MemoryError)
    async def _no_memory(request: Request, error: MemoryError) -> JSONResponse:
        return problem(503, "there is not enough memory to color the photograph now; try again later")

    @app.exception_handler(Exception)
    async def _bug(request: Request, error: Exception) -> JSONResponse:
        return problem(500, "internal error; the server's log has the details")


def problem(status: int, detail: str, headers: Mapping[str, str] = MappingProxyType({})) -> JSONResponse:
    """Returns an error answer; one that may be tried again says when."""
    content = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail).model_dump()
    return JSONResponse(content, status, {**headers, **(_RETRY if status in (429, 503) else {})}, MEDIA_TYPE)
