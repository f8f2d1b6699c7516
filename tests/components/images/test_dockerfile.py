"""Tests of components/images/Dockerfile and of its workflow that need no build."""

import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import grimp
import pytest
import yaml

from pipeline import ROOT
from pipeline.cluster.images import IMAGES

TOOLS = Path(sys.executable).parent
DOCKERFILE = ROOT / "components" / "images" / "Dockerfile"
REQUIREMENTS = ROOT / "components" / "images" / "requirements"
LOCKED = set(re.findall(r"^([\w.-]+)==", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE))


def names(file: str) -> list[str]:
    lines = (REQUIREMENTS / file).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if not line.startswith("#")]


def lint(program: str, file: Path) -> str:
    return subprocess.run([TOOLS / program, file], capture_output=True, text=True, check=False).stdout


@pytest.fixture(scope="module")
def imports() -> grimp.ImportGraph:
    return grimp.build_graph("model", "components", "serving", include_external_packages=True, cache_dir=None)


def reached(imports: grimp.ImportGraph, modules: set[str]) -> set[str]:
    """Returns the third-party packages that these modules import, directly or not."""
    found = set(modules).union(*(imports.find_upstream_modules(module) for module in modules))
    return {name for name in found if imports.is_module_squashed(name)} - sys.stdlib_module_names


def test_hadolint_and_shellcheck_pass() -> None:
    assert lint("hadolint", DOCKERFILE) == ""
    assert lint("shellcheck", DOCKERFILE.with_name("install.sh")) == ""
    assert lint("shellcheck", ROOT / "k8s" / "base" / "backup" / "first_contact.sh") == ""


def test_hadolint_finds_an_error_in_a_careless_dockerfile(tmp_path: Path) -> None:
    careless = tmp_path / "Dockerfile"
    careless.write_text("FROM debian:latest\nRUN sudo apt-get install gcc\n")
    assert "DL3004" in lint("hadolint", careless)


def test_every_base_is_pinned_by_digest() -> None:
    text = DOCKERFILE.read_text(encoding="utf-8")
    stages = set(re.findall(r"^FROM .* AS (\w[\w-]*)$", text, re.MULTILINE))
    bases = set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) - stages
    assert bases == {"${BASE}"}
    assert re.search(r"^ARG BASE=\S+:[\w.-]+@sha256:[0-9a-f]{64}$", text, re.MULTILINE)
    assert set(IMAGES) < stages


@pytest.mark.parametrize(("image", "packages"), [("cpu", ("components", "serving")), ("gpu", ("components.train",))])
def test_an_image_installs_exactly_the_packages_that_it_imports(
    imports: grimp.ImportGraph, image: str, packages: tuple[str, ...]
) -> None:
    distributions = packages_distributions() | {"mlflow": ["mlflow"]}
    modules = {module for package in packages for module in imports.find_descendants(package)}
    modules -= {"components.images.hashes"}  # a stage of the build runs it
    found = reached(imports, modules) - {"kfp"}  # installed on its own
    if image == "cpu":
        found |= {"typer"}  # the serving image holds the program `colorize`, too
    assert sorted(distributions[name][0].lower().replace("_", "-") for name in found) == names(f"{image}.txt")


def test_only_component_modules_import_kfp_and_no_module_imports_them(imports: grimp.ImportGraph) -> None:
    faces = {name for name in imports.modules if name.endswith(".component")}  # whose function bodies run in a step
    assert imports.find_modules_that_directly_import("kfp") == faces
    decorators = "components.shared.component"
    for face in faces - {decorators}:
        assert not imports.find_modules_that_directly_import(face)
    assert imports.find_modules_that_directly_import(decorators) == faces - {decorators}


def test_no_module_that_runs_in_an_image_reads_the_names_of_images(imports: grimp.ImportGraph) -> None:
    """An image does not hold k8s/images."""
    users = {
        name: imports.find_modules_that_directly_import(name) for name in imports.find_children("components.images")
    }
    assert set().union(*users.values()) == {"components.shared.component"}


def test_all_requirements_are_locked() -> None:
    assert {*names("cpu.txt"), *names("gpu.txt"), "kfp"} <= LOCKED


def test_cpu_images_exclude_every_locked_cuda_package() -> None:
    of_cuda = {name for name in LOCKED if name.startswith(("nvidia-", "cuda-", "triton"))}
    assert set(names("cuda.txt")) == of_cuda


@pytest.fixture(scope="module")
def workflow() -> dict:
    return yaml.safe_load((ROOT / ".github" / "workflows" / "images.yml").read_text(encoding="utf-8"))


def test_the_workflows_jobs_need_only_existing_jobs(workflow: dict) -> None:
    jobs = workflow["jobs"]
    assert jobs["test"] == {"uses": "./.github/workflows/test.yml"}
    for job in jobs.values():
        assert job.get("runs-on") != "ubuntu-latest"
        assert set(job.get("needs", ())) <= jobs.keys()
        assert all(("uses" in each) != ("run" in each) for each in job.get("steps", ()))


def test_the_workflow_runs_pinned_actions_with_read_rights(workflow: dict) -> None:
    assert workflow["permissions"] == {"contents": "read"}
    used = [each["uses"] for job in workflow["jobs"].values() for each in job.get("steps", ()) if "uses" in each]
    assert any("trivy" in action for action in used)
    assert [action for action in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action)] == []


def test_the_workflows_make_targets_exist(workflow: dict) -> None:
    commands = "\n".join(each.get("run", "") for job in workflow["jobs"].values() for each in job.get("steps", ()))
    targets = set(re.findall(r"\bmake ([\w-]+)", commands))
    assert {"images", "images-check"} <= targets
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert targets <= set(re.findall(r"^([\w-]+):", makefile, re.MULTILINE))
    variables = set(re.findall(r"\bmake [\w-]+ ([A-Z_]+)=", commands))
    assert {"REGISTRY", "NO_CACHE"} <= variables
    assert all(f"$({name})" in makefile or f"$(if $({name})," in makefile for name in variables)


def test_the_workflow_scans_every_image_before_it_pushes(workflow: dict) -> None:
    steps = workflow["jobs"]["images"]["steps"]
    scanned = [each["with"]["image-ref"].partition(":")[0] for each in steps if "trivy" in each.get("uses", "")]
    assert scanned == list(IMAGES.values())
    push = next(index for index, each in enumerate(steps) if "REGISTRY=" in each.get("run", ""))
    assert all("trivy" not in each.get("uses", "") for each in steps[push:])
