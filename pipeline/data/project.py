"""An open DVC repository and one of its tracked folders: what DVC keeps, brings and pushes of it."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dvc_data.hashfile.build import build
from dvc_data.hashfile.db import HashFileDB
from dvc_data.hashfile.transfer import find_tree_by_obj_id
from dvc_data.hashfile.tree import Tree
from dvc_objects.fs.local import localfs

from components.shared.photos.listing import LATEST
from components.shared.s3.client import safe_join
from model.utils.errors import UserError
from pipeline.data.checkout import filled
from pipeline.data.errors import explained
from pipeline.data.repository import FilesOnly, Repository, opened

if TYPE_CHECKING:
    from dvc_objects.fs.base import FileSystem


@contextmanager
def open_project(root: Path, remote: str | None = None, name: str = "data") -> Iterator["Project"]:
    """Opens the DVC repository of a checkout, for one of its tracked folders.

    Raises:
        UserError: there is no <name>.dvc, or no DVC repository.
    """
    root = root.resolve()
    tracked = root / f"{name}.dvc"
    if not tracked.exists():
        if not (root / ".dvc").is_dir():
            raise UserError(f"{root} is no clone of this repository; go to yours, and run the command there.")
        raise UserError(f"{tracked}: no such file; `dvc add {name}` creates it from {name}/.")
    with explained(), opened(root, name) as repo:
        yield Project(repo, remote, name)


class Project:
    """Wraps an open DVC repository and one of its tracked folders."""

    def __init__(self, repo: Repository, remote: str | None, name: str) -> None:
        self._repo, self._remote, self._name = repo, remote, name
        self._file = str(Path(repo.root_dir) / f"{name}.dvc")
        self._output = repo.stage.load_one(self._file).outs[0]
        self._folder = Path(self._output.fs_path)
        self._unfinished = Path(repo.tmp_dir) / f"{name}-pull-unfinished"
        self.recorded = self._output.hash_info

    def needs_pull(self) -> bool:
        if self._folder.is_symlink() and not filled(self._folder):
            raise UserError(f"{self._link()}, where no files are; put some there, or remove it to get the photographs.")
        return self._unfinished.exists() or not filled(self._folder)

    def _link(self) -> str:
        return f"{self._name}/ is a link to {self._folder.readlink()}"

    def tree(self) -> Tree:
        """Lists every file of the folder with its MD5; reads only files whose time or size has changed."""
        output = self._output
        return _tree(output.cache, output.fs_path, output.fs, output.dvcignore)

    def keeps(self, tree: Tree) -> bool:
        """Tells whether DVC's cache holds the whole folder, so that replacing it loses nothing."""
        hashes = (tree.oid, *_files(tree).values())
        return not self._folder.is_symlink() and all(map(self._output.cache.exists, hashes))

    def difference(self, found: Tree) -> str:
        listed = self._output.get_obj()
        if listed is None:
            counts = "DVC's cache lacks the list of files"
        else:
            before, now = _files(listed), _files(found)
            changed = sum(before[path] != now[path] for path in before.keys() & now.keys())
            added, deleted = len(now.keys() - before.keys()), len(before.keys() - now.keys())
            counts = f"{changed} changed, {added} added, {deleted} deleted"
        advice = f"`dvc add {self._name}` records it, `dvc checkout --force {self._name}` drops the changes"
        if self._folder.is_symlink():
            advice = f"{self._link()}, where nothing is changed"
        return f"{self._name}/ differs from {self._name}.dvc ({counts}) and is used as it is; {advice}."

    def bring(self) -> None:
        """Pulls from the first remote that has the version; raises the error of the default one if there is none."""
        try:
            self.pull()
        except UserError:
            for other in sorted(self._repo.config["remote"].keys() - {self._repo.config["core"].get("remote")}):
                with suppress(UserError):
                    Project(self._repo, other, self._name).pull()
                    return
            raise

    def pull(self) -> int:
        with explained(self._remote_url(), self._absence):
            fetched = self._repo.fetch(targets=[self._file], remote=self._remote)
            self._require_inside()
            self._require_recorded()
            self._unfinished.touch()
            self._repo.checkout(targets=[self._file])
        self._unfinished.unlink()
        return int(fetched)

    def _require_recorded(self) -> None:
        """Refuses to replace a folder that DVC does not keep as it is, but for one that only lacks files."""
        if self._unfinished.exists() or self.needs_pull() or self.keeps(found := self.tree()):
            return
        listed = self._output.get_obj()
        if self._folder.is_symlink() and found.hash_info != self.recorded:
            raise UserError(f"{self._link()}, where nothing is changed; remove it to get the version of data.dvc.")
        if listed is None or not _files(found).items() <= _files(listed).items():
            raise UserError(
                f"{self._name}/ has changes that would be lost; record them (`dvc add {self._name}`) "
                f"or give them up (`dvc checkout --force {self._name}`)."
            )

    def _require_inside(self) -> None:
        """Refuses a version that is not whole here, or whose list of files leads out of the folder."""
        listed = self._output.get_obj()
        for path in _files(listed) if listed else ():
            safe_join(self._folder, path)
        if not listed or not all(map(self._output.cache.exists, _files(listed).values())):
            raise FileNotFoundError(self.recorded.value)  # DVC tells of it at checkout only; `_absence` finds out what

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

    def _store(self) -> HashFileDB:
        store: HashFileDB = self._repo.cloud.get_remote_odb(self._remote, hash_name="md5")
        return store

    def _remote_url(self) -> str:
        config = self._repo.config
        settings = config["remote"].get(self._remote or config["core"].get("remote"), {})
        return " at ".join(settings[key] for key in ("url", "endpointurl") if key in settings)

    def _listed(self) -> Tree | None:
        """Returns the list of files of data.dvc; None if neither DVC's cache nor the remote has it."""
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


def folder_tree(folder: Path) -> Tree:
    """Lists every file of any folder with its MD5."""
    store = HashFileDB(localfs, "/")  # its path would have to be UTF-8; nothing is read or written there
    return _tree(store, str(folder.resolve()), localfs, FilesOnly())


def _tree(store: HashFileDB, path: str, fs: "FileSystem", ignore: Any) -> Tree:
    _, _, tree = build(store, path, fs, "md5", ignore=ignore, dry_run=True)
    if not isinstance(tree, Tree):
        raise UserError(f"{path}: not a folder; it must be a folder of photographs.")
    return tree


def _files(tree: Tree) -> dict[str, str]:
    """Returns the MD5 of each file by its path."""
    return {"/".join(key): md5.value for key, _, md5 in tree}
