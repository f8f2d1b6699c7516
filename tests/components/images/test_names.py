"""Tests of the file of image names: kustomize and the compiled pipeline read the same names from it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from components.images.names import FILE, image
from model.utils.errors import UserError
from pipeline import compile as compiled
from pipeline.cluster import images

KUBECTL = Path(sys.executable).with_name("kubectl")
DIGEST = "sha256:" + "0123456789abcdef" * 4


def rendered(file: Path, name: str) -> str:
    """Returns the image that kustomize puts into a pod in place of `name`."""
    folder = file.parent.parent / "overlay"
    folder.mkdir(exist_ok=True)
    container = {"name": "step", "image": name}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": {"containers": [container]}}
    (folder / "pod.yaml").write_text(yaml.safe_dump(pod))
    (folder / "kustomization.yaml").write_text(f"resources: [pod.yaml]\ncomponents: [../{file.parent.name}]\n")
    done = subprocess.run([KUBECTL, "kustomize", folder], check=True, capture_output=True, text=True)
    return yaml.safe_load(done.stdout)["spec"]["containers"][0]["image"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    copy = tmp_path / "images" / FILE.name
    copy.parent.mkdir()
    copy.write_bytes(FILE.read_bytes())
    return copy


def test_the_compiled_pipeline_uses_the_images_of_the_repositorys_file(file: Path) -> None:
    pipeline = next(yaml.safe_load_all(compiled.COMPILED.read_text(encoding="utf-8")))
    used = {executor["container"]["image"] for executor in pipeline["deploymentSpec"]["executors"].values()}
    assert used == {rendered(file, images.IMAGES[target]) for target in ("cpu", "gpu")}


@pytest.mark.parametrize(
    "entry",
    [
        {"newTag": "1.2"},
        {"newName": "registry.example.com:5000/acme/colorize-python-cpu", "newTag": "0123abc"},
        {"newName": "registry.example.com/acme/colorize-python-cpu", "newTag": "0123abc", "digest": DIGEST},
        {"digest": DIGEST},
    ],
)
def test_kustomize_and_the_pipeline_resolve_an_entry_to_the_same_image(file: Path, entry: dict[str, str]) -> None:
    images.write([{"name": "colorize-python-cpu", **entry}], file)
    assert image("colorize-python-cpu", file) == rendered(file, "colorize-python-cpu")


def test_the_repositorys_file_names_one_build_and_none_of_uncommitted_changes() -> None:
    tags = {entry["newTag"] for entry in yaml.safe_load(FILE.read_text(encoding="utf-8"))["images"]}
    assert len(tags) == 1
    assert re.fullmatch(r"unbuilt|[0-9a-f]{40}", tags.pop())


def test_writing_keeps_the_rest_of_the_file(file: Path) -> None:
    before = yaml.safe_load(file.read_text())
    images.write(before["images"], file)
    assert file.read_bytes() == FILE.read_bytes()


@pytest.mark.parametrize("content", ["", "images: []", "images: [{name: colorize-python-cpu}]", "images: {", "[]"])
def test_a_file_without_the_image_is_refused(file: Path, content: str) -> None:
    file.write_text(content)
    with pytest.raises(UserError, match="make images"):
        image("colorize-python-cpu", file)
