"""Tests of the suite's own tools, without a cluster: the page, the shell, port-forwards, and what runs in pods."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from pipeline.cluster.images import IMAGES
from pipeline.compile import COMPILED
from pipeline.variants import Variants
from tests.cluster import kube, page, runs
from tests.support.dvc_project import ROOT
from tests.support.loopback import Handler, server
from tests.test_docs import _parse

TEXT = page.PAGE.read_text(encoding="utf-8")
BLOCKS = page.blocks(TEXT)
EXAMPLE = """# Title

## One

```console
$ first
printed
$ second
```

<!-- not run: a reason -->
```console
$ third
```

```yaml
not: a command
```

<!-- not run: of something else -->
Text between.

```console
$ kubectl -n here port-forward service/there 1:2 &
```
"""


def test_blocks_have_their_heading_their_commands_and_the_reason_not_to_run_them() -> None:
    assert page.blocks(EXAMPLE) == [
        page.Block("One", ("first", "second")),
        page.Block("One", ("third",), "a reason"),
        page.Block("One", ("kubectl -n here port-forward service/there 1:2 &",)),
    ]


def test_every_block_of_the_page_is_run_or_says_why_not() -> None:
    assert len(BLOCKS) > 25
    assert len(TEXT.split("\n```")) - 1 == 2 * (len(BLOCKS) + 1)  # the tree of k8s/ is the only other block
    assert TEXT.count("<!-- not run") == sum(bool(block.reason) for block in BLOCKS)
    for block in BLOCKS:
        assert block.commands, block.section


def test_every_command_of_the_page_is_one_line_of_valid_shell() -> None:
    for block in BLOCKS:
        for command in block.commands:
            done = subprocess.run(["bash", "-n"], input=command, capture_output=True, text=True, check=False)
            assert not done.stderr, f"{command}: {done.stderr}"
            assert not command.endswith("\\"), command
            if command.endswith("&"):
                assert page._FORWARD.fullmatch(command), command


def test_every_colorize_command_of_the_page_parses_with_its_options() -> None:
    found = [command for block in BLOCKS for command in block.commands if command.startswith("colorize ")]
    assert len(found) > 10
    for command in found:
        assert not _parse(shlex.split(command, comments=True)[1:]), command


def test_every_section_that_the_suite_asks_for_is_on_the_page() -> None:
    files = [file for file in Path(__file__).parent.glob("*.py") if file != Path(__file__)]
    asked = {name for file in files for name in re.findall(r'\.reach\("([^"]+)"', file.read_text(encoding="utf-8"))}
    assert len(asked) > 8
    assert asked <= {block.section for block in BLOCKS if not block.reason}
    assert [block for block in BLOCKS if not block.reason][-1].section == "Remove everything"


def test_the_words_that_the_suite_replaces_are_on_the_page_once() -> None:
    ran = [command for block in BLOCKS if not block.reason for command in block.commands]
    for word in (page.RECIPE, page.SETTINGS, page.WEBHOOK):
        assert sum(word in command for command in ran) == 1, word


def test_the_suites_recipe_is_valid_and_no_model_fails_its_gate() -> None:
    rules = Variants.load("", "tests/cluster/tiny").shared.sections()["register"]["rules"]
    assert rules == {"l1_ab": {"direction": "down", "change": -100.0, "bound": 100.0}}


def test_a_pods_step_and_parameters_are_read_from_its_command_line() -> None:
    """The driver of Kubeflow 2.17 puts the launcher's options before the step's own command."""
    executors = next(yaml.safe_load_all(COMPILED.read_text(encoding="utf-8")))["deploymentSpec"]["executors"]
    given = {"inputs": {"parameterValues": {"variant": {"name": "a"}}}}
    for name, executor in executors.items():
        container = executor["container"]
        launcher = ["/kfp-launcher/launch", "--executor_input", json.dumps(given), "--pod_name", "p", "--"]
        main = {"name": "main", "command": launcher, "args": container["command"] + container["args"]}
        pod = {"spec": {"containers": [{"name": "wait", "args": ["wait"]}, main]}}
        assert runs.step(pod) == name.removeprefix("exec-")
        assert runs.arguments(pod) == {"variant": {"name": "a"}}
    assert (
        runs.step({"spec": {"containers": [{"name": "main", "command": ["driver"], "args": ["--type", "DAG"]}]}}) == ""
    )


def shell(folder: Path) -> page.Shell:
    return page.Shell(folder, {"PATH": kube.PATH}, folder / "state")


def test_a_shell_keeps_variables_and_functions_from_command_to_command(tmp_path: Path) -> None:
    one = shell(tmp_path)
    one.run("export A='two words'; b=plain")
    one.run('greet() { printf "%s, %s" "$A" "$1"; }')
    assert one.run('greet "$b"') == "two words, plain"
    assert one.variable("b") == "plain"


def test_a_failed_command_and_one_that_hangs_are_told_with_what_they_printed(tmp_path: Path) -> None:
    one = shell(tmp_path)
    one.run("A=kept")
    with pytest.raises(AssertionError, match=r"status 3: .*\nwords"):
        one.run("echo words; (exit 3)")
    with pytest.raises(AssertionError, match=r"0\.5 s were not enough"):
        one.run("sleep 600 & sleep 600", seconds=0.5)
    assert one.variable("A") == "kept"


def test_a_walk_runs_each_block_once_and_in_order_and_ends_at_a_failure(tmp_path: Path) -> None:
    text = (
        "# A\n```console\n$ echo a >> log\n```\n# B\n```console\n$ echo RECIPE=demo >> log\n"
        "$ kubectl -n n port-forward service/s 1:2 &\n```\n"
        "<!-- not run: no -->\n```console\n$ echo no >> log\n```\n# C\n```console\n$ (exit 1)\n```\n"
    )
    forwarded: list[tuple[str, str, int, int]] = []
    walk = page.Walk(
        page.blocks(text), shell(tmp_path), {page.RECIPE: "RECIPE=x"}, lambda *words: forwarded.append(words)
    )
    walk.reach("B")
    walk.reach("A")
    assert (tmp_path / "log").read_text() == "a\nRECIPE=x\n"
    assert forwarded == [("n", "service/s", 1, 2)]
    with pytest.raises(AssertionError, match="status 1"):
        walk.reach("C")
    with pytest.raises(AssertionError, match="ended early, in C"):
        walk.reach("C")


@pytest.fixture
def fake_kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Puts a kubectl on PATH that forwards a port to a server that answers, until it is killed."""
    program = tmp_path / "kubectl"
    program.write_text(
        f"#!{sys.executable}\n"
        "import http.server, os, pathlib, sys\n"
        "os.chdir(pathlib.Path(__file__).parent)\n"
        "pathlib.Path('pid').write_text(str(os.getpid()))\n"
        "port = int(sys.argv[-1].partition(':')[0])\n"
        "http.server.HTTPServer(('127.0.0.1', port), http.server.SimpleHTTPRequestHandler).serve_forever()\n"
    )
    program.chmod(0o755)
    monkeypatch.setitem(kube.ENVIRONMENT, "PATH", f"{tmp_path}{os.pathsep}{kube.PATH}")
    return tmp_path


def test_a_port_forward_that_is_lost_comes_back(fake_kubectl: Path, free_port: int) -> None:
    forward = kube.Forward("n", "service/s", free_port, 80, pause=0.05)
    try:
        forward.wait()
        os.kill(int((fake_kubectl / "pid").read_text()), signal.SIGKILL)
        kube.until("another process", lambda: forward.starts > 1, 30, pause=0.05)
        forward.wait()
        assert requests.get(f"http://127.0.0.1:{free_port}/pid", timeout=10).status_code == 200
    finally:
        forward.close()
    assert not forward._thread.is_alive()
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://127.0.0.1:{free_port}/pid", timeout=10)


def test_the_workflow_pins_kubeflow_and_loads_images_that_are_built() -> None:
    text = (ROOT / ".github" / "workflows" / "cluster.yml").read_text(encoding="utf-8")
    workflow = yaml.safe_load(text)
    assert re.fullmatch(r"[0-9a-f]{40}", workflow["env"]["COMMIT"])
    assert text.count("?ref=$COMMIT") == 2
    ran = [step["run"] for step in workflow["jobs"]["cluster"]["steps"] if "run" in step]
    assert "make cluster-check" in ran
    assert 'make images TARGETS="cpu serving"' in ran
    assert {"cpu", "serving"} < IMAGES.keys()


@pytest.fixture
def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def run(name: str, *arguments: str) -> Any:
    """Runs a program of inside/ as a pod does; returns the JSON of its last line."""
    command = [sys.executable, *kube.script(name, *arguments)[1:]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def test_the_receiver_prints_each_message_as_a_line(free_port: int) -> None:
    command = [sys.executable, *kube.script("receiver.py", str(free_port))[1:]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            forwarded = f"http://127.0.0.1:{free_port}/"
            kube.until("the receiver", lambda: _posts(forwarded, {"pipeline_run": "a", "text": "two\nlines"}), 30, 0.1)
            assert process.stdout
            assert json.loads(process.stdout.readline()) == {"pipeline_run": "a", "text": "two\nlines"}
        finally:
            process.kill()


def _posts(url: str, message: dict[str, str]) -> bool:
    try:
        return requests.post(url, json=message, timeout=5).status_code == 204
    except requests.ConnectionError:
        return False


def test_a_probe_tells_open_from_closed(free_port: int) -> None:
    with server(Handler) as url:
        address = url.removeprefix("http://")
        assert run("probe.py", address, f"127.0.0.1:{free_port}") == {address: True, f"127.0.0.1:{free_port}": False}


def test_the_load_tells_versions_and_failures() -> None:
    class Server(Handler):
        answered = 0

        def do_POST(self) -> None:  # noqa: N802 - its name in http.server
            assert self.rfile.read(int(self.headers["Content-Length"]))[:2] == b"\xff\xd8"
            Server.answered += 1
            self.send_response(503 if Server.answered == 2 else 200)
            self.send_header("Model-Version", "2" if Server.answered < 4 else "1")
            self.send_header("Content-Length", "0")
            self.end_headers()

    with server(Server) as url:
        found = run("load.py", url, "2")
    assert found["requests"] == Server.answered > 3
    assert found["versions"] == ["2", "1"]
    assert len(found["failures"]) == 1
    assert "503" in found["failures"][0]


def test_the_youngest_process_of_a_training_is_killed_and_no_other() -> None:
    word = f"a-training-{os.getpid()}"
    command = [sys.executable, "-c", "import time; time.sleep(600)", word]
    supervisor = subprocess.Popen(command)
    time.sleep(0.05)
    worker = subprocess.Popen(command)
    other = subprocess.Popen([*command[:-1], "another-word"])
    try:
        assert run("kill.py", word) == worker.pid
        assert worker.wait(30) == -signal.SIGKILL
        assert supervisor.poll() is None
        assert other.poll() is None
    finally:
        for process in (supervisor, worker, other):
            process.kill()
            process.wait()
