"""Transfer of photographs: bodies that arrive fast enough, answers that are taken, callers that are gone."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from fastapi import HTTPException, Request, Response
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from serving.limits import Limits
from serving.memory import Files, FullError

T = TypeVar("T")

_PIECE = 256 << 10  # bytes of an answer that are handed over at a time


async def receive(request: Request, limits: Limits, files: Files) -> bytes:
    """Returns the body of a request; ends as soon as it is too large, too slow, or without memory.

    Raises:
        HTTPException: 413, 408 or 400.
        FullError, NeedsMoreError: there is no memory for it.
    """
    pieces: list[bytes] = []
    stream = request.stream()
    if int(request.headers.get("content-length", 0)) > limits.bytes:
        raise HTTPException(413, f"the file is larger than {limits.bytes} bytes")
    try:
        async with files.transfer():
            while True:
                async with asyncio.timeout(limits.idle_seconds):
                    enough = files.size + limits.idle_bytes
                    async for piece in stream:
                        files.arrive(len(piece))
                        pieces.append(piece)
                        if files.size > limits.bytes:
                            raise HTTPException(413, f"the file is larger than {limits.bytes} bytes")
                        if files.size >= enough:
                            break
                    else:
                        return b"".join(pieces)
    except TimeoutError:
        slow = f"{limits.idle_bytes} bytes in {limits.idle_seconds:g} seconds"
        raise HTTPException(408, f"the photograph arrives too slowly, with less than {slow}") from None
    except ClientDisconnect:
        raise HTTPException(400, "the connection ended before the whole photograph arrived") from None


async def while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Returns the result of some work, which is cancelled when the caller closes the connection.

    The body of the request must have been read.

    Raises:
        HTTPException: 400, which nobody reads.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise HTTPException(400, "the connection ended before the photograph was colored")
    finally:
        leaving.cancel()
        working.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


class PiecewiseResponse(Response):
    """Sends its content in pieces, each after the one before is taken, so that the call ends with the transfer."""

    def __init__(self, content: bytes, files: Files, **options: Any) -> None:
        """
        Args:
            content: the body.
            files: the account that holds it; when the transfer is ended, so is the connection.
            options: those of `Response`.
        """
        super().__init__(content, **options)
        self._files = files

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        content = memoryview(self.body)
        with suppress(FullError):
            async with self._files.transfer():
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                for start in range(0, len(content), _PIECE):
                    piece = bytes(content[start : start + _PIECE])
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                await send({"type": "http.response.body", "body": b""})
