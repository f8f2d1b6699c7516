"""Versions of data/ and champion/: what DVC pulls, pushes and calls them, with errors of one sentence."""

from dataclasses import dataclass, field
from pathlib import Path

from model.utils.errors import UserError
from pipeline.data.checkout import filled, located, read_only

# Each function imports DVC, which takes half a second: not for those who only want --help.


@dataclass(frozen=True)
class DataVersion:
    """Holds the version of a folder of photographs.

    Attributes:
        version: MD5 of the folder as DVC computes it, such as "f7af12c06f5a9ef9c9650dedaffa2393.dir".
        files: Number of files in the folder.
        note: How the folder differs from its .dvc file, in one sentence; empty if it does not.
        folder: Where the files are.
    """

    version: str
    files: int
    note: str = ""
    folder: Path = field(default=Path(), compare=False)


def ensure_data(root: Path, name: str = "data") -> DataVersion:
    """Pulls root/<name> if its files are missing, and returns its version.

    They come from the default remote, or from the first other one that has them. A folder at another version that
    DVC's cache holds (for example after `git pull`) is moved to the version of <name>.dvc. A folder that a user has
    changed stays as it is, and so does one in a read-only checkout; what is missing there lands in the workspace.

    Raises:
        UserError: <name>.dvc is missing, the files cannot be fetched, or the version names a file outside the folder.
    """
    from pipeline.data.project import open_project

    root = root.resolve()
    if read_only(root) and filled(root / name):
        return _as_it_is(root, name)
    with open_project(root, name=name) as project:
        if project.needs_pull():
            project.bring()
        found = project.tree()
        note = ""
        if found.hash_info != project.recorded:
            if project.keeps(found):
                project.pull()
                found = project.tree()
                note = f"{name}/ held another version that DVC keeps; it was moved to that of {name}.dvc."
            else:
                note = project.difference(found)
        return DataVersion(found.oid, len(found), note, located(root, name))


def expected_version(root: Path) -> str:
    """Returns the version that `ensure_data` would leave in data/, without fetching anything.

    Raises:
        UserError: there is no data.dvc.
    """
    from pipeline.data.project import open_project

    root = root.resolve()
    if read_only(root) and filled(root / "data"):
        return _as_it_is(root, "data").version
    with open_project(root) as project:
        found = None if project.needs_pull() else project.tree()
        version = project.recorded if found is None or project.keeps(found) else found.hash_info
        return str(version.value)


def pull(root: Path, remote: str | None = None) -> int:
    """Moves data/ to the version of data.dvc; returns the number of files fetched from the remote.

    Raises:
        UserError: the remote is unreachable, refuses the credentials, or lacks the bucket or a photograph; or data/
            has changes that would be lost.
    """
    from pipeline.data.project import open_project

    if read_only(root.resolve()):
        raise UserError(
            f"{root.resolve()} is read-only; `colorize run` uses its data/, or brings what is missing there."
        )
    with open_project(root, remote) as project:
        return project.pull()


def push(root: Path, remote: str | None = None, name: str = "data") -> int:
    """Copies the version of <name>.dvc to the remote; returns the number of new files there.

    A folder that is missing here is pulled first, as `ensure_data` does.

    Raises:
        UserError: as `pull`; or DVC's cache of this clone lacks files that <name>.dvc lists.
    """
    from pipeline.data.project import open_project

    with open_project(root, name=name) as here:
        if here.needs_pull():
            here.bring()
    with open_project(root, remote, name) as project:
        return project.push()


def publish(root: Path, remote: str | None = None) -> str:
    """Pushes, then writes the version of data.dvc to the file `latest` of the remote; returns the version.

    Raises:
        UserError: as `push`.
    """
    from pipeline.data.project import open_project

    with open_project(root, remote) as project:
        project.push()
        return project.publish()


def folder_version(folder: Path) -> str:
    """Returns the MD5 that DVC computes for a folder of photographs, tracked or not."""
    from pipeline.data.project import folder_tree

    return folder_tree(folder).oid


def _as_it_is(root: Path, name: str) -> DataVersion:
    """Returns the version of a folder in a read-only checkout."""
    from pipeline.data.project import folder_tree

    found = folder_tree(root / name)
    recorded = (root / f"{name}.dvc").is_file() and found.oid in (root / f"{name}.dvc").read_text(encoding="utf-8")
    note = "" if recorded else f"{name}/ differs from {name}.dvc and is used as it is: the checkout is read-only."
    return DataVersion(found.oid, len(found), note, root / name)
