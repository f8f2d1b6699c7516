"""Tests of the images as a cluster runs them: not as root, read-only except for the mounts, without network."""

import base64
import copy
import io
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import grimp
import pytest
from docker.types import Mount
from kfp import local
from PIL import Image

from components.images.hashes import code_version
from components.shared.machine.pipeline_run import RUN_ID
from components.shared.machine.workspace import VARIABLE
from components.shared.mlflow import registry
from components.shared.step import JOURNAL
from pipeline import ROOT
from pipeline.cluster.images import IMAGES
from pipeline.local import run as local_run
from pipeline.variants import Variants
from tests.images.conftest import TAG, USER
from tests.images.podman import Podman
from tests.support.small_run import SMALL

pytestmark = [pytest.mark.images, pytest.mark.timeout(3600)]
CONFINED = (
    "--network=none", "--read-only", "--read-only-tmpfs=false", "--tmpfs=/tmp", "--cap-drop=ALL",
    "--security-opt=no-new-privileges", "--memory=4g", "--env=OMP_NUM_THREADS=2",
)  # fmt: skip
TARGETS = pytest.mark.parametrize("target", IMAGES)
TOOLS = ("gcc", "cc", "ld", "make", "git", "uv")


class Steps:
    """Runs commands in the images, with photographs to read and one folder to write to."""

    def __init__(self, podman: Podman, images: dict[str, str], photos: Path, mount: Path) -> None:
        self.podman, self.images, self.photos, self.mount = podman, images, photos, mount
        self.volumes = [f"--volume={self.photos}:{self.photos}:ro", f"--volume={self.mount}:{self.mount}"]

    def run(self, target: str, *command: str | Path, check: bool = True) -> str:
        given = (*self.volumes, f"--env={VARIABLE}={self.mount}")
        return self.podman(
            "run", "--rm", "--no-healthcheck", *CONFINED, *given, self.images[target], *command, check=check
        )


@pytest.fixture(scope="module")
def steps(podman: Podman, images: dict[str, str], few_photos: Path, mount: Path) -> Steps:
    return Steps(podman, images, few_photos, mount)


@TARGETS
def test_an_image_runs_as_a_plain_user_and_has_no_build_tools(steps: Steps, target: str) -> None:
    assert steps.run(target, "id", "-u").strip() == str(USER)
    found = [tool for tool in TOOLS if steps.run(target, "sh", "-c", f"command -v {tool} || true").strip()]
    assert found == []
    labels = steps.podman("image", "inspect", "--format", "{{.Labels}}", steps.images[target])
    assert f"org.opencontainers.image.revision:{TAG}" in labels
    assert "org.opencontainers.image.title:" in labels


@TARGETS
@pytest.mark.parametrize("place", ["/app", "/opt/colorize", "/var/tmp", "/run", "/"])
def test_folders_outside_the_mounts_are_read_only(steps: Steps, target: str, place: str) -> None:
    assert "Read-only file system" in steps.run(target, "touch", f"{place}/written", check=False)


@TARGETS
def test_an_image_knows_its_code_and_refuses_a_run_that_was_submitted_with_other_code(
    steps: Steps, target: str
) -> None:
    written = json.loads(steps.run(target, "cat", "/app/image.json"))
    assert written["git_commit"] == TAG
    assert written["code"] == {folder: code_version(folder) for folder in written["code"]}
    program = (
        "import sys; from components.shared.step import step\nwith step('train', train=sys.argv[1]): print('at work')"
    )
    assert steps.run(target, "python", "-c", program, code_version("train")) == "at work\n"
    refused = steps.run(target, "python", "-c", program, "0" * 16, check=False)
    assert refused.startswith(f"error: The image was built from commit {TAG}")
    assert "at work" not in refused


@TARGETS
def test_an_image_has_the_environment_that_mlflow_git_and_openmp_need(steps: Steps, target: str) -> None:
    environment = steps.run(target, "env").splitlines()
    ways = [f"MLFLOW_ENABLE_PROXY_MULTIPART_{way}=false" for way in ("DOWNLOAD", "UPLOAD")]
    assert {"GIT_PYTHON_REFRESH=quiet", "OMP_WAIT_POLICY=PASSIVE", *ways} <= set(environment)
    assert steps.run(target, "python", "-c", "import git, mlflow") == ""


def test_an_image_holds_no_file_of_ours_that_its_commit_does_not_tell(steps: Steps) -> None:
    listed = subprocess.run(["git", "-C", ROOT, "ls-files"], check=True, capture_output=True, text=True).stdout
    found = steps.run("serving", "find", ".", "-type", "f", "-not", "-name", "*.pyc").splitlines()
    assert {file.removeprefix("./") for file in found} - set(listed.splitlines()) == {"image.json"}
    assert "./pipeline/retraining.yaml" not in found


@TARGETS
def test_every_module_of_an_image_can_be_imported(steps: Steps, target: str) -> None:
    packages = {"cpu": ["components"], "gpu": ["components.train"], "serving": ["components", "serving"]}[target]
    graph = grimp.build_graph("model", "components", "serving", include_external_packages=True, cache_dir=None)
    ours = {name for package in packages for name in graph.find_descendants(package)}
    ours = {name for name in ours if not name.endswith((".component", "pyfunc_model"))}
    ours -= graph.find_descendants("components.images") | {"components.images"}
    wanted = sorted(ours.union(*(graph.find_upstream_modules(name) for name in ours)))
    assert "torch" in wanted
    assert "components.train.step" in wanted
    steps.run(target, "python", "-c", f"import importlib\nfor name in {wanted}: importlib.import_module(name)")


@pytest.mark.parametrize("target", ["cpu", "serving"])
def test_cpu_images_have_no_cuda(steps: Steps, target: str) -> None:
    heavy = "libcublas*.so* libcudnn*.so* libnccl*.so* libcusparse*.so* libcufft*.so* libtriton*.so"
    names = " -o ".join(f"-name '{pattern}'" for pattern in heavy.split())
    files = f"find / -xdev -type f \\( {names} \\) 2>/dev/null || true"
    assert steps.run(target, "sh", "-c", files).strip() == ""
    assert steps.run(target, "python", "-c", "import torch; print(torch.cuda.is_available())").split()[-1] == "False"


def test_a_step_that_writes_outside_the_mounts_fails(steps: Steps) -> None:
    program = (
        "import json, sys; from pathlib import Path; from components.preprocess.step import preprocess; "
        "from components.preprocess.config import PreprocessConfig; "
        "config = PreprocessConfig.model_validate(json.loads(sys.argv[1])); "
        "preprocess(sys.argv[2], Path('/elsewhere'), config, data_version='')"
    )
    section = json.dumps(Variants.load("", "small", SMALL).shared.sections()["preprocess"])
    assert "Read-only file system" in steps.run("cpu", "python", "-c", program, section, steps.photos, check=False)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yields the workspace of this process, where the images' user may write."""
    folder = tmp_path_factory.mktemp("workspace")
    umask = os.umask(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, str(folder))
        registry.champion()  # makes mlflow.db, which SQLite keeps to its owner
        (folder / "pipeline").mkdir()  # or podman's service does, for root alone
        for path in (folder, *folder.rglob("*")):
            shutil.chown(path, USER, USER)
        yield folder
    os.umask(umask)


@pytest.fixture(scope="module")
def graph_run(steps: Steps, workspace: Path) -> local_run.RunResult:
    """Runs `colorize run` with each step in its container."""

    def in_containers(use_venv: bool) -> local.DockerRunner:
        mounts = [
            Mount(str(folder), str(folder), "bind", folder == steps.photos) for folder in (steps.photos, workspace)
        ]
        environment = {name: os.environ[name] for name in (JOURNAL, RUN_ID, VARIABLE)}
        return local.DockerRunner(
            network_mode="none", read_only=True, tmpfs={"/tmp": ""}, cap_drop=["ALL"], mem_limit="4g", mounts=mounts,
            security_opt=["no-new-privileges"], environment=environment,
        )  # fmt: skip

    graph = copy.deepcopy(local_run.retraining)
    for executor in graph.pipeline_spec.deployment_spec["executors"].values():
        target = re.search(r"colorize-python-(\w+)", executor["container"]["image"])
        executor["container"]["image"] = steps.images[target[1]]
    with pytest.MonkeyPatch.context() as patch, steps.podman.service() as address:
        patch.setattr(local_run, "retraining", graph)
        patch.setattr(local, "SubprocessRunner", in_containers)
        patch.setenv("DOCKER_HOST", address)
        return local_run.run(Variants.load("", "small", SMALL), steps.photos)


def test_the_whole_graph_runs_in_containers(graph_run: local_run.RunResult) -> None:
    assert graph_run.exit_status == 0, graph_run.log.read_text()[-6000:]
    assert [step.step for step in graph_run.steps if step.outcome != "done"] == []
    assert "GIT_PYTHON_REFRESH" not in graph_run.log.read_text()
    assert (graph_run.folders["registration"] / "registration.json").stat().st_uid == USER
    champion = registry.champion()
    assert champion is not None
    assert champion.number == 1


def test_train_in_the_image_without_cuda_gives_the_same_weights(
    steps: Steps, graph_run: local_run.RunResult, workspace: Path
) -> None:
    """A cluster without GPUs trains in the CPU image."""
    program = (
        "import json, sys; from pathlib import Path; from components.train.config import TrainConfig; "
        "from components.train.launch import train; config = TrainConfig.model_validate(json.loads(sys.argv[4])); "
        "train(sys.argv[1], Path(sys.argv[2]), sys.argv[3], config)"
    )
    (dataset,) = {file.parent for file in (workspace / "pipeline").rglob("dataset/dataset.json")}
    section = json.dumps(Variants.load("", "small", SMALL).shared.sections()["train"])
    given = (dataset, steps.mount / "model", steps.mount / "checkpoints", section)
    volume = f"--volume={dataset}:{dataset}:ro"
    command = ("python", "-c", program, *given)
    environment = f"--env={VARIABLE}={steps.mount}"
    steps.podman(
        "run", "--rm", "--no-healthcheck", *CONFINED, environment, *steps.volumes, volume, steps.images["cpu"], *command
    )
    made, again = (folder / "generator.safetensors" for folder in (graph_run.folders["model"], steps.mount / "model"))
    assert made.read_bytes() == again.read_bytes()


def test_the_champion_colors_a_photograph(steps: Steps, graph_run: local_run.RunResult) -> None:
    photograph = min(steps.photos.iterdir(), key=lambda file: file.stat().st_size)
    model = graph_run.folders["model"]
    volume = f"--volume={model}:{model}:ro"
    command = ("colorize", "photo", photograph, "--out", steps.mount / "colored", "--model", model)
    steps.podman(
        "run", "--rm", "--no-healthcheck", *CONFINED, *steps.volumes, volume, steps.images["serving"], *command
    )
    written = sorted(file.stem for file in (steps.mount / "colored").iterdir())
    assert written == [".colorized", f"{photograph.stem}-colorized"]  # the record and the picture


def test_the_champion_is_served_and_healthy(steps: Steps, graph_run: local_run.RunResult, workspace: Path) -> None:
    assert graph_run.exit_status == 0
    photograph = min(steps.photos.iterdir(), key=lambda file: file.stat().st_size).read_bytes()
    podman = steps.podman
    given = (f"--volume={workspace}:{workspace}", f"--env=MLFLOW_TRACKING_URI=sqlite:///{workspace}/mlflow.db")
    podman("run", "--detach", "--replace", "--name=web", *CONFINED, *given, steps.images["serving"])
    deadline = time.monotonic() + 180
    while "unhealthy" in podman("healthcheck", "run", "web", check=False):
        assert time.monotonic() < deadline, podman("logs", "web")
        time.sleep(2)
    (workspace / "photograph").write_bytes(photograph)
    ask = (
        "import base64, sys, time, urllib.error, urllib.request as r\n"
        "for _ in range(60):\n"
        "    try: r.urlopen('http://127.0.0.1:8080/readyz'); break\n"
        "    except urllib.error.HTTPError: time.sleep(1)\n"
        "answer = r.urlopen('http://127.0.0.1:8080/v1/colorize', open(sys.argv[1], 'rb').read())\n"
        "print(base64.b64encode(answer.read()).decode())"
    )
    answer = podman("exec", "web", "python", "-c", ask, workspace / "photograph")
    colored = Image.open(io.BytesIO(base64.b64decode(answer)))
    assert colored.size == Image.open(io.BytesIO(photograph)).size
