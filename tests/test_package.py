"""Tests of the package that a clone makes: each group in an environment of its own, commands without a checkout."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import ROOT
from tests.support.dvc_project import bare_environment
from tests.test_readme import fetched

UV = Path(sys.executable).with_name("uv")
HASHES = "from components.images.hashes import code_version; print(code_version('train'), code_version('preprocess'))"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


def run(*command: str | Path, **options: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload, no-any-return]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Builds the package from a clone, which has no champion/."""
    clone, out = tmp_path_factory.mktemp("clone") / "colorize", tmp_path_factory.mktemp("wheel")
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    done = run(UV, "build", "--wheel", "--no-build-isolation", "--python", sys.executable, "--out-dir", out, clone)
    assert done.returncode == 0, done.stderr
    (built,) = out.glob("*.whl")
    assert built.stat().st_size < 20e6
    return built


class Installed:
    """Holds an environment with the package and the packages of one group, and an empty folder to work in."""

    def __init__(self, wheel: Path, group: str, folder: Path) -> None:
        self.bin, self.here = folder / "venv" / "bin", folder / "here"
        self.here.mkdir()
        self.environment = bare_environment(folder / "home")
        for name in [name for name in self.environment if name.startswith(("COLORIZE", "MLFLOW", "PYTHONPATH"))]:
            del self.environment[name]
        self.data = folder / "home" / ".local" / "share" / "colorize"
        lock = ROOT / "requirements" / f"{group}.txt"
        for command in (
            ("venv", "--python", sys.executable, folder / "venv"),
            ("pip", "sync", "--python", self.bin / "python", "--require-hashes", lock),
            ("pip", "install", "--python", self.bin / "python", "--no-deps", wheel),
        ):
            done = run(UV, *command)
            assert done.returncode == 0, done.stderr

    def colorize(self, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
        return run(self.bin / "colorize", *arguments, cwd=self.here, env=self.environment)

    def refusal(self, *arguments: str) -> str:
        """Runs a command that must fail with one line; returns that line."""
        done = self.colorize(*arguments)
        assert done.returncode == 1, done
        (line,) = done.stderr.splitlines()
        return line


def test_the_group_serve_colors_and_shows_the_page(wheel: Path, tmp_path: Path, photos: Path) -> None:
    serve = Installed(wheel, "serve", tmp_path)
    commit = run("git", "-C", ROOT, "rev-parse", "HEAD").stdout.strip()
    assert commit in serve.colorize("--version").stdout
    shutil.copy(next((photos / "scratch").glob("*.jpg")), serve.here / "old.jpg")
    done = serve.colorize("photo", "old.jpg", "--out", "colored")
    assert done.returncode == 0, done.stderr
    assert list((serve.here / "colored").glob("old-colorized.*"))
    assert (serve.data / "mlflow.db").is_file()
    assert {path.name for path in serve.here.iterdir()} == {"old.jpg", "colored"}

    web = [serve.bin / "colorize", "web", "--port", "0"]
    server = subprocess.Popen(web, cwd=serve.here, env=serve.environment, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stderr
        line = next(line for line in server.stderr if "http://127.0.0.1:" in line)
        assert "<html" in fetched(re.search(r"http://127\.0\.0\.1:\d+", line)[0], server)  # type: ignore[index]
    finally:
        server.terminate()
        server.communicate(timeout=60)

    for command in (("submit",), ("schedule",)):
        assert "install the group cluster (docs/install.md)" in serve.refusal(*command)
    assert "without --photos FOLDER works in a checkout" in serve.refusal("run")


def test_the_group_cluster_speaks_to_a_cluster(wheel: Path, tmp_path: Path) -> None:
    cluster = Installed(wheel, "cluster", tmp_path)
    done = cluster.colorize("submit", "--dry-run", "--recipe", "demo")
    assert done.returncode == 0, done.stderr
    assert "display_name:" in done.stdout
    for command in (("follow", "x"), ("schedule", "diff")):
        said = cluster.refusal(*command, "--host", "http://127.0.0.1:9")
        assert said.startswith("error: Kubeflow Pipelines at http://127.0.0.1:9 cannot be reached")
    assert "has no model" in cluster.refusal("models")
    assert "install the group serve (docs/install.md)" in cluster.refusal("photo", "old.jpg", "--out", "colored")
    for command in (("compile",), ("images", "build"), ("data", "pull")):
        assert "works in a checkout" in cluster.refusal(*command)
    here = run(sys.executable, "-c", HASHES, cwd=ROOT).stdout
    assert here
    assert run(cluster.bin / "python", "-c", HASHES, cwd=cluster.here, env=cluster.environment).stdout == here
