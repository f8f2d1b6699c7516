"""What a .dvcignore excludes from a folder of photographs: no part of the data, for preprocess as for DVC."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

NAME = ".dvcignore"


class Excluded:
    """Tells what a .dvcignore excludes: of the folder, of those below, and of those above in the same DVC repository.

    Call `enter` for each folder on the way, from the top down.
    """

    def __init__(self, folder: Path) -> None:
        self._specs: list[tuple[Path, GitIgnoreSpec]] = []
        above = [folder, *folder.parents]
        roots = [number for number, one in enumerate(above) if (one / ".dvc").is_dir()]
        for one in reversed(above[1 : roots[0] + 1] if roots else []):
            self.enter(one)

    def enter(self, folder: Path) -> None:
        """Reads the .dvcignore of a folder, if it has one."""
        file = folder / NAME
        if file.is_file():
            from pathspec import GitIgnoreSpec

            lines = file.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
            self._specs.append((folder, GitIgnoreSpec.from_lines(lines)))

    def by(self, path: Path, is_folder: bool = False) -> Path | None:
        """Returns the .dvcignore that excludes a path in a folder that was entered; None if none does."""
        for folder, spec in self._specs:
            if path.is_relative_to(folder) and spec.match_file(path.relative_to(folder).as_posix() + "/" * is_folder):
                return folder / NAME
        return None
