"""DVC as this project opens it: it passes by what is no file in a folder of photographs."""

import shutil
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from dvc.ignore import DvcIgnoreFilter
from dvc.repo import Repo

from components.shared.photos.folder import reason_to_pass
from pipeline.data.checkout import copy_of_read_only, read_only

Walk = Iterator[tuple[str, Any, Any]]


def opened(root: Path, name: str) -> "Repository":
    """Opens the DVC repository of a checkout; of a read-only one, a copy of its settings and of <name>.dvc."""
    from dvc.config import Config

    # Moving data needs no git. A damaged photograph must not enter the cache.
    found = Config(str(root / ".dvc"))
    remotes = {remote: {"verify": True} for remote in found["remote"]}
    core: dict[str, Any] = {"no_scm": True}
    if read_only(root):
        copy = copy_of_read_only()
        remotes = {remote: {**settings, "verify": True} for remote, settings in found["remote"].items()}
        core = {**found["core"], **core}
        (copy / ".dvc").mkdir(parents=True, exist_ok=True)
        (copy / ".dvc" / "config").touch()
        for file in (".dvcignore", f"{name}.dvc"):
            shutil.copyfile(root / file, copy / file)
        root = copy
    # DVC may write its notes on file times there, but nowhere else.
    core["site_cache_dir"] = str(root / ".dvc" / "tmp" / "site")
    return Repository(str(root), config={"core": core, "remote": remotes})


class FilesOnly:
    """Walks a folder for DVC without pipes, links to nothing and the like, which DVC would wait for or fail at."""

    def walk(self, fs: Any, path: str, **options: Any) -> Walk:
        """Yields each folder below a path with its folders and files, as DVC's file system does."""
        return _files_only(path, fs.walk(path, **options))


class Repository(Repo):  # type: ignore[misc]
    """Opens a DVC repository whose folders DVC walks as `FilesOnly` does."""

    @cached_property
    def dvcignore(self) -> DvcIgnoreFilter:
        """Returns DVC's filter of .dvcignore, which also passes by what is no file."""
        return _Filter(self.fs, self.root_dir)


class _Filter(DvcIgnoreFilter):  # type: ignore[misc]
    def walk(self, fs: Any, path: str, **options: Any) -> Walk:
        return _files_only(path, super().walk(fs, path, **options))


def _files_only(path: str, walk: Walk) -> Walk:
    for root, folders, files in walk:
        for name in list(files):
            if reason_to_pass(Path(path), str(Path(root, name).relative_to(path))):
                files.pop(name) if isinstance(files, dict) else files.remove(name)
        yield root, folders, files
