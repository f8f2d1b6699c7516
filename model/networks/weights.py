"""Pretrained weights: from a path, or from a URL with its SHA-256. Never from elsewhere."""

import hashlib
import io
import shutil
import tempfile
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlsplit

import torch
from torch import Tensor

from model.utils.errors import UserError

_SECONDS = 60  # without a byte from the server


@dataclass(frozen=True)
class Weights:
    """A state dict and the SHA-256 of the file it came from, which goes into a figure's protocol."""

    state: Mapping[str, Tensor]
    sha256: str


def load_weights(source: str, key: str, cache: Path) -> Weights:
    """Reads a state dict that torch.save wrote; nothing but tensors is accepted from it.

    Args:
        source: a path, or https://...#sha256=<64 hex digits>. A URL is downloaded once.
        key: the configuration key that holds `source`, for error messages.
        cache: folder for downloads, named by their SHA-256; made when needed.

    Raises:
        UserError: no such file; no checksum; the server is away or refuses; the checksum differs; no state dict.
    """
    path = _download(source, key, cache) if source.startswith(("http://", "https://")) else Path(source).expanduser()
    try:
        content = path.read_bytes()
    except OSError as error:
        advice = "give the path of the weights, or URL#sha256=..., or leave it empty"
        raise UserError(f"{key}: {path} cannot be read ({error.strerror}); {advice}.") from None
    return Weights(_state_dict(content, path, key), hashlib.sha256(content).hexdigest())


def _state_dict(content: bytes, path: Path, key: str) -> Mapping[str, Tensor]:
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception:  # a stranger's bytes: the unpickler stumbles over them in many ways
        raise UserError(f"{key}: {path} is no file of tensors that torch.save wrote; fetch it again.") from None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{key}: {path} holds no state dict (names and tensors); fetch it again.")
    return state


def _download(source: str, key: str, cache: Path) -> Path:
    """The cached file of a URL with checksum, downloaded aside, checked and renamed unless it is there already."""
    url, _, expected = source.partition("#sha256=")
    expected = expected.lower()
    parts = urlsplit(url)
    shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"  # no password, no signature
    if len(expected) != 64 or not set(expected) <= set("0123456789abcdef"):
        raise UserError(f"{key}: {shown} needs its checksum: append #sha256= and the 64 hexadecimal digits.")
    path = cache / f"{expected}.pth"
    if path.is_file() and _sha256(path) == expected:
        return path
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with (
            tempfile.TemporaryDirectory(dir=cache, prefix=".partial-") as aside,
            urllib.request.urlopen(url, timeout=_SECONDS) as response,
        ):
            partial = Path(aside) / path.name
            with partial.open("wb") as file:
                shutil.copyfileobj(response, file)
            if (found := _sha256(partial)) != expected:
                raise UserError(f"{key}: {shown} has SHA-256 {found}, not {expected}; correct one of the two.")
            partial.replace(path)
    except (OSError, HTTPException) as error:  # URLError and HTTPError are OSErrors
        reason = error.reason if type(error) is URLError else error
        raise UserError(
            f"{key}: {shown} cannot be downloaded ({reason}); try again, or give the path of a file."
        ) from None
    return path


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
