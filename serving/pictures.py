"""Names of the pictures of a photograph, which of them exist already, and their writing."""

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from model.data.images import Photograph
from model.inference.choices import Choices
from model.inference.colorizer import Pixels
from serving.delivery import Delivery
from serving.inputs import Job
from serving.record import Origin, Record, sha256_of


@dataclass(frozen=True)
class Pictures:
    """Names the pictures to write, finds those that exist, and writes the others."""

    out: Path
    record: Record
    weights_sha256: str
    model: str
    """Name and version of the model, for the mark."""
    choices: Choices
    like_sha256: str | None
    """SHA-256 of the reference; None without one."""
    samples: int
    delivery: Delivery

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
        """Writes the pictures of a photograph of one page.

        Args:
            missing: the result of `missing`.
            photograph: what was colored.
            colored: (samples, H, W, 3) sRGB.

        Raises:
            UserError: a picture cannot be encoded or signed.
            OSError: it cannot be written.
        """
        for picture, origin in missing.items():
            content = self.delivery.file(colored[_index(origin)], photograph, self.model)
            self.record.write(picture, content, origin)

    def write_pages(self, missing: dict[Path, Origin], files: "PageFiles") -> None:
        """Writes the pictures of a TIFF of several pages; errors are those of `write`."""
        for picture, origin in missing.items():
            self.record.write(picture, files.content(origin), origin)

    def _origins(self, job: Job, sha256: str) -> list[Origin]:
        numbers = range(1, self.samples + 1) if self.samples > 1 else (None,)
        facts = str(job.place), sha256, self.weights_sha256, self.choices.seed, self.choices.label
        rest = self.choices.strength, sha256_of(job.hints) if job.hints else None
        files = self.delivery.mark, self.delivery.keep_alpha, self.delivery.credentials is not None
        return [Origin(*facts, number, *rest, *files, like_sha256=self.like_sha256) for number in numbers]


class PageFiles:
    """Collects the colored pages of a TIFF, compressed, for each sample."""

    def __init__(self, pictures: Pictures) -> None:
        """
        Raises:
            UserError: the pictures are to be signed, which such a TIFF cannot be.
        """
        self._pages = [pictures.delivery.pages(pictures.model) for _ in range(pictures.samples)]

    def add(self, page: Photograph, colored: Pixels) -> None:
        """Adds a page: (samples, H, W, 3) sRGB."""
        for pages, picture in zip(self._pages, colored, strict=True):
            pages.add(picture, page)

    def content(self, origin: Origin) -> bytes:
        """Returns the file of a sample."""
        return self._pages[_index(origin)].content()


def _index(origin: Origin) -> int:
    """Returns the index of a picture's sample."""
    return (origin.number or 1) - 1
