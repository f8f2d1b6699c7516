"""Coloring of photographs and folders with one model, for `colorize photo`. A failure does not stop the rest."""

import errno
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from components.shared.machine.progress import progress
from components.shared.photos.folder import printable
from model.data.images import ImageError, Photograph, decode
from model.inference.choices import AUTOMATIC, Choices
from model.inference.colorizer import Colorizer, Pixels
from model.inference.hints import Hint, parse_hints
from model.inference.reference import Reference
from model.inference.saved import load_generator
from model.utils.errors import UserError
from serving.delivery import MARKED, Delivery, model_name
from serving.inputs import Job, find, real
from serving.pictures import PageFiles, Pictures
from serving.record import Record, sha256_of

_GRAY = 2  # mean difference between red, green and blue, out of 255
_THREADS = 4  # decode and encode while the model works
_AHEAD = 2  # photographs decoded in advance
_BEHIND = 2  # colored photographs that wait to be written


class _Read(NamedTuple):
    """Holds what is read of a photograph: its first page, the file's SHA-256, and its hints."""

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
    generator: Callable[[], tuple[Path, int | None]],
    *,
    samples: int = 1,
    choices: Choices = AUTOMATIC,
    like: Path | None = None,
    delivery: Delivery = MARKED,
    overwrite: bool = False,
) -> Outcome:
    """Writes `<name>-colorized.<ext>` below `out` for each photograph and keeps sub-folders.

    Several samples are named `<name>-colorized-1.<ext>`, -2, ... Each picture is written atomically. It has the
    extension of its photograph. If the file has another format than its extension says, or a format with too few
    colors, the right extension is appended: `old.gif-colorized.jpg`. A second call resumes: it keeps every picture
    that the same weights and choices made of the same photograph (`serving.record`).

    Hints are read from `<file name>.hints.json` beside a photograph: `old.jpg.hints.json`. All pages of a TIFF are
    colored, hints for the first one; of an animation, the first frame.

    Args:
        inputs: photographs and folders, as in `serving.inputs.find`.
        out: output folder; created if it is missing. Files in it are never input.
        generator: returns the folder of the generator and the number of its version, None for none; called after the
            first photograph is found.
        samples: number of colorings of each photograph.
        choices: of every photograph; hints come from the file beside it.
        like: a colored photograph of the same roll.
        delivery: mark, opacity and signature of the pictures.
        overwrite: replaces files that were made in another way; without it they stay and count as failures. An input
            photograph is never replaced.

    Raises:
        UserError: an input does not exist, there is nothing to color, `out` is an input folder, or the model does not
            know the label; `like` cannot be read or has no colors, or the model takes no hints, which these become.
            Errors of `generator` are passed on.
    """
    found = find(inputs, out)
    failures = found.failures
    if not found.jobs:
        return Outcome(0, 0, found.passed_by, failures)
    folder, number = generator()
    network, info = load_generator(folder)
    colorizer = Colorizer(network, info.size, "cuda" if torch.cuda.is_available() else "cpu")
    colorizer.check_label(choices.label)
    if like is not None:
        choices = replace(choices, like=_reference(colorizer, like))
    model = model_name(number, info.weights_sha256)
    like_sha256 = sha256_of(like) if like else None
    pictures = Pictures(out, Record(out), info.weights_sha256, model, choices, like_sha256, samples, delivery)
    taken = {real(job.source): f"{job.source} is an input photograph" for job in found.jobs}
    coloring = _Coloring(colorizer, pictures, taken, overwrite)
    with _threads() as pool:
        done = list(pool.map(pictures.exist, found.jobs))
        todo = [job for job, made in zip(found.jobs, done, strict=True) if not made]
        colored = coloring.run(todo, pool, failures)
    return Outcome(colored, sum(done), found.passed_by, [printable(failure) for failure in failures])


def _reference(colorizer: Colorizer, like: Path) -> Reference:
    """Reads a colored photograph for `--like`."""
    photograph = decode(like)
    if np.ptp(photograph.rgb, axis=2).mean() < _GRAY:
        raise UserError(f"--like: {like} has no colors; give a photograph in color, or one that was colored.")
    return colorizer.reference(photograph.rgb)


@dataclass(frozen=True)
class _Coloring:
    """Colors one photograph after the other."""

    colorizer: Colorizer
    pictures: Pictures
    taken: dict[Path, str]
    """Reason why each file may not be written."""
    overwrite: bool

    def run(self, jobs: Sequence[Job], pool: ThreadPoolExecutor, failures: list[str]) -> int:
        """Colors the photographs until the disk is full; returns how many it wrote."""
        colored = 0
        writing: deque[tuple[Job, Future[None]]] = deque()
        try:
            with progress(len(jobs), "color", "photographs") as advance:
                for job, reading in _read_ahead(pool, jobs, self.pictures.delivery.keep_alpha):
                    with _failures_noted(job, failures):
                        writing.append((job, self.begin(job, reading.result(), pool)))
                    advance(1)
                    while len(writing) > _BEHIND:
                        colored += _finish(*writing.popleft(), failures)
                while writing:
                    colored += _finish(*writing.popleft(), failures)
        except _DiskFullError as full:
            colored += sum(written.exception() is None for _, written in writing)
            failures.append(f"{self.pictures.out}: {full}; make room, then run the same command again to resume.")
        return colored

    def begin(self, job: Job, read: _Read, pool: ThreadPoolExecutor) -> Future[None]:
        """Colors a photograph, all pages of a TIFF; a thread of the pool writes its pictures."""
        first = read.photograph
        missing = self.pictures.missing(job, first, read.sha256)
        _require_free(missing, self.taken, self.overwrite)
        self.taken.update({real(picture): f"{picture} is the coloring of {job.source}" for picture in missing})
        if first.pages == 1:
            return pool.submit(self.pictures.write, missing, first, self._colored(first, read.hints))
        files, content = PageFiles(self.pictures), job.source.read_bytes()
        files.add(first, self._colored(first, read.hints))
        for number in range(2, first.pages + 1):
            try:
                page = decode(content, page=number, keep_alpha=self.pictures.delivery.keep_alpha)
            except ImageError as error:
                raise ImageError(str(job.source), f"page {number} of {first.pages}: {error.reason}") from None
            files.add(page, self._colored(page, ()))
        return pool.submit(self.pictures.write_pages, missing, files)

    def _colored(self, page: Photograph, hints: tuple[Hint, ...]) -> Pixels:
        chosen = replace(self.pictures.choices, hints=hints)
        return self.colorizer.colorize(page.pixels, samples=self.pictures.samples, **vars(chosen))


@contextmanager
def _threads() -> Iterator[ThreadPoolExecutor]:
    """Yields a pool of threads. On an early exit it cancels what has not begun and waits for the rest."""
    with ThreadPoolExecutor(_THREADS) as pool:
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)


def _read_ahead(pool: ThreadPoolExecutor, jobs: Sequence[Job], keep_alpha: bool) -> Iterator[tuple[Job, Future[_Read]]]:
    """Yields the jobs in order, each with a future of its photograph."""
    waiting: deque[tuple[Job, Future[_Read]]] = deque()
    for job in jobs:
        waiting.append((job, pool.submit(_read, job, keep_alpha)))
        if len(waiting) > _AHEAD:
            yield waiting.popleft()
    yield from waiting


def _read(job: Job, keep_alpha: bool) -> _Read:
    beside = job.hints
    for file in filter(None, (job.source, beside)):
        if file.exists() and not file.is_file():  # opening a pipe would block forever
            which = "" if file == job.source else f"{file.name}: "
            raise ImageError(str(file), f"{which}not a regular file")
    hints = parse_hints(beside.read_bytes(), beside.name) if beside else ()
    return _Read(decode(job.source, keep_alpha=keep_alpha), sha256_of(job.source), hints)


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
                f"{picture} exists and has another origin (another model, seed, label, strength or reference, or the "
                "photograph, its hints or the picture has changed since); --overwrite replaces it."
            )
