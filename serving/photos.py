"""Coloring of photographs and folders with one model, for `colorize photo`. A failure does not stop the rest."""

import errno
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image

from components.shared.machine.progress import progress
from components.shared.photos.folder import printable
from model.data.encoding import encode
from model.data.images import ImageError, Photograph, decode
from model.inference.choices import AUTOMATIC, Choices
from model.inference.colorizer import Colorizer, Pixels
from model.inference.hints import Hint, parse_hints
from model.inference.saved import load_generator
from model.utils.errors import UserError
from serving.inputs import Job, find, real
from serving.record import Origin, Record, sha256_of

_THREADS = 4  # decode and encode while the model works
_AHEAD = 2  # photographs decoded in advance
_BEHIND = 2  # colored photographs that wait to be written


class _Read(NamedTuple):
    """Holds what is read of a photograph: its file, the file's SHA-256, and its hints."""

    photograph: Photograph
    sha256: str
    hints: tuple[Hint, ...]


class _DiskFullError(Exception):
    """Reports that no picture fits any more."""


@dataclass(frozen=True)
class Outcome:
    """Holds the result of a call of `color_photographs`."""

    colored: int
    already_colored: int
    """Photographs whose pictures an earlier call wrote."""
    passed_by: list[str]
    """One sentence for each file in a folder that is not a photograph to color."""
    failures: list[str]
    """One sentence for each photograph that failed, each folder that cannot be read, and a full disk."""


def color_photographs(
    inputs: Sequence[Path],
    out: Path,
    generator: Callable[[], Path],
    *,
    samples: int = 1,
    choices: Choices = AUTOMATIC,
    overwrite: bool = False,
) -> Outcome:
    """Writes `<name>-colorized.<ext>` below `out` for each photograph and keeps sub-folders.

    Several samples are named `<name>-colorized-1.<ext>`, -2, ... Each picture is written atomically. It has the
    extension of its photograph. If the file has another format than its extension says, or a format with too few
    colors, the right extension is appended: `old.gif-colorized.jpg`. A second call resumes: it keeps every picture
    that the same weights and choices made of the same photograph (`serving.record`).

    Hints are read from `<file name>.hints.json` beside a photograph: `old.jpg.hints.json`.

    Args:
        inputs: photographs and folders, as in `serving.inputs.find`.
        out: output folder; created if it is missing. Files in it are never input.
        generator: returns the folder of the generator; called after the first photograph is found.
        samples: number of colorings of each photograph.
        choices: of every photograph; hints come from the file beside it.
        overwrite: replaces files that were made in another way; without it they stay and count as failures. An input
            photograph is never replaced.

    Raises:
        UserError: an input does not exist, there is nothing to color, `out` is an input folder, or the model does not
            know the label. Errors of `generator` are passed on.
    """
    found = find(inputs, out)
    failures = found.failures
    if not found.jobs:
        return Outcome(0, 0, found.passed_by, failures)
    network, info = load_generator(generator())
    colorizer = Colorizer(network, info.size, "cuda" if torch.cuda.is_available() else "cpu")
    colorizer.check_label(choices.label)
    pictures = _Pictures(out, Record(out), info.weights_sha256, choices, samples)
    taken = {real(job.source): f"{job.source} is an input photograph" for job in found.jobs}
    colored = 0
    with _threads() as pool:
        done = list(pool.map(pictures.exist, found.jobs))
        todo = [job for job, made in zip(found.jobs, done, strict=True) if not made]
        writing: deque[tuple[Job, Future[None]]] = deque()
        try:
            with progress(len(todo), "color", "photographs") as advance:
                for job, reading in _read_ahead(pool, todo):
                    with _failures_noted(job, failures):
                        photograph, sha256, hints = reading.result()
                        missing = pictures.missing(job, photograph, sha256)
                        _require_free(missing, taken, overwrite)
                        taken |= {real(picture): f"{picture} is the coloring of {job.source}" for picture in missing}
                        chosen = replace(choices, hints=hints)
                        made = colorizer.colorize(photograph.pixels, samples=samples, **vars(chosen))
                        writing.append((job, pool.submit(pictures.write, missing, photograph, made)))
                    advance(1)
                    while len(writing) > _BEHIND:
                        colored += _finish(*writing.popleft(), failures)
                while writing:
                    colored += _finish(*writing.popleft(), failures)
        except _DiskFullError as full:
            colored += sum(written.exception() is None for _, written in writing)
            failures.append(f"{out}: {full}; make room, then run the same command again to resume.")
    return Outcome(colored, sum(done), found.passed_by, [printable(failure) for failure in failures])


@dataclass(frozen=True)
class _Pictures:
    """Names the pictures to write and finds those that exist."""

    out: Path
    record: Record
    weights_sha256: str
    choices: Choices
    samples: int

    def exist(self, job: Job) -> bool:
        """Returns whether every picture of a photograph exists, made of its present content."""
        if not self.record.knows(str(job.place)):
            return False
        try:
            return all(map(self.record.find, self._origins(job, sha256_of(job.source))))
        except OSError:  # coloring reads the file again and reports the reason
            return False

    def missing(self, job: Job, photograph: Photograph, sha256: str) -> dict[Path, Origin]:
        """Returns the missing pictures of a photograph: the file to write and its origin.

        A picture has the suffix of its photograph, or the right one appended if that suffix names another format.
        """
        formats = Image.registered_extensions()
        stem, suffix = job.source.stem, job.source.suffix
        if formats.get(suffix.lower()) != formats[photograph.suffix]:
            stem, suffix = job.source.name, photograph.suffix
        folder, found = self.out / job.place.parent, {}
        for origin in self._origins(job, sha256):
            number = "" if origin.number is None else f"-{origin.number}"
            found[folder / f"{stem}-colorized{number}{suffix}"] = origin
        return {picture: origin for picture, origin in found.items() if self.record.find(origin) != picture}

    def write(self, missing: dict[Path, Origin], photograph: Photograph, colored: Pixels) -> None:
        for picture, origin in missing.items():
            self.record.write(picture, encode(colored[(origin.number or 1) - 1], photograph), origin)

    def _origins(self, job: Job, sha256: str) -> list[Origin]:
        numbers = range(1, self.samples + 1) if self.samples > 1 else (None,)
        facts = str(job.place), sha256, self.weights_sha256, self.choices.seed, self.choices.label
        rest = self.choices.strength, sha256_of(job.hints) if job.hints else None
        return [Origin(*facts, number, *rest) for number in numbers]


@contextmanager
def _threads() -> Iterator[ThreadPoolExecutor]:
    """Yields a pool of threads. On an early exit it cancels what has not begun and waits for the rest."""
    with ThreadPoolExecutor(_THREADS) as pool:
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)


def _read_ahead(pool: ThreadPoolExecutor, jobs: Sequence[Job]) -> Iterator[tuple[Job, Future[_Read]]]:
    """Yields the jobs in order, each with a future of its photograph."""
    waiting: deque[tuple[Job, Future[_Read]]] = deque()
    for job in jobs:
        waiting.append((job, pool.submit(_read, job)))
        if len(waiting) > _AHEAD:
            yield waiting.popleft()
    yield from waiting


def _read(job: Job) -> _Read:
    beside = job.hints
    for file in filter(None, (job.source, beside)):
        if file.exists() and not file.is_file():  # opening a pipe would block forever
            raise ImageError(str(file), "not a regular file")
    hints = parse_hints(beside.read_bytes(), beside.name) if beside else ()
    return _Read(decode(job.source), sha256_of(job.source), hints)


@contextmanager
def _failures_noted(job: Job, failures: list[str]) -> Iterator[None]:
    """Turns an error of one photograph into a sentence in `failures`; a full disk raises _DiskFullError."""
    try:
        yield
    except ImageError as error:
        failures.append(f"{job.source}: {error.reason}.")
    except UserError as error:
        failures.append(f"{job.source}: {error}")
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _DiskFullError(error.strerror) from error
        failures.append(f"{job.source}: {error.strerror or error}.")
    except (MemoryError, torch.OutOfMemoryError):
        failures.append(f"{job.source}: not enough memory to color it.")


def _finish(job: Job, written: Future[None], failures: list[str]) -> bool:
    """Waits for a photograph's pictures; returns whether they are written."""
    with _failures_noted(job, failures):
        written.result()
        return True
    return False


def _require_free(pictures: Iterable[Path], taken: dict[Path, str], overwrite: bool) -> None:
    """Raises UserError if a file to write is a photograph, a picture of another one, or of unknown origin."""
    for picture in pictures:
        if (why := taken.get(real(picture))) is not None:
            raise UserError(f"not written, since {why}; choose another folder for --out.")
        if picture.exists() and not overwrite:
            raise UserError(
                f"{picture} exists and has another origin (another model, seed, label or strength, or the photograph, "
                "its hints or the picture has changed since); --overwrite replaces it."
            )
