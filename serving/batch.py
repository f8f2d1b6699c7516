"""`colorize photo`: colors photographs and folders of them with one model, and goes on past those that it cannot."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from components import registry
from components.preprocess.step import SUFFIXES
from components.progress import progress
from model.colorizer import Colorizer
from model.errors import UserError
from model.files import write_aside
from model.images import Photograph, decode, encode

_AHEAD = 2  # photographs decoded while the model works on another


@dataclass(frozen=True)
class Job:
    """A photograph to color, and where its pictures go: the folder, and the file's name without suffix."""

    source: Path
    folder: Path
    stem: str


def color_photographs(
    inputs: Sequence[Path], out: Path, model: str, *, samples: int = 1, seed: int = 0, overwrite: bool = False
) -> list[str]:
    """Writes `<name>-colorized.<ext>` below `out` for each photograph, keeping the sub-folders of the folders given.

    With more samples: `<name>-colorized-1.<ext>`, -2, ... A picture appears whole or not at all.

    Args:
        inputs: photographs, and folders, whose photographs are found by suffix; links out of a folder are not followed.
        out: made when missing. What lies in it is not taken for input.
        model: models:/colorizer@champion, models:/colorizer/3, or a generator folder.
        samples: colorings of each photograph.
        seed: the same seed gives the same colorings.
        overwrite: replace pictures that exist; otherwise they are left and reported.

    Returns:
        A sentence for each photograph that could not be colored.

    Raises:
        UserError: there is no such input, nothing to color, two inputs for one output, or no such model.
    """
    jobs = _jobs(inputs, out)
    colorizer = Colorizer.load(registry.fetch(model))
    failures: list[str] = []
    with progress(len(jobs), "color", "photographs") as advance:
        for job, decoded in _decoded_ahead(jobs):
            try:
                photograph = decoded.result()
                targets = _targets(job, photograph, samples)
                taken = [target for target in targets if target.exists() and not overwrite]
                if taken:
                    raise UserError(f"{job.source}: {taken[0]} exists; --overwrite replaces it.")
                colored = colorizer.colorize(photograph.rgb, seed, samples)
                for target, picture in zip(targets, colored, strict=True):
                    target.parent.mkdir(parents=True, exist_ok=True)
                    write_aside(target, encode(picture, photograph))
            except UserError as error:
                failures.append(str(error))
            except OSError as error:
                failures.append(f"{job.source}: {error.strerror or error}.")
            except MemoryError:
                failures.append(f"{job.source}: too large for this machine's memory.")
            advance(1)
    return failures


def _jobs(inputs: Sequence[Path], out: Path) -> list[Job]:
    jobs: list[Job] = []
    for given in inputs:
        if given.is_dir():
            jobs.extend(Job(file, out / file.parent.relative_to(given), file.stem) for file in _photographs(given, out))
        elif given.exists():
            jobs.append(Job(given, out, given.stem))
        else:
            raise UserError(f"{given}: no such file or folder.")
    if not jobs:
        raise UserError(f"{', '.join(map(str, inputs))}: no photographs there ({', '.join(SUFFIXES)}).")
    return _distinct(jobs)


def _photographs(folder: Path, out: Path) -> Iterator[Path]:
    root, skipped = folder.resolve(), out.resolve()
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if (Path(parent) / name).resolve() != skipped)
        for file in sorted(Path(parent) / name for name in files):
            if file.suffix.lower() in SUFFIXES and file.resolve().is_relative_to(root):
                yield file


def _distinct(jobs: list[Job]) -> list[Job]:
    """Keeps apart what would land on one name: photographs that differ in their suffix alone get it into their name."""
    by_name: dict[tuple[Path, str], list[Job]] = {}
    for job in jobs:
        by_name.setdefault((job.folder, job.stem), []).append(job)
    distinct = []
    for (folder, stem), rivals in by_name.items():
        names = {stem} if len(rivals) == 1 else {job.source.name for job in rivals}
        if len(names) < len(rivals):
            raise UserError(f"{rivals[0].source} and {rivals[1].source} would both be written as {folder / stem}.")
        distinct += [
            job if len(rivals) == 1 else Job(job.source, folder, job.source.name.replace(".", "-")) for job in rivals
        ]
    return distinct


def _decoded_ahead(jobs: Sequence[Job]) -> Iterator[tuple[Job, Future[Photograph]]]:
    """The jobs in order, each with its photograph, decoded while the one before it is colored."""
    with ThreadPoolExecutor(_AHEAD) as pool:
        waiting: list[tuple[Job, Future[Photograph]]] = []
        try:
            for job in jobs:
                waiting.append((job, pool.submit(decode, job.source)))
                if len(waiting) > _AHEAD:
                    yield waiting.pop(0)
            while waiting:
                yield waiting.pop(0)
        finally:
            pool.shutdown(cancel_futures=True)


def _targets(job: Job, photograph: Photograph, samples: int) -> list[Path]:
    """The files to write: with the suffix the input has, unless it belies what they will hold."""
    formats = Image.registered_extensions()
    given = job.source.suffix
    suffix = given if formats.get(given.lower()) == formats[photograph.suffix] else photograph.suffix
    numbers = [f"-{number}" for number in range(1, samples + 1)] if samples > 1 else [""]
    return [job.folder / f"{job.stem}-colorized{number}{suffix}" for number in numbers]
