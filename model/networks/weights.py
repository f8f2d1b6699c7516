"""Pretrained weights, read from a path or from a URL with its SHA-256."""

import hashlib
import io
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import torch
from torch import Tensor

from model.utils.errors import UserError


@dataclass(frozen=True)
class Weights:
    """Stores a state dict and the SHA-256 of its file, which a metric's protocol records."""

    state: Mapping[str, Tensor]
    sha256: str


def load_weights(source: str, key: str, cache: Path) -> Weights:
    """Reads a state dict written by torch.save; accepts nothing but tensors.

    Args:
        source: a path, or https://...#sha256=<64 hex digits>. A URL is downloaded once.
        key: the configuration key that holds `source`, for error messages.
        cache: folder for downloads, named by their SHA-256; created when needed.

    Raises:
        UserError: the file or the checksum is missing, the download fails, the checksum differs, or the file holds no
            state dict.
    """
    path = _download(source, key, cache) if source.startswith(("http://", "https://")) else Path(source).expanduser()
    try:
        content = path.read_bytes()
    except OSError as error:
        advice = "give the path of the weights, or URL#sha256=..., or leave it empty"
        raise UserError(f"{key}: {path} cannot be read ({error.strerror}); {advice}.") from None
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception:  # damaged or hostile bytes make the unpickler raise nearly anything
        raise UserError(f"{key}: {path} is not a file of tensors written by torch.save; fetch it again.") from None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{key}: {path} holds no state dict (names and tensors); fetch it again.")
    return Weights(state, hashlib.sha256(content).hexdigest())


def _download(source: str, key: str, cache: Path) -> Path:
    """Returns the cached file of a URL with checksum, after downloading and checking it if necessary."""
    url, _, expected = source.partition("#sha256=")
    parts = urlsplit(url)
    shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"  # without password and signature
    if len(expected) != 64 or not set(expected.lower()) <= set("0123456789abcdef"):
        raise UserError(f"{key}: {shown} needs its checksum: append #sha256= and the 64 hexadecimal digits.")
    import pooch  # takes 0.1 s

    pooch.get_logger().setLevel(logging.WARNING)  # it logs whole URLs, which may hold passwords
    try:
        return Path(pooch.retrieve(url, expected.lower(), f"{expected.lower()}.pth", cache))
    except OSError as error:  # requests' exceptions, whose messages hold the whole URL, are OSErrors
        raise UserError(
            f"{key}: {shown} cannot be downloaded ({_reason(error)}); try again, or give the path of a file."
        ) from None
    except ValueError as error:
        raise UserError(f"{key}: {shown}: {error}") from None


def _reason(error: BaseException) -> str:
    """Returns the HTTP status or the innermost exception's message."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"{response.status_code} {response.reason}"
    while error.__context__ is not None:
        error = error.__context__
    return str(error)
