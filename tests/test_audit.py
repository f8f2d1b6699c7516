"""Tests of the audit and the bill of materials: the lock of their tools, and the workflow."""

import re
from pathlib import Path

import yaml

from tests.support.dvc_project import ROOT

WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "audit.yml").read_text(encoding="utf-8"))
STEPS = WORKFLOW["jobs"]["audit"]["steps"]


def _locked(path: Path) -> dict[str, str]:
    """Returns the entry of each distribution, with its version and all its hashes."""
    parts = re.split(r"^(?=[\w.-]+==)", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {part.partition("==")[0]: part for part in parts if part.strip()}


def test_the_audit_tools_are_locked_by_hash_outside_the_environment() -> None:
    tools = _locked(ROOT / "requirements-audit.txt")
    wanted = (ROOT / "requirements-audit.in").read_text(encoding="utf-8").split()
    assert all(tools[line.partition("==")[0]].startswith(line) for line in wanted)
    assert all("--hash=sha256:" in part for part in tools.values())
    environment = _locked(ROOT / "requirements.txt")
    assert not {line.partition("==")[0] for line in wanted} & environment.keys()


def test_the_workflow_runs_sbom_and_audit_with_pinned_actions_and_read_rights() -> None:
    assert WORKFLOW["permissions"] == {"contents": "read"}
    used = [step["uses"] for step in STEPS if "uses" in step]
    assert [action for action in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action)] == []
    assert [step["run"] for step in STEPS if "run" in step] == ["make sbom", "make audit"]
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert {"sbom", "audit"} <= set(targets)
    (upload,) = (step for step in STEPS if "upload-artifact" in step.get("uses", ""))
    assert upload["with"]["path"] == "outputs/sbom.json"
