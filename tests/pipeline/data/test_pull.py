"""Tests of fetching data/ by DVC: interrupted, refused, and from a clone that is damaged."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from model.utils.errors import UserError
from pipeline.data import versions as data
from tests.support.dvc_project import Project


def test_a_pull_that_was_interrupted_while_it_wrote_is_completed(
    project: Project, original: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        project.add(original.root / "data" / "mate-backgrounds" / "Dune.jpg", "mate-backgrounds/Dune.jpg")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("dvc.repo.Repo.checkout", interrupted)
        with pytest.raises(KeyboardInterrupt):
            data.ensure_data(project.root)
    assert len(project.photographs) == 1
    assert data.ensure_data(project.root) == data.DataVersion(original.version, 4)


def test_a_pull_that_was_refused_leaves_no_mark(project: Project, original: Project, photos: Path) -> None:
    project.add(photos / "scratch" / "Nature__tree.jpg", "own/tree.jpg")  # before the first pull
    before = data.ensure_data(project.root)
    assert (before.files, "1 added" in before.note or "lacks the list" in before.note) == (1, True)
    assert "data/ has changes that would be lost" in project.refusal("colorize", "data", "pull")
    assert data.ensure_data(project.root).version == before.version
    assert list(project.photographs) == ["own/tree.jpg"]
    project.forget()
    (project.root / ".dvc" / "remote").rename(project.root / "away")
    assert "there is no such folder" in project.refusal("colorize", "data", "pull")
    project.add(photos / "scratch" / "Nature__tree.jpg", "own/tree.jpg")
    assert data.ensure_data(project.root).version == before.version


def test_photographs_sorted_by_hand_stay_sorted(project: Project) -> None:
    data.ensure_data(project.root)
    (project.root / "data" / "dusk").mkdir()
    (project.root / "data" / "scratch" / "Nature__lake.jpg").rename(project.root / "data" / "dusk" / "lake.jpg")
    sorted_by_hand = project.photographs
    assert "0 changed, 1 added, 1 deleted" in data.ensure_data(project.root).note
    assert "data/ has changes that would be lost" in project.refusal("colorize", "data", "pull")
    assert project.photographs == sorted_by_hand


def test_deleted_photographs_come_back_with_a_pull(project: Project, original: Project) -> None:
    data.ensure_data(project.root)
    (project.root / "data" / "scratch" / "Nature__lake.jpg").unlink()
    project.run("colorize", "data", "pull")
    assert project.photographs == original.photographs


def test_a_missing_photograph_is_named(project: Project, original: Project) -> None:
    (project.root / original.stored("mate-backgrounds/Dune.jpg").relative_to(original.root)).unlink()
    line = project.refusal("colorize", "data", "pull")
    assert line.startswith("error: ")
    assert "it lacks data/mate-backgrounds/Dune.jpg;" in line
    assert "`colorize data push --remote sample`" in line


def test_a_missing_version_is_named(project: Project, original: Project) -> None:
    (project.root / original.stored("").relative_to(original.root)).unlink()
    assert f"it does not hold the version {original.version} of data.dvc" in project.refusal("colorize", "data", "pull")


def test_a_damaged_photograph_is_refused(project: Project, original: Project) -> None:
    stored = project.root / original.stored("mate-backgrounds/Dune.jpg").relative_to(original.root)
    stored.write_bytes(stored.read_bytes()[:-1])
    assert "data/mate-backgrounds/Dune.jpg" in project.refusal("colorize", "data", "pull")
    stored.write_bytes((original.root / "data" / "mate-backgrounds" / "Dune.jpg").read_bytes())
    project.run("colorize", "data", "pull")
    assert project.photographs == original.photographs


def test_a_version_that_leads_out_of_the_folder_is_refused(project: Project, original: Project) -> None:
    md5 = hashlib.md5(original.photographs["mate-backgrounds/Dune.jpg"]).hexdigest()
    listed = json.dumps([{"md5": md5, "relpath": name} for name in ("inside.jpg", "a/../../outside.jpg")]).encode()
    version = f"{hashlib.md5(listed).hexdigest()}.dir"
    stored = project.root / ".dvc" / "remote" / "files" / "md5" / version[:2] / version[2:]
    stored.parent.mkdir(exist_ok=True)
    stored.write_bytes(listed)
    tracked = project.root / "data.dvc"
    tracked.write_text(tracked.read_text().replace(original.version, version))
    assert "'a/../../outside.jpg' leads out of the folder" in project.refusal("colorize", "data", "version")
    assert "leads out of the folder" in project.refusal("colorize", "data", "pull")  # what is in the cache by now, too
    assert not list(project.root.parent.rglob("outside.jpg"))
    assert not (project.root / "data").exists()


@pytest.mark.parametrize(
    ("arrange", "sentence"),
    [
        (lambda root: (root / "data.dvc").unlink(), r"data.dvc: no such file; `dvc add data` creates it"),
        (lambda root: shutil.rmtree(root) or root.mkdir(), r"no clone of this repository; go to yours"),
        (lambda root: (root / "data.dvc").write_text("<<<<<<< HEAD\n"), r"data\.dvc"),
        (lambda root: (root / "data").write_text("no folder"), r"data: not a folder"),
        (lambda root: shutil.rmtree(root / ".dvc" / "remote"), r"there is no such folder"),
        (lambda root: shutil.rmtree(root / ".dvc"), r"not inside of a DVC repository"),
        (lambda root: (root / ".dvc" / "config").write_text("[core]\n    analytics = false\n"), "no remote specified"),
    ],
)
def test_a_broken_clone_is_explained_in_one_line(project: Project, arrange, sentence: str) -> None:
    arrange(project.root)
    with pytest.raises(UserError, match=sentence) as caught:
        data.ensure_data(project.root)
    assert "\n" not in str(caught.value)


def test_pull_refuses_to_overwrite_changes(project: Project, photos: Path) -> None:
    data.ensure_data(project.root)
    project.add(photos / "scratch" / "Nature__tree.jpg", "scratch/Nature__lake.jpg")
    before = project.photographs
    assert "data/ has changes that would be lost" in project.refusal("colorize", "data", "pull")
    assert project.photographs == before
