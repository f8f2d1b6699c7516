"""Versions of data/ and champion/: what DVC pulls, pushes and calls them, with errors of one sentence."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.shared.photos.remote import LATEST
from components.shared.s3.client import safe_join
from model.utils.errors import UserError
from pipeline.data.errors import explained

if TYPE_CHECKING:  # DVC takes half a second to import: not for those who only want --help
    from dvc.repo import Repo
    from dvc_data.hashfile.db import HashFileDB
    from dvc_data.hashfile.tree import Tree
    from dvc_objects.fs.base import FileSystem


@dataclass(frozen=True)
class DataVersion:
    """Holds the version of a folder of photographs.

    Attributes:
        version: MD5 of the folder as DVC computes it, such as "f7af12c06f5a9ef9c9650dedaffa2393.dir".
        files: Number of files in the folder.
        note: How the folder differs from its .dvc file, in one sentence; empty if it does not.
    """

    version: str
    files: int
    note: str = ""


def ensure_data(root: Path, name: str = "data") -> DataVersion:
    """Pulls root/<name> if its files are missing, and returns its version.

    They come from the default remote, or from the first other one that has them. A folder at another version that
    DVC's cache holds (for example after `git pull`) is moved to the version of <name>.dvc. A folder that a user has
    changed stays as it is.

    Raises:
        UserError: <name>.dvc is missing, the files cannot be fetched, or the version names a file outside the folder.
    """
    with _project(root, name=name) as project:
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
        return DataVersion(found.oid, len(found), note)


def expected_version(root: Path) -> str:
    """Returns the version that `ensure_data` would leave in data/, without fetching anything.

    Raises:
        UserError: there is no data.dvc.
    """
    with _project(root) as project:
        found = None if project.needs_pull() else project.tree()
        version = project.recorded if found is None or project.keeps(found) else found.hash_info
        return str(version.value)


def pull(root: Path, remote: str | None = None) -> int:
    """Moves data/ to the version of data.dvc; returns the number of files fetched from the remote.

    Raises:
        UserError: the remote is unreachable, refuses the credentials, or lacks the bucket or a photograph; or data/
            has changes that would be lost.
    """
    with _project(root, remote) as project:
        return project.pull()


def push(root: Path, remote: str | None = None, name: str = "data") -> int:
    """Copies the version of <name>.dvc to the remote; returns the number of new files there.

    A folder that is missing here is pulled first, as `ensure_data` does.

    Raises:
        UserError: as `pull`; or DVC's cache of this clone lacks files that <name>.dvc lists.
    """
    with _project(root, name=name) as here:
        if here.needs_pull():
            here.bring()
    with _project(root, remote, name) as project:
        return project.push()


def publish(root: Path, remote: str | None = None) -> str:
    """Pushes, then writes the version of data.dvc to the file `latest` of the remote; returns the version.

    Raises:
        UserError: as `push`.
    """
    with _project(root, remote) as project:
        project.push()
        return project.publish()


def folder_version(folder: Path) -> str:
    """Returns the MD5 that DVC computes for a folder of photographs, tracked or not."""
    from dvc_data.hashfile.db import HashFileDB
    from dvc_objects.fs.local import localfs

    from pipeline.data.repository import FilesOnly

    store = HashFileDB(localfs, "/")  # its path would have to be UTF-8; nothing is read or written there
    return _tree(store, str(folder.resolve()), localfs, FilesOnly()).oid


@contextmanager
def _project(root: Path, remote: str | None = None, name: str = "data") -> Iterator["_Project"]:
    root = root.resolve()
    tracked = root / f"{name}.dvc"
    if not tracked.exists():
        raise UserError(f"{tracked}: no such file; `dvc add {name}` creates it from {name}/.")
    from dvc.config import Config  # the images have no DVC

    from pipeline.data.repository import Repository

    with explained():
        config = {
            # Moving data needs no git. DVC may write its notes on file times in the clone, but nowhere else.
            "core": {"no_scm": True, "site_cache_dir": str(root / ".dvc" / "tmp" / "site")},
            # A damaged photograph must not enter the cache.
            "remote": {name: {"verify": True} for name in Config(str(root / ".dvc"))["remote"]},
        }
        with Repository(str(root), config=config) as repo:
            yield _Project(repo, remote, name)


class _Project:
    """Wraps an open DVC repository and one of its tracked folders."""

    def __init__(self, repo: "Repo", remote: str | None, name: str) -> None:
        self._repo, self._remote, self._name = repo, remote, name
        self._file = str(Path(repo.root_dir) / f"{name}.dvc")
        self._output = repo.stage.load_one(self._file).outs[0]
        self._unfinished = Path(repo.tmp_dir) / f"{name}-pull-unfinished"
        self.recorded = self._output.hash_info

    def needs_pull(self) -> bool:
        folder = Path(self._output.fs_path)
        return self._unfinished.exists() or not (folder.is_file() or any(path.is_file() for path in folder.rglob("*")))

    def tree(self) -> "Tree":
        """Lists every file of the folder with its MD5; reads only files whose time or size has changed."""
        output = self._output
        return _tree(output.cache, output.fs_path, output.fs, output.dvcignore)

    def keeps(self, tree: "Tree") -> bool:
        """Tells whether DVC's cache holds the whole folder, so that replacing it loses nothing."""
        cache = self._output.cache
        return cache.exists(tree.oid) and all(map(cache.exists, _files(tree).values()))

    def difference(self, found: "Tree") -> str:
        listed = self._output.get_obj()
        if listed is None:
            counts = "DVC's cache lacks the list of files"
        else:
            before, now = _files(listed), _files(found)
            changed = sum(before[path] != now[path] for path in before.keys() & now.keys())
            added, deleted = len(now.keys() - before.keys()), len(before.keys() - now.keys())
            counts = f"{changed} changed, {added} added, {deleted} deleted"
        return (
            f"{self._name}/ differs from {self._name}.dvc ({counts}) and is used as it is; "
            f"`dvc add {self._name}` records it, `dvc checkout --force {self._name}` drops the changes."
        )

    def bring(self) -> None:
        """Pulls from the first remote that has the version; raises the error of the default one if there is none."""
        try:
            self.pull()
        except UserError:
            for other in sorted(self._repo.config["remote"].keys() - {self._repo.config["core"].get("remote")}):
                with suppress(UserError):
                    _Project(self._repo, other, self._name).pull()
                    return
            raise

    def pull(self) -> int:
        self._unfinished.touch()
        with explained(self._remote_url(), self._absence):
            fetched = self._repo.fetch(targets=[self._file], remote=self._remote)
            self._require_inside()
            self._repo.checkout(targets=[self._file])
        self._unfinished.unlink()
        return int(fetched)

    def _require_inside(self) -> None:
        """Refuses a version whose list of files leads out of the folder, where DVC would write."""
        if self.recorded.isdir and (listed := self._output.get_obj()):
            for path in _files(listed):
                safe_join(Path(self._output.fs_path), path)

    def push(self) -> int:
        with explained(self._remote_url(), self._absence):
            pushed = self._repo.push(targets=[self._file], remote=self._remote)
            complete = self._store().exists(self.recorded.value)  # DVC pushes the list last, after all files
        if not complete:
            raise UserError(
                f"The push is incomplete: DVC's cache here lacks files that {self._name}.dvc lists; "
                f"`dvc add {self._name}` puts the files of {self._name}/ there."
            )
        return int(pushed)

    def publish(self) -> str:
        with explained(self._remote_url()):
            remote = self._repo.cloud.get_remote(self._remote)
            with remote.fs.open(remote.fs.join(remote.path, LATEST), "w") as file:
                file.write(f"{self.recorded.value}\n")
        return str(self.recorded.value)

    def _store(self) -> "HashFileDB":
        store: HashFileDB = self._repo.cloud.get_remote_odb(self._remote, hash_name="md5")
        return store

    def _remote_url(self) -> str:
        config = self._repo.config
        settings = config["remote"].get(self._remote or config["core"].get("remote"), {})
        return " at ".join(settings[key] for key in ("url", "endpointurl") if key in settings)

    def _listed(self) -> "Tree | None":
        """Returns the list of files of data.dvc; None if neither DVC's cache nor the remote has it."""
        from dvc_data.hashfile.transfer import find_tree_by_obj_id

        return find_tree_by_obj_id([self._output.cache, self._store()], self.recorded)

    def _absence(self) -> str:
        """Describes what the remote lacks."""
        store, url = self._store(), self._remote_url()
        bucket = store.path.split("/")[0]
        if store.fs.protocol == "s3" and not store.fs.exists(bucket):
            return f"{url}: there is no bucket named {bucket}; create it, or correct the url (`dvc remote modify`)."
        if store.fs.protocol == "local" and not Path(store.path).parents[1].is_dir():  # files/md5 below it
            return f"{url}: there is no such folder; restore it, or name another remote."
        listed = self._listed()
        if listed is None:
            return f"{url}: it does not hold the version {self.recorded.value} of {self._name}.dvc; {self._remedy()}."
        absent = {path: md5 for path, md5 in sorted(_files(listed).items()) if not self._output.cache.exists(md5)}
        path, md5 = next(iter(absent.items()))
        others = f" (and {len(absent) - 1} other files)" if len(absent) > 1 else ""
        trouble = "has a damaged copy of" if store.exists(md5) else "lacks"
        return f"{url}: it {trouble} {self._name}/{path}{others}; {self._remedy()}."

    def _remedy(self) -> str:
        """Tells how what the remote lacks gets there."""
        config = self._repo.config
        here = self._remote or config["core"].get("remote")
        push = f"push it from a clone that has it (`colorize data push --remote {here}`)"
        others = " or ".join(sorted(config["remote"].keys() - {here}))
        return f"fetch it from {others} (`dvc pull {self._name}.dvc --remote ...`), or {push}" if others else push


def _tree(store: "HashFileDB", path: str, fs: "FileSystem", ignore: Any) -> "Tree":
    from dvc_data.hashfile.build import build
    from dvc_data.hashfile.tree import Tree

    _, _, tree = build(store, path, fs, "md5", ignore=ignore, dry_run=True)
    if not isinstance(tree, Tree):
        raise UserError(f"{path}: not a folder; it must be a folder of photographs.")
    return tree


def _files(tree: "Tree") -> dict[str, str]:
    """Returns the MD5 of each file by its path."""
    return {"/".join(key): md5.value for key, _, md5 in tree}
