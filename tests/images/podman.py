"""Podman for tests, without a daemon, a registry or the system's store: all its files lie in one folder."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BASE = "localhost/base:bookworm"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_NEEDED = ("podman", "runc", "conmon", "debootstrap")


class Podman:
    """Runs Podman as root, with its images, containers and settings below `folder`."""

    def __init__(self, folder: Path) -> None:
        missing = [
            program for program in _NEEDED if shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin") is None
        ]
        assert os.geteuid() == 0, "podman builds from a debootstrap base here: run this as root"
        assert not missing, f"install {' '.join(missing)} (apt-get install)"
        self.folder = folder
        settings = {
            "containers.conf": (
                '[containers]\ndefault_ulimits = ["nofile=20000:20000", "nproc=4096:4096"]\n'
                '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
            ),
            "storage.conf": (
                f'[storage]\ndriver = "overlay"\ngraphroot = "{folder / "images"}"\nrunroot = "{folder / "run"}"\n'
            ),
        }
        for name, text in settings.items():
            (folder / name).write_text(text)
        (folder / "tmp").mkdir()
        self.environment = os.environ | {
            "CONTAINERS_CONF": str(folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
            "TMPDIR": str(folder / "tmp"),
        }

    def __call__(self, *arguments: str | Path, check: bool = True, timeout: float = 3600) -> str:
        """Runs podman and returns what it printed; its output ends up in the failure's message."""
        done = subprocess.run(
            ["podman", *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert not check or done.returncode == 0, f"podman {arguments}: {done.returncode}\n{done.stdout[-6000:]}"
        return done.stdout

    def make_base(self) -> None:
        """Makes a base image of Debian with Python alone, in place of one from a registry."""
        root = self.folder / "debian"
        packages = "--include=ca-certificates,python3,python3-venv"
        environment = os.environ | {"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
        subprocess.run(
            ["debootstrap", "--variant=minbase", packages, "bookworm", root],
            check=True,
            env=environment,
            stdout=subprocess.DEVNULL,
        )
        with subprocess.Popen(["tar", "-C", root, "-c", "."], stdout=subprocess.PIPE) as archive:
            subprocess.run(["podman", "import", "-", BASE], stdin=archive.stdout, check=True, env=self.environment)
        shutil.rmtree(root)

    def size(self, image: str) -> int:
        """Returns the bytes of all layers together."""
        return int(self("image", "inspect", "--format", "{{.Size}}", image).strip())

    @contextmanager
    def service(self) -> Iterator[str]:
        """Serves Podman's imitation of Docker's API; yields its address."""
        socket = self.folder / "api.sock"
        with (self.folder / "service.log").open("w") as log:
            process = subprocess.Popen(
                ["podman", "system", "service", "--time=0", f"unix://{socket}"],
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        try:
            deadline = time.monotonic() + 30
            while not socket.exists():
                assert process.poll() is None, (self.folder / "service.log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.1)
            yield f"unix://{socket}"
        finally:
            process.terminate()
            process.wait()

    def remove(self) -> None:
        """Removes everything, mounts included."""
        self("rm", "--all", "--force", "--time=0", check=False)
        for mount in reversed(Path("/proc/mounts").read_text().splitlines()):
            if mount.split()[1].startswith(f"{self.folder}/"):
                subprocess.run(["umount", "--lazy", mount.split()[1]], check=False)
        shutil.rmtree(self.folder)
