"""Tests of the benchmark of waiting threads at a tiny size: every way is measured on both machines."""

import json
import os
from pathlib import Path

import psutil
import pytest

from benchmarks import busy
from tests.model.inference.test_colorizer import generator_folder


@pytest.mark.slow
def test_every_way_is_timed_on_both_machines_in_a_process_that_has_its_policy(
    tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
):
    champion = generator_folder(tmp_path / "generator")
    photograph = next((photos / "scratch").glob("*.jpg"))
    monkeypatch.setattr(busy, "WAYS", {"passive": "PASSIVE", "active": "ACTIVE"})
    result = tmp_path / "busy.json"
    busy.main(rounds=1, loops=1, colorings=1, steps=1, photograph=photograph, champion=champion, result=result)
    written = json.loads(result.read_bytes())
    assert [row["machine"] for row in written["rounds"]] == ["quiet", "busy"]
    for work in ("a coloring", "a training step"):
        for machine in ("quiet", "busy"):
            assert written["figures"][f"{work}, {machine}: passive, seconds"] > 0
            assert written["figures"][f"{work}, {machine}: active / passive"] > 0


def test_busy_processes_end_with_the_block():
    before = set(psutil.Process().children())
    with busy.spinning(2):
        assert len(set(psutil.Process().children()) - before) >= 2
    assert not [child for child in set(psutil.Process().children()) - before if "spawn_main" in str(child.cmdline())]


@pytest.mark.parametrize(("policy", "expected"), [("ACTIVE", "ACTIVE"), ("", None)])
def test_a_turn_has_the_policy_that_it_is_given(policy: str, expected: str | None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    with pytest.raises(FileNotFoundError):
        busy.turn(policy, Path("nowhere.jpg"), Path(), 1, 1)
    assert os.environ.get("OMP_WAIT_POLICY") == expected
