"""Fixtures: the images, built once for all tests in a temporary store."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline import ROOT
from pipeline.cluster.images import IMAGES
from tests.images.podman import BASE, CERTIFICATES, Podman

TAG = "check"
USER = 1000
REPORT: list[str] = []


@pytest.fixture(scope="session")
def podman() -> Iterator[Podman]:
    """Yields Podman with a base image; its store of some 25 GB lies below TMPDIR."""
    podman = Podman(Path(tempfile.mkdtemp(prefix="images-")))
    try:
        podman.make_base()
        yield podman
    finally:
        podman.remove()


@pytest.fixture(scope="session")
def images(podman: Podman) -> dict[str, str]:
    """Builds the image of each target; sizes and times stand at the end of pytest's report."""
    built = {}
    for target, name in IMAGES.items():
        started = time.monotonic()
        built[target] = f"localhost/{name}:{TAG}"
        podman(
            "build", "--format=docker", "--network=host", "--isolation=oci", "--runtime=runc",
            f"--volume={CERTIFICATES}:/run/certificates.crt:ro", "--build-arg=SSL_CERT_FILE=/run/certificates.crt",
            f"--build-arg=BASE={BASE}", f"--build-arg=REVISION={TAG}",
            "--file", ROOT / "components" / "images" / "Dockerfile", "--target", target, "--tag", built[target], ROOT,
        )  # fmt: skip
        seconds = time.monotonic() - started
        REPORT.append(f"{built[target]}: {podman.size(built[target]) / 1e6:.0f} MB, built in {seconds:.0f} s")
    return built


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in REPORT:
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def few_photos(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> Path:
    """Returns a folder of real photographs that the images' user can read."""
    folder = tmp_path_factory.mktemp("photos")
    folder.chmod(0o755)
    for photograph in sorted((photos / "scratch").iterdir()):
        shutil.copy(photograph, folder)
    return folder


@pytest.fixture(scope="module")
def mount(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a folder that the images' user may write to."""
    folder = tmp_path_factory.mktemp("mount")
    os.chown(folder, USER, USER)
    return folder
