"""Tests of the docs: links, commands and paths exist; the commands of the data page print what it shows."""

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from benchmarks.__main__ import benchmarks
from k8s.check.manifests import render
from k8s.check.references import SECRETS
from pipeline.cli.main import app
from tests.support.console import Terminal, commands, difference
from tests.support.dvc_project import ROOT, bare_environment
from tests.support.patience import patience
from tests.support.s3 import S3Server, seaweedfs


def git(*words: str) -> str:
    """Returns what git prints about the checkout."""
    return subprocess.run(["git", "-C", str(ROOT), *words], check=True, capture_output=True, text=True).stdout


USER = {
    f"GIT_{role}_{key}": value
    for role in ("AUTHOR", "COMMITTER")
    for key, value in (("NAME", "Ada"), ("EMAIL", "ada@example.org"))
}


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(tmp_path / "colorize")], check=True, timeout=patience(60))
    return tmp_path / "colorize"


@pytest.fixture
def s3(tmp_path: Path) -> Iterator[S3Server]:
    with seaweedfs(tmp_path / "s3") as server:
        yield server


@pytest.mark.slow
def test_the_commands_of_the_data_page_print_the_shown_output(
    clone: Path, photos: Path, s3: S3Server, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    shutil.copytree(photos / "endless-sky-data", home / "Pictures" / "landscapes")
    keys = " ".join(f"{name}='{value}'" for name, value in s3.environment.items())
    terminal = Terminal(clone, bare_environment(home) | USER | {"PYTHONPATH": str(clone)})
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


# CHANGELOG.md names removed commands and files.
PAGES = sorted(ROOT.joinpath(name) for name in git("ls-files", "*.md", ":!CHANGELOG.md").split())
CLUSTER = ROOT / "docs" / "operate" / "cluster.md"
TOP = ("model", "components", "pipeline", "serving", "k8s", "recipes", "tests", "benchmarks", "docs", ".github")
LABELS = {"pipeline/runid", "components/toy"}
"""Words on a page that look like paths: a label of Kubernetes, an example."""


def _anchors(page: Path) -> set[str]:
    """Returns the anchors that GitHub gives the headings of a page."""
    prose = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _code(page: Path) -> list[str]:
    """Returns every command of a page: lines of console and plain blocks, and code in running text."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```(?:console)?\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    spans = [span.replace("\n", " ") for span in re.findall(r"`([^`]+)`", prose)]
    return [line.removeprefix("$ ") for line in lines] + spans


def _calls(page: Path, pattern: str) -> list[list[str]]:
    """Returns the arguments of each call of a program on a page, as a shell would split them."""
    calls = []
    for code in _code(page):
        for piece in re.split(r"\s(?:&&|\||;)\s", code):
            found = re.match(rf"(?:\w+=\S+ )*{pattern}(?: (.*))?$", piece)
            if found and not re.search(r"\[[A-Z-]|<", found[1] or ""):
                calls.append(shlex.split(found[1] or "", comments=True))
    return calls


def _parse(words: list[str]) -> str:
    """Returns why `colorize` would refuse a command line; empty when it would not."""
    command: Any = typer.main.get_command(app)
    while hasattr(command, "list_commands"):
        flags = {"--help", *(flag for parameter in command.params for flag in parameter.opts)}
        while words and words[0] in flags:
            words = words[1:]
        if not words or words[0] in ("COMMAND", "NAME", "toy"):
            return ""
        found = command.get_command(command.context_class(command), words[0])
        if found is None:
            return f"no command {words[0]}"
        command, words = found, words[1:]
    context = command.context_class(command, **command.context_settings)
    try:
        _, rest, _ = command.make_parser(context).parse_args(list(words))
    except Exception as error:  # Typer's own copy of click has no public name for it
        return str(error)
    return f"unexpected {rest}" if rest and not context.allow_extra_args else ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_has_a_target(page: Path):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if not re.match(r"[a-z]+:", target):
            name, _, anchor = target.partition("#")
            other = (page.parent / name) if name else page
            assert other.exists(), target
            assert not anchor or anchor in _anchors(other), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_of_a_page_exists(page: Path):
    for words in _calls(page, r"(?:\.venv/bin/)?colorize"):
        assert not _parse(words), f"colorize {shlex.join(words)}: {_parse(words)}"
    rules = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for words in _calls(page, r"(?:sudo )?make"):
        assert {word for word in words if "=" not in word} <= rules, f"make {shlex.join(words)}"
    for module, *words in _calls(page, r"(?:\.venv/bin/)?python3? -m"):
        path = ROOT / module.replace(".", "/")
        ours = path.parts[len(ROOT.parts)] in TOP
        assert not ours or path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), f"python -m {module}"
        assert module != "benchmarks" or not words or words[0] in {*benchmarks(), "NAME"}, f"benchmarks {words[0]}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_path_on_a_page_exists(page: Path):
    for code in _code(page):
        for path in re.findall(rf"(?<![\w./-])((?:{'|'.join(map(re.escape, TOP))})/[\w./-]*\w)", code):
            name = path.replace("OVERLAY", "local")
            there = (ROOT / name).exists() or (ROOT / f"{name}.yaml").exists()  # a recipe goes by its name
            assert there or path in LABELS or code.startswith("git "), f"{path} in {code}"


@pytest.mark.parametrize(
    ("line", "reason"),
    [("run --recipe demo", ""), ("run --bananas", "bananas"), ("bananas", "bananas"), ("photo a.jpg --out b", "")],
)
def test_a_nonexistent_command_is_found(line: str, reason: str):
    assert reason in _parse(line.split())
    assert bool(_parse(line.split())) == bool(reason)


def test_the_pages_make_the_secrets_that_the_check_allows():
    made = {}
    for page in (CLUSTER, CLUSTER.with_name("security.md")):
        for command in commands(page):
            if found := re.search(r"create secret generic (\S+)(.*)", command.text):
                made[found[1]] = set(re.findall(r"--from-literal=(\w+)=", found[2]))
            if found := re.search(r"create secret docker-registry (\S+)", command.text):
                made[found[1]] = {".dockerconfigjson"}
    assert made == SECRETS["colorizer"]


def test_the_cluster_page_names_objects_that_the_manifests_have():
    overlays = [render(ROOT / "k8s" / "overlays" / name) for name in ("local", "production")]
    text = CLUSTER.read_text(encoding="utf-8")
    kinds = {"deployment": "Deployment", "service": "Service", "cronjob": "CronJob"}
    named = set(re.findall(r"\b(deployment|service|cronjob)/([\w-]+)", text)) - {
        ("service", "ml-pipeline")
    }  # Kubeflow's
    assert len(named) > 5
    for kind, name in named:
        assert any(overlay.named(kinds[kind], name, "colorizer") for overlay in overlays), f"{kind}/{name}"
