"""A small DVC project of real photographs in a temporary folder, and commands run in it as a user would."""

import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.patience import patience

ROOT = Path(__file__).resolve().parents[2]
PHOTOGRAPHS = (
    "scratch/Nature__canyon.jpg",
    "scratch/Nature__lake.jpg",
    "mate-backgrounds/Dune.jpg",
    "lxqt-themes/flowers.jpg",
)


def bare_environment(home: Path) -> dict[str, str]:
    """Returns this process's environment without its credentials, its git user and its DVC settings."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "DVC_", "GIT_"))}
    return {
        **ours,
        "HOME": str(home),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "DVC_SITE_CACHE_DIR": str(home / "dvc-site"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), ours.get("PATH", "")]),
    }


@dataclass
class Project:
    """Manages a git and DVC repository set up like this one: data/, data.dvc, the default remote .dvc/remote."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)

    @classmethod
    def create(cls, folder: Path, photos: Path) -> "Project":
        (folder / "home").mkdir(parents=True)
        project = cls(folder / "project", bare_environment(folder / "home"))
        (project.root / ".dvc").mkdir(parents=True)
        for file in (".dvc/config", ".dvc/.gitignore", ".dvcignore", ".gitattributes"):
            shutil.copyfile(ROOT / file, project.root / file)
        for photograph in PHOTOGRAPHS:
            project.add(photos / photograph, photograph)
        project.git("init", "--quiet", "--initial-branch=main")
        project.record("Four photographs")
        return project

    def clone(self, folder: Path) -> "Project":
        """Clones the project as a colleague would: git's files and nothing of DVC's cache."""
        self.git("clone", "--quiet", str(self.root), str(folder / "project"))
        return Project(folder / "project", {**self.environment, "DVC_SITE_CACHE_DIR": str(folder / "site")})

    @property
    def photographs(self) -> dict[str, bytes]:
        data = self.root / "data"
        return {str(path.relative_to(data)): path.read_bytes() for path in sorted(data.rglob("*")) if path.is_file()}

    @property
    def version(self) -> str:
        """Returns the MD5 in data.dvc."""
        return (self.root / "data.dvc").read_text().split("md5: ")[1].split()[0]

    def add(self, source: Path, name: str) -> None:
        target = self.root / "data" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)

    def record(self, message: str) -> None:
        """Records a new version of the data: adds, pushes to the default remote, commits."""
        self.run("dvc", "add", "--quiet", "data")
        self.run("dvc", "push", "--quiet")
        self.git("add", "--all")
        self.git("-c", "user.name=T", "-c", "user.email=t@example.org", "commit", "--quiet", "-m", message)

    def forget(self) -> None:
        """Removes the photographs and the cache, as after a fresh clone."""
        shutil.rmtree(self.root / ".dvc" / "cache", ignore_errors=True)
        shutil.rmtree(self.root / "data", ignore_errors=True)

    def stored(self, path: str) -> Path:
        """Returns the default remote's copy of a photograph, or of the list of all for ""; makes it writable."""
        md5 = hashlib.md5((self.root / "data" / path).read_bytes()).hexdigest() if path else self.version
        file = self.root / ".dvc" / "remote" / "files" / "md5" / md5[:2] / md5[2:]
        file.chmod(0o644)
        return file

    def git(self, *arguments: str) -> str:
        return self.run("git", *arguments)

    def run(self, *command: str, seconds: float = 120) -> str:
        """Runs a command that must succeed; returns what it prints."""
        done = self.attempt(*command, seconds=seconds)
        assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}{done.stderr}"
        return done.stdout

    def attempt(self, *command: str, seconds: float = 120) -> subprocess.CompletedProcess[str]:
        if command[0] == "dvc":
            command = (sys.executable, "-m", *command)
        return subprocess.run(
            command,
            cwd=self.root,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=patience(seconds),
            check=False,
        )

    def refusal(self, *command: str) -> str:
        """Runs a command that must fail with one line; returns that line."""
        done = self.attempt(*command)
        assert done.returncode == 1, done
        assert done.stdout == ""
        (line,) = done.stderr.splitlines()
        return line
