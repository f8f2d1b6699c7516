"""Test of README.md: each of its commands runs in a fresh clone. Only the recipe is smaller, to take seconds."""

import contextlib
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
import venv
from pathlib import Path

import pytest
import yaml

from tests.support.console import Terminal, commands
from tests.support.dvc_project import ROOT, bare_environment
from tests.support.patience import patience
from tests.support.small_run import SMALL

README = ROOT / "README.md"


@pytest.fixture
def clone(tmp_path: Path, photos: Path) -> Path:
    """Returns a clone with an environment of its own that finds the packages of this one, and two photographs."""
    folder = tmp_path / "colorize"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True, timeout=patience(120))
    venv.create(folder / ".venv", with_pip=False, symlinks=True)
    packages = folder / ".venv" / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    ours = [path for path in sys.path if path.endswith("site-packages")]
    (packages / "ours.pth").write_text("\n".join([str(folder), *ours, ""]), encoding="utf-8")
    program = folder / ".venv" / "bin" / "colorize"
    program.write_text(f"#!{folder}/.venv/bin/python\nfrom pipeline.cli.main import main\nmain()\n", encoding="utf-8")
    program.chmod(0o755)
    (folder / ".venv" / "ready").touch()
    small = {}
    for key, value in (each.split("=") for each in SMALL):
        *path, last = key.split(".")
        section = small
        for name in path:
            section = section.setdefault(name, {})
        section[last] = yaml.safe_load(value)
    (folder / "recipes" / "demo.yaml").write_text(yaml.safe_dump(small), encoding="utf-8")
    (folder / "album").mkdir()
    for name in ("old.jpg", "album/first.jpg"):
        shutil.copy(next((photos / "scratch").glob("*.jpg")), folder / name)
    return folder


def fetched(address: str, server: "subprocess.Popen[str]") -> str:
    """Returns the page at an address; asks again while the server is about to listen."""
    while server.poll() is None:
        with (
            contextlib.suppress(urllib.error.URLError),
            urllib.request.urlopen(address, timeout=patience(60)) as answer,
        ):
            return str(answer.read().decode())
        time.sleep(0.1)
    raise AssertionError("the server ended")


def served(clone: Path, command: str) -> str:
    """Starts the page as README says, but on a free port; returns it."""
    process = subprocess.Popen(
        [*command.partition("#")[0].split(), "--port", "0"],
        cwd=clone,
        env=bare_environment(clone.parent / "home"),
        stderr=subprocess.PIPE,
        text=True,
    )
    address: re.Match[str] | None = None
    try:
        assert process.stderr
        for line in process.stderr:
            address = re.search(r"http://127\.0\.0\.1:\d+", line) or address
            if address and "startup complete" in line:
                return fetched(address[0], process)
        raise AssertionError("the server ended")
    finally:
        process.terminate()
        process.communicate(timeout=patience(60))


def test_readme_is_short_and_has_no_command_outside_of_its_block() -> None:
    text = README.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 120
    assert text.count("```console") == 1
    assert not re.search(r"`(\.venv/bin/)?(colorize|make|docker|pip|python|dvc) [^`]*`", text)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_every_command_of_the_readme_runs(clone: Path) -> None:
    terminal = Terminal(clone, bare_environment(clone.parent / "home"))
    ran = []
    try:
        for command in commands(README):
            if " web" in command.text:
                assert "<html" in served(clone, command.text)
            else:
                status, printed = terminal.run(command.text)
                assert status == 0, f"$ {command.text}\n" + "\n".join(printed)
            ran.append(command.text.partition("#")[0].split())
    finally:
        terminal.close()
    assert len(ran) >= 4
    for stem in ("old", "first"):
        assert list((clone / "colored").glob(f"{stem}-colorized.*"))
    assert (clone / "workspace" / "latest" / "report.html").is_file()
