"""Tests of data/ under DVC: fetching, versions, changes, pushing, and errors, with a real S3 server."""

import hashlib
import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from components.shared.photos.folder import Folder
from model.utils.errors import UserError
from pipeline.data import versions as data
from tests.support.dvc_project import Project
from tests.support.s3 import S3Server


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> Project:
    return Project.create(tmp_path_factory.mktemp("original"), photos)


@pytest.fixture
def project(original: Project, tmp_path: Path) -> Project:
    """Returns a fresh clone, whose photographs are only in .dvc/remote."""
    return original.clone(tmp_path)


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


def test_an_unknown_remote_is_named(project: Project) -> None:
    assert "'nowhere'" in project.refusal("colorize", "data", "push", "--remote", "nowhere")


def test_pushing_photographs_missing_from_the_cache_is_refused(project: Project) -> None:
    data.ensure_data(project.root)
    shutil.rmtree(project.root / ".dvc" / "cache")
    project.run("dvc", "remote", "add", "elsewhere", str(project.root.parent / "elsewhere"))
    assert "DVC's cache here lacks" in project.refusal("colorize", "data", "push", "--remote", "elsewhere")


# A cluster's remote, in .dvc/config.local.


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


# S3, with a real server.


@pytest.fixture
def on_s3(project: Project, s3: S3Server, request: pytest.FixtureRequest) -> Project:
    """Returns a clone with its photographs, whose default remote is a folder of its own in a bucket."""
    data.ensure_data(project.root)
    project.run("dvc", "remote", "add", "--default", "storage", f"s3://{s3.bucket}/{request.node.name}")
    project.run("dvc", "remote", "modify", "storage", "endpointurl", s3.endpoint)
    project.environment |= s3.environment
    return project


def _object(s3: S3Server, project: Project, original: Project, path: str) -> dict[str, str]:
    """Returns the bucket and the key of a photograph."""
    key = original.stored(path).relative_to(original.root / ".dvc" / "remote")
    folder = (project.root / ".dvc" / "config").read_text().split(f"s3://{s3.bucket}/")[1].split()[0]
    return {"Bucket": s3.bucket, "Key": f"{folder}/{key.as_posix()}"}


def test_publish_to_s3_records_the_latest_version(on_s3: Project, s3: S3Server, request: pytest.FixtureRequest) -> None:
    assert on_s3.version in on_s3.run("colorize", "data", "publish")
    latest = s3.client().get_object(Bucket=s3.bucket, Key=f"{request.node.name}/latest")
    assert latest["Body"].read().decode() == f"{on_s3.version}\n"
    assert "pushed 0 new files" in on_s3.run("colorize", "data", "push")


def test_photographs_pushed_to_s3_can_be_pulled_again(on_s3: Project, original: Project, photos: Path) -> None:
    assert "pushed 5 new files" in on_s3.run("colorize", "data", "push")
    assert "pushed 0 new files" in on_s3.run("colorize", "data", "push")
    on_s3.forget()
    assert "fetched 5 files" in on_s3.run("colorize", "data", "pull")
    assert on_s3.photographs == original.photographs

    on_s3.add(photos / "scratch" / "Nature__tree.jpg", "scratch/Nature__tree.jpg")
    on_s3.record("A fifth photograph")
    on_s3.git("checkout", "--quiet", "HEAD~1", "data.dvc")
    on_s3.forget()
    on_s3.run("dvc", "pull")  # plain DVC can fetch them too
    assert on_s3.photographs == original.photographs


def test_a_wrong_s3_key_is_named(on_s3: Project, s3: S3Server) -> None:
    for command, variable in (("push", "AWS_ACCESS_KEY_ID"), ("pull", "AWS_SECRET_ACCESS_KEY")):
        on_s3.environment |= s3.environment | {variable: "wrong"}
        line = on_s3.refusal("colorize", "data", command)
        assert f"at {s3.endpoint}: access refused; check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in line
        on_s3.forget()


def test_a_missing_s3_key_is_named(on_s3: Project) -> None:
    del on_s3.environment["AWS_SECRET_ACCESS_KEY"], on_s3.environment["AWS_ACCESS_KEY_ID"]
    line = on_s3.refusal("colorize", "data", "push")
    assert "no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment" in line


def test_a_missing_s3_bucket_is_named(on_s3: Project, s3: S3Server) -> None:
    on_s3.run("dvc", "remote", "modify", "storage", "url", "s3://no-such-bucket/colorize")
    for command in ("push", "pull"):
        line = on_s3.refusal("colorize", "data", command)
        assert f"s3://no-such-bucket/colorize at {s3.endpoint}: there is no bucket named no-such-bucket" in line
        on_s3.forget()


def test_missing_and_damaged_s3_objects_are_named(on_s3: Project, original: Project, s3: S3Server) -> None:
    on_s3.run("colorize", "data", "push")
    dune = _object(s3, on_s3, original, "mate-backgrounds/Dune.jpg")
    on_s3.forget()
    s3.client().put_object(**dune, Body=b"damaged")
    assert "it has a damaged copy of data/mate-backgrounds/Dune.jpg;" in on_s3.refusal("colorize", "data", "pull")
    s3.client().delete_object(**dune)
    assert "it lacks data/mate-backgrounds/Dune.jpg;" in on_s3.refusal("colorize", "data", "pull")
    s3.client().delete_object(**_object(s3, on_s3, original, ""))
    on_s3.forget()
    assert f"it does not hold the version {original.version}" in on_s3.refusal("colorize", "data", "pull")


def test_an_unreachable_s3_server_is_named(on_s3: Project) -> None:
    on_s3.environment["AWS_MAX_ATTEMPTS"] = "1"  # DVC itself still retries five times
    on_s3.forget()
    on_s3.run("dvc", "remote", "modify", "storage", "endpointurl", "http://127.0.0.1:9")
    line = on_s3.refusal("colorize", "data", "pull")
    assert "at http://127.0.0.1:9: it cannot be reached" in line
