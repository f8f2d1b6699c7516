"""The commands on the docs' pages work, and print what the pages show; those that need a cluster name what exists."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from k8s.check.manifests import render
from k8s.check.references import SECRETS
from pipeline.cli.main import app
from tests.support.console import Terminal, commands, difference
from tests.support.dvc_project import ROOT, bare_environment
from tests.support.s3 import S3Server, seaweedfs

USER = {
    f"GIT_{role}_{key}": value
    for role in ("AUTHOR", "COMMITTER")
    for key, value in (("NAME", "Ada"), ("EMAIL", "ada@example.org"))
}


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(tmp_path / "colorize")], check=True, timeout=60)
    return tmp_path / "colorize"


@pytest.fixture
def s3(tmp_path: Path) -> Iterator[S3Server]:
    with seaweedfs(tmp_path / "s3") as server:
        yield server


def test_data(clone: Path, photos: Path, s3: S3Server, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(photos / "endless-sky-data", home / "Pictures" / "landscapes")
    keys = " ".join(f"{name}='{value}'" for name, value in s3.environment.items())
    terminal = Terminal(clone, bare_environment(home) | USER)
    page = commands(ROOT / "docs" / "guide" / "data.md")
    assert len(page) > 20
    try:
        for command in page:
            text = command.text.replace("http://127.0.0.1:8333", s3.endpoint)
            text = text.replace("AWS_ACCESS_KEY_ID=... AWS_SECRET_ACCESS_KEY=...", keys)
            status, printed = terminal.run(text)
            shown = tuple(line.replace("http://127.0.0.1:8333", s3.endpoint) for line in command.shown)
            assert not difference(shown, printed), f"$ {text}\n" + "\n".join(printed)
            assert (status == 0) != any(line.startswith("error:") for line in shown), f"{status}: $ {text}"
    finally:
        terminal.close()


CLUSTER = [ROOT / "docs" / "operate" / name for name in ("cluster.md", "troubleshooting.md")]
TO_COME = {"submit", "schedule"}
"""Subcommands that the pages may name before they exist."""


@pytest.mark.parametrize("page", CLUSTER, ids=lambda page: page.stem)
def test_a_cluster_page_names_commands_and_files_that_exist(page: Path):
    text = re.sub(r"https?://[^\s)]+", "", page.read_text(encoding="utf-8"))
    known = typer.main.get_command(app).commands
    code = "\n".join(re.findall(r"`[^`\n]+`|^\$ .*", text, re.MULTILINE))
    for name, rest in re.findall(r"\bcolorize ([a-z]+)([^`\n|]*)", code):
        assert name in known or name in TO_COME, name
        if name in known:
            flags = {flag for parameter in known[name].params for flag in parameter.opts}
            assert set(re.findall(r"--[a-z-]+", rest)) <= flags, f"colorize {name}{rest}"
    for module in re.findall(r"python -m ([a-z_.]+)", text):
        assert (ROOT / module.replace(".", "/")).with_suffix(".py").is_file(), module
    for path in re.findall(r"\b((?:k8s|docs|pipeline)/[\w./-]*\w)", text):
        assert path == "k8s/overlays/OVERLAY" or (ROOT / path).exists(), path
    for target in re.findall(r"\]\(([^)#]+)", text):
        assert (page.parent / target).exists(), target


def test_the_cluster_page_makes_the_secrets_that_the_check_allows():
    made = {}
    for command in commands(CLUSTER[0]):
        found = re.search(r"create secret generic (\S+)(.*)", command.text)
        if found:
            made[found[1]] = set(re.findall(r"--from-literal=(\w+)=", found[2]))
    assert made == SECRETS


def test_the_cluster_page_names_objects_that_the_manifests_have():
    overlays = [render(ROOT / "k8s" / "overlays" / name) for name in ("local", "production")]
    text = CLUSTER[0].read_text(encoding="utf-8")
    kinds = {"deployment": "Deployment", "service": "Service", "cronjob": "CronJob"}
    named = set(re.findall(r"\b(deployment|service|cronjob)/([\w-]+)", text)) - {
        ("service", "ml-pipeline")
    }  # Kubeflow's
    assert len(named) > 5
    for kind, name in named:
        assert any(overlay.named(kinds[kind], name) for overlay in overlays), f"{kind}/{name}"
