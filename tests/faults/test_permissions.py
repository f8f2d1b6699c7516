"""What may not be read or written. Root may do all, so as root the run does without that right (CAP_DAC_OVERRIDE).

The tests tell one story, in one workspace, in their order.
"""

import os
import shutil
from pathlib import Path

import pytest

from tests.faults.rig import Rig, require_clean
from tests.faults.soundness import require_sound

AGAIN = "then run the same command again to resume."


@pytest.fixture(scope="module")
def meek(tmp_path_factory: pytest.TempPathFactory, few: Path) -> Rig:
    """A run that has to ask, with photographs of its own."""
    folder = tmp_path_factory.mktemp("meek")
    rig = Rig(folder, Path(shutil.copytree(few, folder / "photos")))
    if not os.geteuid():
        if not shutil.which("setpriv"):
            pytest.skip("as root, permissions are shown with setpriv (Debian: util-linux)")
        rig.prefix = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search")
    return rig


def test_photographs_that_may_not_be_read(meek: Rig) -> None:
    assert meek.photos
    meek.photos.chmod(0)
    run = meek.run()
    meek.photos.chmod(0o755)
    assert run.status == 2
    assert "readable" in run.output, run.output
    photograph = min(meek.photos.iterdir())
    photograph.chmod(0)
    run = meek.run()
    photograph.chmod(0o644)
    require_clean(run)
    assert run.last_line == f"error: {photograph}: Permission denied; give the user who runs this access, {AGAIN}"
    assert not list(meek.workspace.glob("pipeline/*/*"))


def test_a_workspace_that_may_not_be_written(meek: Rig) -> None:
    shutil.rmtree(meek.workspace)
    meek.workspace.mkdir(0o555)
    run = meek.run()
    require_clean(run)
    assert run.last_line.startswith(f"error: {meek.workspace}")
    assert run.last_line.endswith(f": Permission denied; give the user who runs this access, {AGAIN}")
    meek.workspace.chmod(0o755)
    assert meek.run().status == 0

    for name in ("pipeline", "checkpoints", "cache"):
        (meek.workspace / name).chmod(0o555)
        run = meek.run("train.seed=1")
        (meek.workspace / name).chmod(0o755)
        require_clean(run)
        assert run.last_line.startswith(f"error: {meek.workspace / name}"), run.output
        assert run.last_line.endswith(AGAIN)

    database = meek.workspace / "mlflow.db"
    database.chmod(0o400)
    run = meek.run()
    database.chmod(0o644)
    require_clean(run, "inspect", "train", "evaluate", "register")
    assert "cannot be used (readonly database); give the user who runs this write access, and start" in run.last_line

    latest = meek.workspace / "latest" / "report.html"
    latest.chmod(0o400)
    run = meek.run()
    latest.chmod(0o644)
    require_clean(run)
    assert run.last_line == f"error: {latest}: Permission denied; give the user who runs this access, {AGAIN}"
    require_sound(meek.workspace)
    again = meek.run()
    assert again.status == 0, again.output
    assert meek.aliases() == {"challenger": 1, "champion": 1}
