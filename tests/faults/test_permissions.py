"""Tests of missing permissions to read and write; as root, the run gives up CAP_DAC_OVERRIDE.

The tests share one workspace and run in their order.
"""

import os
import shutil
from pathlib import Path

import pytest

from tests.faults.rig import Rig, require_clean
from tests.faults.soundness import require_sound

AGAIN = "then run the same command again to resume."


@pytest.fixture(scope="module")
def unprivileged(tmp_path_factory: pytest.TempPathFactory, few: Path) -> Rig:
    """Returns a rig without root's rights, with a copy of the photographs."""
    folder = tmp_path_factory.mktemp("unprivileged")
    rig = Rig(folder, Path(shutil.copytree(few, folder / "photos")))
    if not os.geteuid():
        if not shutil.which("setpriv"):
            pytest.skip("as root, permissions are shown with setpriv (Debian: util-linux)")
        rig.prefix = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search")
    return rig


def test_unreadable_photographs_are_named(unprivileged: Rig) -> None:
    assert unprivileged.photos
    unprivileged.photos.chmod(0)
    run = unprivileged.run()
    unprivileged.photos.chmod(0o755)
    assert run.status == 2
    assert "readable" in run.output, run.output
    photograph = min(unprivileged.photos.iterdir())
    photograph.chmod(0)
    run = unprivileged.run()
    photograph.chmod(0o644)
    require_clean(run)
    assert run.last_line == f"error: {photograph}: Permission denied; give the user who runs this access, {AGAIN}"
    assert not list(unprivileged.workspace.glob("pipeline/*/*"))


def test_an_unwritable_workspace_is_named_and_the_run_resumes_with_access(unprivileged: Rig) -> None:
    shutil.rmtree(unprivileged.workspace, ignore_errors=True)
    unprivileged.workspace.mkdir(0o555)
    run = unprivileged.run()
    require_clean(run)
    advice = "set COLORIZE_WORKSPACE to a folder that you may write to."
    assert run.last_line == f"error: {unprivileged.workspace}: Permission denied; {advice}"
    unprivileged.workspace.chmod(0o755)
    assert unprivileged.run().status == 0

    for name in ("pipeline", "checkpoints", "cache"):
        (unprivileged.workspace / name).chmod(0o555)
        run = unprivileged.run("train.seed=1")
        (unprivileged.workspace / name).chmod(0o755)
        require_clean(run)
        assert run.last_line.startswith(f"error: {unprivileged.workspace / name}"), run.output
        assert run.last_line.endswith(AGAIN)

    database = unprivileged.workspace / "mlflow.db"
    database.chmod(0o400)
    run = unprivileged.run()
    database.chmod(0o644)
    require_clean(run, "resolve")
    assert "cannot be used (readonly database); give the user who runs this write access, and run" in run.last_line

    latest = unprivileged.workspace / "latest"
    latest.chmod(0o555)
    run = unprivileged.run()
    latest.chmod(0o755)
    require_clean(run)
    assert run.last_line.startswith(f"error: {latest}/"), run.output
    assert run.last_line.endswith(f": Permission denied; give the user who runs this access, {AGAIN}")
    require_sound(unprivileged.workspace)
    again = unprivileged.run()
    assert again.status == 0, again.output
    assert unprivileged.aliases() == {"challenger": 1, "champion": 1}
