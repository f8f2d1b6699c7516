"""Tests of pushing to a remote beside the default one, with a champion."""

import shutil
from pathlib import Path

import pytest

from pipeline.data import versions as data
from tests.support.dvc_project import Project


def test_an_unknown_remote_is_named(project: Project) -> None:
    assert "'nowhere'" in project.refusal("colorize", "data", "push", "--remote", "nowhere")


def test_pushing_photographs_missing_from_the_cache_is_refused(project: Project) -> None:
    data.ensure_data(project.root)
    shutil.rmtree(project.root / ".dvc" / "cache")
    project.run("dvc", "remote", "add", "elsewhere", str(project.root.parent / "elsewhere"))
    assert "DVC's cache here lacks" in project.refusal("colorize", "data", "push", "--remote", "elsewhere")


@pytest.fixture
def with_champion(project: Project, tmp_path: Path) -> Project:
    """Returns a fresh clone of a project that has a champion, and a remote `cluster` that git does not see."""
    (project.root / "champion").mkdir()
    (project.root / "champion" / "generator.json").write_text("{}")
    project.run("dvc", "add", "--quiet", "champion")
    data.ensure_data(project.root)
    project.record("A champion")
    clone = project.clone(tmp_path / "clone")
    (tmp_path / "cluster").mkdir()
    clone.run("dvc", "remote", "add", "--local", "cluster", str(tmp_path / "cluster"))
    return clone


def test_a_push_to_a_cluster_takes_the_champion_along_and_changes_no_tracked_file(with_champion: Project) -> None:
    assert with_champion.run("colorize", "data", "push", "--remote", "cluster").splitlines() == [
        "The remote has the version of data.dvc; pushed 5 new files.",
        "The remote has the version of champion.dvc; pushed 2 new files.",
    ]
    assert with_champion.git("status", "--porcelain") == ""
    with_champion.forget()
    shutil.rmtree(with_champion.root / "champion")
    with_champion.run("dvc", "pull", "--remote", "cluster")
    assert (with_champion.root / "champion" / "generator.json").read_text() == "{}"


def test_a_champion_that_the_default_remote_lacks_comes_from_another(with_champion: Project) -> None:
    with_champion.run("dvc", "remote", "default", "--local", "cluster")
    data.ensure_data(with_champion.root, "champion")
    assert (with_champion.root / "champion" / "generator.json").is_file()
    assert with_champion.run("colorize", "data", "push").count("The remote has") == 2
    shutil.rmtree(with_champion.root / ".dvc" / "remote")
    with_champion.forget()
    with_champion.run("colorize", "data", "pull")


def test_the_advice_for_a_version_that_a_remote_lacks_works(with_champion: Project) -> None:
    line = with_champion.refusal("colorize", "data", "pull", "--remote", "cluster")
    assert "fetch it from sample (`dvc pull data.dvc --remote ...`), or push it from a clone that has it (`" in line
    with_champion.run("dvc", "pull", "--quiet", "data.dvc", "--remote", "sample")
    with_champion.run("colorize", "data", "push", "--remote", "cluster")
    with_champion.run("colorize", "data", "pull", "--remote", "cluster")


def test_a_champion_that_is_here_needs_no_remote(with_champion: Project) -> None:
    found = data.ensure_data(with_champion.root, "champion")
    with_champion.run("dvc", "remote", "default", "--local", "cluster")
    assert data.ensure_data(with_champion.root, "champion") == found
    with_champion.run("dvc", "remote", "default", "--unset")
    with_champion.run("dvc", "remote", "default", "--local", "--unset")
    shutil.rmtree(with_champion.root / ".dvc" / "remote")
    assert data.ensure_data(with_champion.root, "champion") == found
