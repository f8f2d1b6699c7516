"""`colorize data fetch`: brings the catalog's photographs from their own addresses into the folder of photographs."""

import hashlib
import io
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue

from PIL import Image

from components.shared.machine.progress import progress
from components.shared.photos.folder import digest
from model.data.images import ImageError, decode
from model.utils.errors import UserError
from model.utils.files import write_aside
from pipeline.data.catalog import Entry, read_results, write_absent, write_sources
from pipeline.data.download import Downloads, Gone, Unavailable

_LONGER_SIDE, _QUALITY = 448, 90


@dataclass
class Fetched:
    """Holds the outcome: files of the catalog by what became of them.

    Attributes:
        there: SHA-256 of each file that was there already.
        new: SHA-256 of each file that was brought.
        gone: reason for each file that no address has.
        unavailable: reason for each file that may be there, but could not be brought now.
        dropped: number of strays, which are left out.
    """

    there: dict[str, str] = field(default_factory=dict)
    new: dict[str, str] = field(default_factory=dict)
    gone: dict[str, str] = field(default_factory=dict)
    unavailable: dict[str, str] = field(default_factory=dict)
    dropped: int = 0


def fetch(
    catalog: Sequence[Entry],
    strays: Mapping[str, str],
    photos: Path,
    downloads: Downloads,
    at_once: int,
    say: Callable[[str], None],
) -> Fetched:
    """Brings the photographs that are missing, and writes SOURCES.csv and ABSENT.csv.

    A file appears whole or not at all. An interrupted call leaves what it brought, with both tables; the next one goes
    on from there.

    Args:
        catalog: all entries.
        strays: reasons to leave entries out, by the SHA-256 of the file.
        photos: folder of photographs.
        downloads: brings the originals.
        at_once: number of photographs in work at the same time.
        say: takes a sentence for each photograph that is not brought.

    Raises:
        UserError: the folder cannot be read or written.
    """
    found = Fetched()
    before = read_results(photos)
    missing: list[Entry] = []
    for entry in catalog:
        sha256 = digest(photos / entry.file)
        if entry.sha256 in strays:
            found.dropped += 1
            if sha256 == entry.sha256:
                (photos / entry.file).unlink()
        elif sha256 and sha256 in (entry.sha256, before.get((entry.file, entry.sha256_original))):
            found.there[entry.file] = sha256
        else:
            missing.append(entry)
    try:
        _bring(missing, photos, downloads, at_once, found, say)
    finally:
        write_sources(photos, catalog, found.there | found.new)
        lacking = (entry.file for entry in missing if entry.file not in found.new)
        write_absent(photos, {file: found.gone.get(file, "not brought yet") for file in lacking})
    return found


def _bring(
    missing: Sequence[Entry],
    photos: Path,
    downloads: Downloads,
    at_once: int,
    found: Fetched,
    say: Callable[[str], None],
) -> None:
    jobs: SimpleQueue[Entry] = SimpleQueue()
    results: SimpleQueue[tuple[Entry, str | Exception]] = SimpleQueue()

    def work() -> None:
        with suppress(Empty):
            while True:
                entry = jobs.get_nowait()
                try:
                    results.put((entry, _one(entry, photos, downloads)))
                except Exception as error:  # raised where the results are read
                    results.put((entry, error))

    for entry in missing:
        jobs.put(entry)
    for _ in range(min(at_once, len(missing))):  # daemons: an interrupted command need not wait for silent servers
        threading.Thread(target=work, daemon=True).start()
    try:
        with progress(len(missing), "fetch", "photographs") as advance:
            for _ in missing:
                entry, result = results.get()
                path = photos / entry.file
                if isinstance(result, str):
                    found.new[entry.file] = result
                elif isinstance(result, Gone):
                    found.gone[entry.file] = "gone"
                    say(f"{path} is gone: {result}.")
                elif isinstance(result, Unavailable):
                    found.unavailable[entry.file] = str(result)
                    say(f"{path} could not be brought: {result}.")
                else:
                    raise result
                advance(1)
    finally:
        downloads.stop()


def _one(entry: Entry, photos: Path, downloads: Downloads) -> str:
    """Writes one photograph; returns its SHA-256."""
    original = downloads.fetch(asdict(entry), entry.sha256_original)
    try:
        content = derived(original)
    except ImageError as error:  # its bytes are right: this Pillow cannot read what another one could
        raise Gone(f"its original cannot be decoded here ({error.reason})") from None
    path = photos / entry.file
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_aside(path, content)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}.") from None
    return hashlib.sha256(content).hexdigest()


def derived(original: bytes) -> bytes:
    """Returns the JPEG that the catalog makes of an original: upright, sRGB, longer side at most 448, no metadata.

    Raises:
        ImageError: the original cannot be decoded.
    """
    image = decode(original).image
    scale = min(1.0, _LONGER_SIDE / max(image.size))
    if scale < 1:
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        image = image.resize(size, Image.Resampling.LANCZOS)
    content = io.BytesIO()
    image.save(content, "JPEG", quality=_QUALITY)
    return content.getvalue()
