"""Tests of data/ with what is no photograph in it, as a link, and in a read-only checkout."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from components.shared.photos.folder import Folder
from pipeline.data import versions as data
from tests.support.dvc_project import Project


def test_what_is_no_file_is_passed_by_with_a_word(project: Project, original: Project, photos: Path) -> None:
    first = data.ensure_data(project.root).version
    folder = project.root / "data"
    (folder / "scratch" / "nowhere.jpg").symlink_to("gone.jpg")
    (folder / "itself.jpg").symlink_to("itself.jpg")
    (folder / "endless.jpg").symlink_to("/dev/zero")
    os.mkfifo(folder / "pipe.jpg")
    shutil.copy(photos / "scratch" / "Nature__tree.jpg", folder / os.fsdecode(b"caf\xe9.jpg"))
    odd = {path for path in folder.rglob("*") if not path.is_file() and not path.is_dir()}
    assert data.ensure_data(project.root) == data.DataVersion(original.version, 4, note="")
    assert data.folder_version(folder) == original.version

    project.git("checkout", "--quiet", "-b", "older")  # moving between versions goes through DVC's own checkout
    for path in odd:
        path.unlink()
    (folder / os.fsdecode(b"caf\xe9.jpg")).unlink()
    project.add(photos / "scratch" / "Nature__tree.jpg", "new/tree.jpg")
    project.record("A fifth")
    project.git("checkout", "--quiet", "main")
    os.mkfifo(folder / "pipe.jpg")
    (folder / "nowhere.jpg").symlink_to("gone.jpg")
    assert data.ensure_data(project.root).version == first
    said = project.attempt("colorize", "data", "version")
    assert first in said.stdout
    assert said.stderr.splitlines() == [
        "passed by: nowhere.jpg: a link that leads nowhere.",
        "passed by: pipe.jpg: neither a file nor a link to one.",
    ]


def test_a_dvcignore_among_the_photographs_has_no_effect_and_is_named(project: Project, original: Project) -> None:
    folder = project.root / "data"
    data.ensure_data(project.root)
    for place in (folder, folder / "scratch"):
        (place / ".dvcignore").write_text("*.jpg\nscratch/\n")
    assert data.ensure_data(project.root) == data.DataVersion(original.version, 4, note="")
    assert data.folder_version(folder) == original.version
    said = project.attempt("colorize", "data", "version").stderr.splitlines()
    words = "it excludes nothing; move what it names out of the folder."
    assert said == [f"passed by: .dvcignore: {words}", f"passed by: scratch/.dvcignore: {words}"]
    assert len(Folder(folder).listed("")) == 4
    (folder / "scratch" / "Nature__lake.jpg").write_bytes(b"changed")
    assert data.folder_version(folder) == data.ensure_data(project.root).version != original.version
    project.run("dvc", "add", "data")
    assert data.ensure_data(project.root).note == ""


def test_files_of_file_managers_do_not_change_the_version(project: Project) -> None:
    before = data.ensure_data(project.root)
    (project.root / "data" / ".DS_Store").write_bytes(b"\0")
    assert data.ensure_data(project.root) == before


def test_a_link_in_place_of_the_folder_is_followed_and_nothing_is_changed_there(
    project: Project, original: Project, photos: Path, tmp_path: Path
) -> None:
    data.ensure_data(project.root)
    folder, album = project.root / "data", tmp_path / "album"
    folder.rename(album)
    folder.symlink_to(album)
    assert data.ensure_data(project.root) == data.DataVersion(original.version, 4)
    project.run("colorize", "data", "pull")
    project.add(photos / "scratch" / "Nature__tree.jpg", "new/tree.jpg")
    before = project.photographs
    found = data.ensure_data(project.root)
    assert (found.files, "a link to" in found.note, "dvc add" in found.note) == (5, True, False)
    line = project.refusal("colorize", "data", "pull")
    assert f"data/ is a link to {album}, where nothing is changed; remove it to get" in line
    assert folder.is_symlink()
    assert project.photographs == before
    shutil.rmtree(album)
    assert f"data/ is a link to {album}, where no files are" in project.refusal("colorize", "data", "version")
    folder.unlink()
    project.run("colorize", "data", "pull")
    assert project.photographs == original.photographs


def test_a_link_to_another_recorded_version_is_not_moved(project: Project, photos: Path, tmp_path: Path) -> None:
    data.ensure_data(project.root)
    shutil.copytree(project.root / "data", tmp_path / "album")
    first = project.version
    project.add(photos / "scratch" / "Nature__tree.jpg", "scratch/Nature__tree.jpg")
    project.record("A fifth photograph")
    shutil.rmtree(project.root / "data")
    (project.root / "data").symlink_to(tmp_path / "album")
    assert data.ensure_data(project.root).version == first
    assert len(project.photographs) == 4


def test_a_read_only_checkout_is_used_as_it_is_and_what_it_lacks_lands_in_the_workspace(
    project: Project, original: Project, tmp_path: Path
) -> None:
    """As root, the commands give up CAP_DAC_OVERRIDE."""
    if not os.geteuid() and not shutil.which("setpriv"):
        pytest.skip("as root, permissions are shown with setpriv (Debian: util-linux)")
    user = () if os.geteuid() else ("setpriv", "--bounding-set", "-dac_override,-dac_read_search")
    colorize = (*user, str(Path(sys.executable).with_name("colorize")))
    project.environment["COLORIZE_WORKSPACE"] = str(tmp_path / "workspace")
    landed = tmp_path / "workspace" / "checkout" / "data"
    project.run("chmod", "-R", "a-w", ".")
    missing = project.attempt(*colorize, "data", "version")
    again = project.attempt(*colorize, "data", "version")
    project.run("chmod", "-R", "u+w", ".")
    assert missing.stdout == again.stdout == f"{original.version}, 4 files.\n", missing
    assert sum(path.is_file() for path in landed.rglob("*")) == 4
    assert not (project.root / "data").exists()

    shutil.copytree(landed, project.root / "data")
    (project.root / "data" / "scratch" / "Nature__lake.jpg").unlink()
    before = sorted(project.root.rglob("*"))
    project.run("chmod", "-R", "a-w", ".")
    changed = project.attempt(*colorize, "data", "version")
    refused = project.attempt(*colorize, "data", "pull")
    project.run("chmod", "-R", "u+w", ".")
    assert ", 3 files." in changed.stdout
    assert "data/ differs from data.dvc and is used as it is: the checkout is read-only." in changed.stderr
    assert refused.stderr.startswith(f"error: {project.root} is read-only;")
    assert sorted(project.root.rglob("*")) == before
