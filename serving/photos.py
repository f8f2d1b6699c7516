"""`colorize photo`: colors photographs and folders of them with one model, and goes on past those that it cannot."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from components.shared.machine.progress import progress
from components.shared.photos.listing import SUFFIXES
from model.data.images import ImageError, Photograph, decode, encode
from model.inference.colorizer import Colorizer
from model.inference.saved import load_generator
from model.utils.errors import UserError
from serving.record import Ledger, Origin, sha256_of

_THREADS = 4  # that decode and encode while the model works
_AHEAD = 2  # photographs decoded before their turn
_BEHIND = 2  # colored ones not yet written


@dataclass(frozen=True)
class Job:
    """A photograph to color."""

    source: Path
    place: Path
    """Where it would lie in the folder of pictures, under its own name: album/old.jpg."""


@dataclass(frozen=True)
class Outcome:
    """What became of the photographs."""

    colored: int
    there: int
    """Those whose pictures an earlier call had made."""
    failures: list[str]
    """A sentence for each photograph that could not be colored, and for each folder that could not be read."""


def color_photographs(
    inputs: Sequence[Path],
    out: Path,
    generator: Callable[[], Path],
    *,
    samples: int = 1,
    seed: int = 0,
    label: str | None = None,
    overwrite: bool = False,
) -> Outcome:
    """Writes `<name>-colorized.<ext>` below `out` for each photograph, keeping the sub-folders of the folders given.

    With more samples: `<name>-colorized-1.<ext>`, -2, ... A picture appears whole or not at all. The extension is the
    photograph's own; where the file is of another format than it says, or of one with too few colors, the right one
    follows it: `old.gif-colorized.jpg`. Called again, it goes on where it was cut off: a picture that these weights,
    seed and label made of the photograph as it is now is left (`serving.record`).

    Args:
        inputs: photographs, and folders, whose photographs are found by suffix. Hidden files, and links that lead out
            of the folder, are passed over.
        out: made when missing. What lies in it is not taken for input.
        generator: gives the generator's folder; asked once it is clear that there is something to color.
        samples: colorings of each photograph.
        seed: the same seed gives the same colorings.
        label: what the photographs show, as the model knows it; None for unknown.
        overwrite: replace files that came about in another way; otherwise they are left and reported. A photograph
            that is itself among the inputs is never replaced.

    Raises:
        UserError: there is no such input, nothing to color, `out` is a folder to color, the model does not know the
            label, or what `generator` raises.
    """
    jobs, unread = _jobs(inputs, out)
    network, info = load_generator(generator())
    colorizer = Colorizer(network, info.size, "cuda" if torch.cuda.is_available() else "cpu")
    colorizer.check_label(label)
    pictures = _Pictures(out, Ledger(out), info.weights_sha256, seed, label, samples)
    taken = {job.source.resolve(): f"{job.source} is itself to be colored" for job in jobs}
    failures: list[str] = []
    with _threads() as pool:
        there = list(pool.map(pictures.are_there, jobs))
        todo = [job for job, made in zip(jobs, there, strict=True) if not made]
        writing: deque[tuple[Job, Future[None]]] = deque()
        with progress(len(todo), "color", "photographs") as advance:
            for job, reading in _read_ahead(pool, todo):
                with _noted(job, failures):
                    photograph, sha256 = reading.result()
                    missing = pictures.missing(job, photograph, sha256)
                    _require_free(missing, taken, overwrite)
                    taken |= {picture.resolve(): f"{picture} is made of {job.source}" for picture in missing}
                    colored = colorizer.colorize(photograph.rgb, seed, samples, label)
                    writing.append((job, pool.submit(pictures.write, missing, photograph, colored)))
                advance(1)
                while len(writing) > _BEHIND:
                    _settle(*writing.popleft(), failures)
            for job, written in writing:
                _settle(job, written, failures)
    return Outcome(len(todo) - len(failures), sum(there), [_printable(failure) for failure in unread + failures])


@dataclass(frozen=True)
class _Pictures:
    """The pictures that are asked for."""

    out: Path
    ledger: Ledger
    weights_sha256: str
    seed: int
    label: str | None
    samples: int

    def are_there(self, job: Job) -> bool:
        """Whether all of a photograph's were made before, of what it is now."""
        if not self.ledger.knows(str(job.place)):
            return False
        try:
            return all(map(self.ledger.find, self._origins(job, sha256_of(job.source))))
        except OSError:  # reading it to color it says why
            return False

    def missing(self, job: Job, photograph: Photograph, sha256: str) -> dict[Path, Origin]:
        """Those of a photograph's that are not there, by the file to write: with the suffix the photograph has, or
        after it where it belies what they will hold."""
        formats = Image.registered_extensions()
        stem, suffix = job.source.stem, job.source.suffix
        if formats.get(suffix.lower()) != formats[photograph.suffix]:
            stem, suffix = job.source.name, photograph.suffix
        folder, found = self.out / job.place.parent, {}
        for origin in self._origins(job, sha256):
            number = "" if origin.number is None else f"-{origin.number}"
            found[folder / f"{stem}-colorized{number}{suffix}"] = origin
        return {picture: origin for picture, origin in found.items() if self.ledger.find(origin) != picture}

    def write(self, missing: dict[Path, Origin], photograph: Photograph, colored: NDArray[np.uint8]) -> None:
        for picture, origin in missing.items():
            self.ledger.write(picture, encode(colored[(origin.number or 1) - 1], photograph), origin)

    def _origins(self, job: Job, sha256: str) -> list[Origin]:
        numbers = range(1, self.samples + 1) if self.samples > 1 else (None,)
        facts = str(job.place), sha256, self.weights_sha256, self.seed, self.label
        return [Origin(*facts, number) for number in numbers]


def _jobs(inputs: Sequence[Path], out: Path) -> tuple[list[Job], list[str]]:
    """What to color, each once, and a sentence for each folder that cannot be read."""
    jobs: list[Job] = []
    failures: list[str] = []
    for given in inputs:
        if given.is_dir():
            if given.resolve() == out.resolve():
                raise UserError(f"{out} is the folder of photographs itself; choose another folder for --out.")
            found = _photographs(given, out, failures)
            jobs.extend(Job(file, file.relative_to(given)) for file in found)
        elif given.exists():
            jobs.append(Job(given, Path(given.name)))
        else:
            raise UserError(f"{given}: no such file or folder.")
    if not jobs and not failures:
        raise UserError(f"{', '.join(map(str, inputs))}: no photographs there ({', '.join(SUFFIXES)}).")
    return list(dict.fromkeys(jobs)), failures


def _photographs(folder: Path, out: Path, failures: list[str]) -> Iterator[Path]:
    root, skipped = folder.resolve(), out.resolve()

    def unreadable(error: OSError) -> None:
        failures.append(f"{error.filename}: {error.strerror}.")

    for parent, folders, files in os.walk(folder, onerror=unreadable):
        at = Path(parent)
        folders[:] = sorted(name for name in folders if name[0] != "." and (at / name).resolve() != skipped)
        for file in sorted(at / name for name in files if name[0] != "."):
            if file.suffix.lower() in SUFFIXES and file.resolve().is_relative_to(root):
                yield file


@contextmanager
def _threads() -> Iterator[ThreadPoolExecutor]:
    """Left early, they finish what they are at."""
    with ThreadPoolExecutor(_THREADS) as pool:
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)


def _read_ahead(pool: ThreadPoolExecutor, jobs: Sequence[Job]) -> Iterator[tuple[Job, Future[tuple[Photograph, str]]]]:
    """The jobs in order, each with its photograph and that file's SHA-256, read while those before it are colored."""
    waiting: deque[tuple[Job, Future[tuple[Photograph, str]]]] = deque()
    for job in jobs:
        waiting.append((job, pool.submit(_read, job.source)))
        if len(waiting) > _AHEAD:
            yield waiting.popleft()
    yield from waiting


def _read(source: Path) -> tuple[Photograph, str]:
    if source.exists() and not source.is_file():  # opening a pipe would wait for ever
        raise ImageError(str(source), "no regular file")
    return decode(source), sha256_of(source)


@contextmanager
def _noted(job: Job, failures: list[str]) -> Iterator[None]:
    """What a photograph can do wrong becomes a sentence, and the next one's turn comes."""
    try:
        yield
    except ImageError as error:
        failures.append(f"{job.source}: {error.reason}.")
    except UserError as error:
        failures.append(f"{job.source}: {error}")
    except OSError as error:
        failures.append(f"{job.source}: {error.strerror or error}.")
    except (MemoryError, torch.OutOfMemoryError):
        failures.append(f"{job.source}: too large for this machine's memory.")


def _settle(job: Job, written: Future[None], failures: list[str]) -> None:
    with _noted(job, failures):
        written.result()


def _require_free(pictures: Iterable[Path], taken: dict[Path, str], overwrite: bool) -> None:
    """Raises UserError when writing these files would destroy a photograph, another's picture, or what is not ours."""
    for picture in pictures:
        if (why := taken.get(picture.resolve())) is not None:
            raise UserError(f"not written over another: {why}; choose another folder for --out.")
        if picture.exists() and not overwrite:
            raise UserError(
                f"{picture} exists, and was not made like this (another model, seed or label; or photograph or picture "
                "changed since); --overwrite replaces it."
            )


def _printable(text: str) -> str:
    """A file's name may hold what a terminal obeys, or no terminal can show."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
