"""Tests of the version of data/ under DVC: what it depends on, and how the folder follows it."""

import json
import shutil
from pathlib import Path

from pipeline.data import versions as data
from tests.support.dvc_project import Project


def test_missing_photographs_are_fetched_from_the_remote_in_the_repository(project: Project, original: Project) -> None:
    found = data.ensure_data(project.root)
    assert found == data.DataVersion(original.version, 4, note="")
    assert project.photographs == original.photographs
    assert data.ensure_data(project.root) == found
    assert project.git("status", "--porcelain") == ""


def test_a_folder_outside_git_is_supported(project: Project, original: Project) -> None:
    shutil.rmtree(project.root / ".git")
    assert data.ensure_data(project.root).version == original.version
    assert project.photographs == original.photographs


def test_nothing_is_written_outside_the_clone(project: Project, tmp_path: Path) -> None:
    before = {path for path in tmp_path.rglob("*") if project.root not in path.parents}
    del project.environment["DVC_SITE_CACHE_DIR"]
    project.environment["HOME"] = str(tmp_path / "nowhere")
    project.run("colorize", "data", "version")
    assert {path for path in tmp_path.rglob("*") if project.root not in path.parents} == before
    assert (project.root / ".dvc" / "tmp" / "site").is_dir()


def test_changed_photographs_are_kept_and_get_a_version_of_their_own_with_a_note(
    project: Project, photos: Path
) -> None:
    recorded = data.ensure_data(project.root).version
    (project.root / "data" / "mate-backgrounds" / "Dune.jpg").unlink()
    project.add(photos / "mate-backgrounds" / "Storm.jpg", "scratch/Nature__lake.jpg")
    project.add(photos / "scratch" / "Nature__tree.jpg", "new/tree.jpg")
    project.add(photos / "scratch" / "Nature__hill.jpg", "new/hill.jpg")
    as_it_is = project.photographs

    found = data.ensure_data(project.root)
    assert found.version != recorded
    assert found.files == 5
    assert "1 changed, 2 added, 1 deleted" in found.note
    assert "`dvc add data`" in found.note
    assert project.photographs == as_it_is

    project.run("dvc", "add", "data")
    assert project.version == found.version == data.folder_version(project.root / "data")
    assert data.ensure_data(project.root).note == ""


def test_the_version_is_also_printed_as_json(project: Project, original: Project) -> None:
    assert data.expected_version(project.root) == original.version
    assert not (project.root / "data").exists(), "nothing is fetched to tell what would be"
    shown = json.loads(project.run("colorize", "data", "version", "--json"))
    assert shown == {"version": original.version, "files": 4, "note": ""}
    (project.root / "data" / "mate-backgrounds" / "Dune.jpg").unlink()
    changed = json.loads(project.run("colorize", "data", "version", "--json"))
    assert changed["version"] == data.expected_version(project.root) != original.version
    assert "1 deleted" in changed["note"]


def test_renaming_a_photograph_changes_the_version(project: Project) -> None:
    before = data.ensure_data(project.root)
    folder = project.root / "data" / "scratch"
    (folder / "Nature__lake.jpg").rename(folder / "lake.jpg")
    after = data.ensure_data(project.root)
    assert after.version != before.version
    assert "0 changed, 1 added, 1 deleted" in after.note


def test_the_folder_follows_data_dvc_through_versions(project: Project, photos: Path) -> None:
    first = data.ensure_data(project.root).version
    first_photographs = project.photographs
    project.add(photos / "scratch" / "Nature__tree.jpg", "scratch/Nature__tree.jpg")
    project.record("A fifth photograph")
    assert data.ensure_data(project.root).files == 5

    project.git("checkout", "--quiet", "HEAD~1", "data.dvc")
    found = data.ensure_data(project.root)
    assert found.version == first
    assert "another version that DVC keeps" in found.note
    assert project.photographs == first_photographs
