"""Errors of DVC, S3 and the disk as one sentence that a user can act on."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from model.utils.errors import UserError


@contextmanager
def explained(url: str = "", absence: Callable[[], str] | None = None) -> Iterator[None]:
    """Turns exceptions of the block into a UserError and hides DVC's own messages.

    Args:
        url: name of the remote in the sentence.
        absence: finds out what the remote lacks; called when an object was not found.
    """
    with _causes() as causes:
        try:
            yield
        except UserError:
            raise
        except Exception as error:
            for cause in (*causes, error):
                sentence = _sentence(cause, url, absence)
                if sentence:
                    raise UserError(sentence) from None
            raise


@contextmanager
def _causes() -> Iterator[list[BaseException]]:
    """Collects the exceptions that DVC logs: it logs the cause of a failed transfer and raises only a count."""
    causes: list[BaseException] = []

    class Gather(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.exc_info and record.exc_info[1]:
                causes.append(record.exc_info[1])

    loggers = [logging.getLogger(name) for name in ("dvc", "dvc_data", "dvc_objects")]
    before = [(logger.handlers, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.handlers, logger.propagate = [Gather(logging.ERROR)], False
    try:
        yield causes
    finally:
        for logger, (handlers, propagate) in zip(loggers, before, strict=True):
            logger.handlers, logger.propagate = handlers, propagate


def _sentence(error: BaseException, url: str, absence: Callable[[], str] | None) -> str:
    """Returns the sentence for a known error, empty for any other."""
    from botocore.exceptions import (
        ClientError,
        ConnectionError,
        HTTPClientError,
        NoCredentialsError,
        PartialCredentialsError,
    )
    from dvc.exceptions import CheckoutError, DvcException
    from dvc.lock import LockError

    chain = list(_chain(error))

    def has(*kinds: type[BaseException]) -> BaseException | None:
        return next((link for link in chain if isinstance(link, kinds)), None)

    if has(NoCredentialsError, PartialCredentialsError):
        return f"{url}: no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment."
    if has(FileNotFoundError, CheckoutError) and absence:
        return absence()
    if answer := has(ClientError):
        assert isinstance(answer, ClientError)
        if answer.response.get("ResponseMetadata", {}).get("HTTPStatusCode") in (401, 403):
            return (
                f"{url}: access refused; check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
                "and that this key may list, read and write the bucket."
            )
        return f"{url}: the server refused: {_line(answer)}."
    if has(ConnectionError, HTTPClientError):
        return f"{url}: it cannot be reached; check the network, that the server runs, and the remote's endpointurl."
    if has(LockError):
        return "Another DVC command is at work in this clone; wait for it to end."
    if known := has(DvcException, OSError):
        if "unsaved files" in str(known):
            return (
                "data/ has changes that would be lost; record them (`dvc add data`) "
                "or give them up (`dvc checkout --force data`)."
            )
        return f"{url + ': ' if url else ''}{_line(known)}."
    return ""


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()).rstrip(".")
