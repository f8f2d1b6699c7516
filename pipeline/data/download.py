"""Downloads of files whose SHA-256 is known, from servers that stall, truncate, refuse or ask to wait."""

import hashlib
import random
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from string import Formatter
from urllib.parse import quote, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError

from model.utils.errors import UserError

ADDRESSES = ("https://raw.githubusercontent.com/{repository}/{commit}/{path}",)
"""Templates of the addresses of a file, in the order in which they are tried."""

FIELDS = ("repository", "commit", "path", "sha256_original")
"""Fields that a template may name."""

_MAX_BYTES = 128 << 20
_CHUNK = 1 << 16
_LATER = (408, 425, 429, 500, 502, 503, 504)
_GONE = (404, 410, 451)


class Gone(Exception):  # noqa: N818 - a state of the file, not of this program
    """Reports a file that no address has; the text says what they answered."""


class Unavailable(Exception):  # noqa: N818 - as above
    """Reports a file that may be there, but could not be brought now."""


@dataclass(frozen=True)
class Patience:
    """Holds how long a download is tried. All times are seconds.

    Attributes:
        attempts: requests for a file at one address.
        pause: before the second attempt; doubled before each further one, at most `longest`.
        longest: pause that is waited for, also if the server asks for it.
        silence: time that a server may send nothing.
        whole: time for one file.
        failures: files in a row that a host fails to send before it is given up.
    """

    attempts: int = 5
    pause: float = 1.0
    longest: float = 120.0
    silence: float = 30.0
    whole: float = 600.0
    failures: int = 10


@dataclass
class _Host:
    """Holds what all downloads know about a server."""

    free_from: float = 0.0
    """Time before which it wants no request."""
    failures: int = 0


class Downloads:
    """Downloads files from several threads at once.

    Proxies come from HTTPS_PROXY, HTTP_PROXY and NO_PROXY, another CA bundle from REQUESTS_CA_BUNDLE, credentials from
    ~/.netrc.

    Args:
        addresses: templates with the fields {repository}, {commit}, {path}, {sha256_original}.
        connections: most connections to one host.
        patience: how long to try.

    Raises:
        UserError: a template is none.
    """

    def __init__(self, addresses: Sequence[str] = ADDRESSES, connections: int = 6, patience: Patience | None = None):
        self._addresses, self._patience = [_checked(address) for address in addresses], patience or Patience()
        self._session = requests.Session()
        self._session.headers.update({"User-Agent": "colorize", "Accept-Encoding": "identity"})
        for scheme in ("http://", "https://"):  # a request that finds no free connection to its host waits for one
            self._session.mount(scheme, HTTPAdapter(pool_maxsize=connections, pool_block=True))
        self._hosts: dict[str, _Host] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Ends all downloads and pauses soon; each raises Unavailable."""
        self._stopped.set()

    def fetch(self, names: Mapping[str, str], sha256: str) -> bytes:
        """Returns the content of a file.

        Args:
            names: values of the fields.
            sha256: of the content; any other content counts as none.

        Raises:
            Gone: no address has it.
            Unavailable: one that may have it gave no answer, refused, or asked to wait too long.
        """
        gone: list[str] = []
        unavailable: list[str] = []
        for template in self._addresses:
            url = template.format_map({name: quote(names[name], safe="/") for name in FIELDS})
            try:
                return self._from(url, sha256)
            except Gone as error:
                gone.append(f"{url}: {error}")
            except Unavailable as error:
                unavailable.append(f"{url}: {error}")
        raise Unavailable("; ".join(unavailable)) if unavailable else Gone("; ".join(gone))

    def _from(self, url: str, sha256: str) -> bytes:
        with self._lock:
            host = self._hosts.setdefault(urlsplit(url).netloc, _Host())
        trouble: Exception
        for attempt in range(self._patience.attempts):
            if host.failures >= self._patience.failures:
                raise Unavailable("it is not tried, because many other files of this host could not be brought")
            self._pause(self._backoff(attempt))
            self._pause(host.free_from - time.monotonic())
            try:
                content = self._answered(url, host)
                if hashlib.sha256(content).hexdigest() == sha256:
                    return content
                trouble = Gone("it sends other bytes: their SHA-256 is not the catalog's")
            except Unavailable as error:
                trouble = error
        if isinstance(trouble, Unavailable):
            with self._lock:
                host.failures += 1
        raise trouble

    def _answered(self, url: str, host: _Host) -> bytes:
        """Sends one request; returns the body."""
        silence = self._patience.silence
        try:
            with self._session.get(url, stream=True, timeout=(silence, silence)) as answer:
                if answer.status_code in _GONE:
                    host.failures = 0
                    raise Gone(f"it answers {answer.status_code}")
                if answer.status_code in _LATER:
                    wait = _asked_to_wait(answer)
                    if wait > self._patience.longest:
                        raise Unavailable(f"it answers {answer.status_code} and asks to wait {wait:.0f} seconds")
                    with self._lock:  # for all downloads
                        host.free_from = max(host.free_from, time.monotonic() + wait)
                    raise Unavailable(f"it answers {answer.status_code}")
                if answer.status_code != 200:
                    raise Unavailable(f"it answers {answer.status_code}")
                content = self._body(answer)
                host.failures = 0
                return content
        except requests.exceptions.ProxyError as error:
            raise Unavailable(f"the proxy fails ({_line(error)}); check HTTPS_PROXY") from None
        except requests.exceptions.SSLError as error:
            raise Unavailable(f"its certificate is not trusted ({_line(error)}); set REQUESTS_CA_BUNDLE") from None
        except (requests.RequestException, HTTPError, OSError) as error:
            raise Unavailable(f"it cannot be read ({_line(error)})") from None

    def _body(self, answer: requests.Response) -> bytes:
        """Reads what has come, again and again: a whole block may take for ever if the server sends byte by byte."""
        content = bytearray()
        ends = time.monotonic() + self._patience.whole
        while chunk := answer.raw.read1(_CHUNK, decode_content=True):
            content += chunk
            if len(content) > _MAX_BYTES:
                raise Gone(f"it sends more than {_MAX_BYTES} bytes")
            if time.monotonic() > ends:
                raise Unavailable(f"it sends {len(content)} bytes in {self._patience.whole:.0f} seconds and no end")
            self._pause(0)
        return bytes(content)

    def _backoff(self, attempt: int) -> float:
        """Returns the pause before an attempt: none before the first; drawn, so that threads do not come together."""
        longest = min(self._patience.pause * 2 ** (attempt - 1), self._patience.longest) if attempt else 0.0
        return longest * (0.5 + random.random() / 2)

    def _pause(self, seconds: float) -> None:
        if self._stopped.wait(max(seconds, 0)):
            raise Unavailable("it was stopped")


def _checked(template: str) -> str:
    try:
        names = {name for _, name, _, _ in Formatter().parse(template) if name is not None}
    except ValueError as error:
        raise UserError(f"{template} is no template of an address: {error}.") from None
    if urlsplit(template).scheme not in ("http", "https") or not names or not names <= set(FIELDS):
        allowed = ", ".join(f"{{{name}}}" for name in FIELDS)
        raise UserError(f"{template} is no template of an address; give http(s)://... with {allowed}.")
    return template


def _asked_to_wait(answer: requests.Response) -> float:
    """Returns the seconds that Retry-After asks for, as a number or a date; 0 without it."""
    asked = answer.headers.get("Retry-After", "")
    if asked.strip().isdecimal():
        return float(asked)
    try:
        return max(0.0, parsedate_to_datetime(asked).timestamp() - time.time())
    except (ValueError, TypeError):
        return 0.0


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()).rstrip(".")
