"""`colorize photo`: colors photographs and folders of them with one model, and goes on past those that it cannot."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from components.preprocess.step import SUFFIXES
from components.progress import progress
from model.colorizer import Colorizer
from model.errors import UserError
from model.files import write_aside
from model.images import ImageError, Photograph, decode, encode

_AHEAD = 2  # photographs decoded while the model works on another


@dataclass(frozen=True)
class Job:
    """A photograph to color, and the folder where its pictures go."""

    source: Path
    folder: Path


def color_photographs(
    inputs: Sequence[Path],
    out: Path,
    generator: Callable[[], Path],
    *,
    samples: int = 1,
    seed: int = 0,
    label: str | None = None,
    overwrite: bool = False,
) -> list[str]:
    """Writes `<name>-colorized.<ext>` below `out` for each photograph, keeping the sub-folders of the folders given.

    With more samples: `<name>-colorized-1.<ext>`, -2, ... A picture appears whole or not at all. The extension is the
    photograph's own; where the file is of another format than it says, or of one with too few colors, the right one
    follows it: `old.gif-colorized.jpg`.

    Args:
        inputs: photographs, and folders, whose photographs are found by suffix. Hidden files, and links that lead out
            of the folder, are passed over.
        out: made when missing. What lies in it is not taken for input.
        generator: gives the generator's folder; asked once it is clear that there is something to color.
        samples: colorings of each photograph.
        seed: the same seed gives the same colorings.
        label: what the photographs show, as the model knows it; None for unknown.
        overwrite: replace pictures that exist; otherwise they are left and reported. A photograph that is itself among
            the inputs is never replaced.

    Returns:
        A sentence for each photograph that could not be colored, and for each folder that could not be read.

    Raises:
        UserError: there is no such input, nothing to color, `out` is a folder to color, the model does not know the
            label, or what `generator` raises.
    """
    jobs, failures = _jobs(inputs, out)
    colorizer = Colorizer.load(generator(), "cuda" if torch.cuda.is_available() else "cpu")
    colorizer.check_label(label)
    taken = {job.source.resolve(): f"{job.source} is itself to be colored" for job in jobs}
    with progress(len(jobs), "color", "photographs") as advance:
        for job, decoded in _decoded_ahead(jobs):
            try:
                photograph = decoded.result()
                targets = _targets(job, photograph, samples)
                _require_free(targets, taken, overwrite)
                colored = colorizer.colorize(photograph.rgb, seed, samples, label)
                contents = [encode(picture, photograph) for picture in colored]
                for target, content in zip(targets, contents, strict=True):
                    target.parent.mkdir(parents=True, exist_ok=True)
                    write_aside(target, content)
                    taken[target.resolve()] = f"{target} was made of {job.source}"
            except ImageError as error:
                failures.append(f"{job.source}: {error.reason}.")
            except UserError as error:
                failures.append(f"{job.source}: {error}")
            except OSError as error:
                failures.append(f"{job.source}: {error.strerror or error}.")
            except (MemoryError, torch.OutOfMemoryError):
                failures.append(f"{job.source}: too large for this machine's memory.")
            advance(1)
    return [_printable(failure) for failure in failures]


def _jobs(inputs: Sequence[Path], out: Path) -> tuple[list[Job], list[str]]:
    """What to color, each once, and a sentence for each folder that cannot be read."""
    jobs: list[Job] = []
    failures: list[str] = []
    for given in inputs:
        if given.is_dir():
            if given.resolve() == out.resolve():
                raise UserError(f"{out} is the folder of photographs itself; choose another folder for --out.")
            found = _photographs(given, out, failures)
            jobs.extend(Job(file, out / file.parent.relative_to(given)) for file in found)
        elif given.exists():
            jobs.append(Job(given, out))
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


def _decoded_ahead(jobs: Sequence[Job]) -> Iterator[tuple[Job, Future[Photograph]]]:
    """The jobs in order, each with its photograph, decoded while the one before it is colored."""
    with ThreadPoolExecutor(_AHEAD) as pool:
        waiting: list[tuple[Job, Future[Photograph]]] = []
        try:
            for job in jobs:
                waiting.append((job, pool.submit(_read, job.source)))
                if len(waiting) > _AHEAD:
                    yield waiting.pop(0)
            while waiting:
                yield waiting.pop(0)
        finally:
            pool.shutdown(cancel_futures=True)


def _read(source: Path) -> Photograph:
    if source.exists() and not source.is_file():  # opening a pipe would wait for ever
        raise ImageError(str(source), "no regular file")
    return decode(source)


def _targets(job: Job, photograph: Photograph, samples: int) -> list[Path]:
    """The files to write: with the suffix the input has, or after it where it belies what they will hold."""
    formats = Image.registered_extensions()
    stem, suffix = job.source.stem, job.source.suffix
    if formats.get(suffix.lower()) != formats[photograph.suffix]:
        stem, suffix = job.source.name, photograph.suffix
    numbers = [f"-{number}" for number in range(1, samples + 1)] if samples > 1 else [""]
    return [job.folder / f"{stem}-colorized{number}{suffix}" for number in numbers]


def _require_free(targets: Sequence[Path], taken: dict[Path, str], overwrite: bool) -> None:
    """Raises UserError when writing these files would destroy a photograph, another's picture, or what is not ours."""
    for target in targets:
        if (why := taken.get(target.resolve())) is not None:
            raise UserError(f"not written over another: {why}; choose another folder for --out.")
        if target.exists() and not overwrite:
            raise UserError(f"{target} exists; --overwrite replaces it.")


def _printable(text: str) -> str:
    """A file's name may hold what a terminal obeys, or no terminal can show."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
