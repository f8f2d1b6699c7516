"""A cluster through kubectl: objects, commands in pods, and port-forwards that come back when they are lost."""

import base64
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from tests.support.dvc_project import ROOT

Object = dict[str, Any]
Found = TypeVar("Found")
INSIDE = Path(__file__).with_name("inside")
PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
ENVIRONMENT = os.environ | {"PATH": PATH}


def kubectl(*words: str, given: str | None = None, seconds: float = 120, check: bool = True) -> str:
    """Returns what kubectl prints.

    Args:
        words: the command line.
        given: standard input.
        seconds: limit for the whole command.
        check: whether a status other than 0 is an error; if not, what it says as an error is returned too.

    Raises:
        AssertionError: it failed.
        subprocess.TimeoutExpired: it took too long.
    """
    done = subprocess.run(
        ["kubectl", *words],
        input=given,
        stdin=subprocess.DEVNULL if given is None else None,
        capture_output=True,
        text=True,
        timeout=seconds,
        cwd=ROOT,
        env=ENVIRONMENT,
        check=False,
    )
    assert not check or done.returncode == 0, f"kubectl {' '.join(words)}: {done.stderr[-3000:]}"
    return done.stdout if check else done.stdout + done.stderr


def objects(namespace: str, kind: str, selector: str = "") -> list[Object]:
    """Returns the objects of a kind, the oldest first."""
    chosen = ("-l", selector) if selector else ()
    listed = json.loads(kubectl("-n", namespace, "get", kind, "-o", "json", *chosen))["items"]
    return sorted(listed, key=lambda item: str(item["metadata"]["creationTimestamp"]))


def apply(*manifests: Object) -> None:
    """Applies objects."""
    given = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(manifests)})
    kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", given=given)


def tried(manifest: Object) -> str:
    """Returns what the server says when it is asked whether it would create an object."""
    return kubectl("create", "--dry-run=server", "-f", "-", given=json.dumps(manifest), check=False)


def secret(namespace: str, name: str, key: str) -> str:
    """Returns a value of a Secret."""
    held = json.loads(kubectl("-n", namespace, "get", "secret", name, "-o", "json"))["data"]
    return base64.b64decode(held[key]).decode()


def script(name: str, *arguments: str) -> list[str]:
    """Returns the command line that runs a program of tests/cluster/inside where only Python is."""
    return ["python", "-c", (INSIDE / name).read_text(encoding="utf-8"), *arguments]


def inside(namespace: str, pod: str, name: str, *arguments: str, container: str = "", seconds: float = 120) -> Any:
    """Runs a program of tests/cluster/inside in a pod; returns the JSON of its last line."""
    chosen = ("-c", container) if container else ()
    printed = kubectl("-n", namespace, "exec", pod, *chosen, "--", *script(name, *arguments), seconds=seconds)
    return json.loads(printed.splitlines()[-1])


def pod(name: str, namespace: str, image: str, command: list[str], labels: Object, memory: str = "256Mi") -> Object:
    """Returns a pod of one container that Pod Security `restricted` permits."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 1,
            "securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {
                    "name": "main",
                    "image": image,
                    "command": command,
                    "resources": {
                        "requests": {"cpu": "10m", "memory": "64Mi"},
                        "limits": {"cpu": "500m", "memory": memory},
                    },
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                }
            ],
        },
    }


def until(what: str, probe: Callable[[], Found], seconds: float, pause: float = 2) -> Found:
    """Returns the first answer of a probe that is true.

    Raises:
        AssertionError: there was none in time; says what was awaited, and the last answer.
    """
    deadline = time.monotonic() + seconds
    while not (answer := probe()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s; at last {answer!r}"
        time.sleep(pause)
    return answer


class Forward:
    """Keeps `kubectl port-forward` alive: starts it again whenever it ends.

    Attributes:
        starts: How often it was started.
    """

    def __init__(self, namespace: str, target: str, here: int, there: int, pause: float = 1) -> None:
        self.here, self.starts = here, 0
        self._command = ["kubectl", "-n", namespace, "port-forward", target, f"{here}:{there}"]
        self._pause, self._stop = pause, threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep, daemon=True)
        self._thread.start()

    def _keep(self) -> None:
        while not self._stop.is_set():
            self._process = subprocess.Popen(
                self._command,
                env=ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            self.starts += 1
            self._process.wait()
            self._stop.wait(self._pause)

    def wait(self, seconds: float = 60) -> None:
        """Waits until something listens on this machine."""
        until(f"a port-forward on port {self.here}", self._listens, seconds, pause=0.2)

    def _listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.here), timeout=2):
            return True
        return False

    def close(self) -> None:
        """Ends it."""
        self._stop.set()
        while self._thread.is_alive():
            if self._process:
                self._process.terminate()
            self._thread.join(0.1)
