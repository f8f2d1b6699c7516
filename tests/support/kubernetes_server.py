"""Kubernetes API as far as the train step uses it, as a server on loopback: TrainJobs, pods, pod logs.

A test double: it checks a TrainJob with k8s/check's schemas, and the test decides the course of the job.
"""

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

from k8s.check import schemas
from k8s.check.manifests import Manifests
from tests.support.loopback import Handler, Refusal, server

Object = dict[str, Any]


@dataclass
class KubernetesServer:
    """Holds the cluster's state; tests read and change it.

    Attributes:
        url: Its address.
        on_create: Called in a thread of its own with each TrainJob that is made.
        jobs: TrainJobs by name.
        pods: Pods by name.
        logs: Time stamp and text of each line, by pod.
        cut: Lines after which a connection that reads a log breaks; 0: it does not.
        lingers: Number of reads for which a deleted job stays visible, while its pods end.
        faults: Answers to the next requests that match a pattern, instead of the real ones: a status, or 0 to hang up.
        requests: "METHOD /path" of all that came.
    """

    url: str
    on_create: Callable[[Object], None] = lambda job: None
    jobs: dict[str, Object] = field(default_factory=dict)
    pods: dict[str, Object] = field(default_factory=dict)
    logs: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    cut: int = 0
    lingers: int = 2
    faults: list[tuple[str, int]] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def pod(self, job: Object, index: int, phase: str, **container: Any) -> str:
        """Makes or changes the pod of a node; `container` is the state of its container, and `last` the one before."""
        name = f"{job['metadata']['name']}-node-0-{index}-abcde"
        labels = {
            "jobset.sigs.k8s.io/jobset-name": job["metadata"]["name"],
            "batch.kubernetes.io/job-completion-index": str(index),
        }
        status = {"name": "node", "image": "", "imageID": "", "ready": False, "restartCount": 0}
        status |= {"lastState": container.pop("last", {}), "state": container}
        self.pods[name] = {
            "metadata": {"name": name, "labels": labels, "creationTimestamp": f"2026-11-25T03:00:0{index}Z"},
            "status": {"phase": phase, "containerStatuses": [status]},
        }
        return name

    def say(self, pod: str, text: str) -> None:
        """Adds a line to a pod's log."""
        lines = self.logs.setdefault(pod, [])
        lines.append((f"2026-11-25T03:00:00.{len(lines):09d}Z", text))

    def conclude(self, job: Object, kind: str, reason: str = "", message: str = "") -> None:
        """Ends a job with a condition: Complete or Failed."""
        condition = {"type": kind, "status": "True", "reason": reason, "message": message}
        self.jobs[job["metadata"]["name"]]["status"] = {"conditions": [condition]}

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> Object:
        """Returns the answer to a request.

        Raises:
            Refusal: if the real server would refuse the request.
        """
        match [method, *path.strip("/").split("/")]:
            case ["POST", "apis", "trainer.kubeflow.org", "v1alpha1", "namespaces", _, "trainjobs"]:
                name = body["metadata"]["name"]
                if name in self.jobs:
                    raise Refusal(409, f'trainjobs.trainer.kubeflow.org "{name}" already exists')
                if found := [str(each) for each in schemas.findings(Manifests("", [body]))]:
                    raise Refusal(422, found[0])
                self.jobs[name] = body
                threading.Thread(target=self.on_create, args=(body,), daemon=True).start()
                return body
            case [verb, "apis", "trainer.kubeflow.org", "v1alpha1", "namespaces", _, "trainjobs", name]:
                return self._one(verb, name, body)
            case ["GET", "api", "v1", "namespaces", _, "pods"]:
                key, _, value = query["labelSelector"][0].partition("=")
                chosen = [pod for pod in self.pods.values() if pod["metadata"]["labels"].get(key) == value]
                return {"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": chosen}
        raise Refusal(404, "404 page not found")

    def _one(self, verb: str, name: str, body: Any) -> Object:
        job = self.jobs.get(name)
        if job is None:
            raise Refusal(404, f'trainjobs.trainer.kubeflow.org "{name}" not found')
        if verb == "PATCH":
            job["metadata"] |= body["metadata"]
        elif verb == "DELETE":
            job["metadata"]["deletionTimestamp"] = "2026-11-25T04:00:00Z"
        if "deletionTimestamp" in job["metadata"]:
            job["lingers"] = job.get("lingers", self.lingers) - 1
            if job["lingers"] < 0:
                del self.jobs[name]
                self.pods.clear()
        return job


class _Handler(Handler):
    cluster: KubernetesServer

    def _handle(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        address = urlsplit(self.path)
        query, asked = parse_qs(address.query), f"{self.command} {address.path}"
        self.cluster.requests.append(asked)
        fault = next((fault for fault in self.cluster.faults if re.search(fault[0], asked)), None)
        if fault:
            self.cluster.faults.remove(fault)
            if not fault[1]:
                self.close_connection = True
                return
            self._send(fault[1], {"message": "on demand"})
        elif address.path.endswith("/log"):
            self._log(address.path.split("/")[-2], query)
        else:
            try:
                self._send(200, self.cluster.answer(self.command, address.path, query, json.loads(content or b"{}")))
            except Refusal as refusal:
                self._send(refusal.status, {"kind": "Status", "message": str(refusal), "code": refusal.status})

    do_GET = do_POST = do_PATCH = do_DELETE = _handle  # noqa: N815 - http.server's names

    def _send(self, status: int, answer: Object) -> None:
        text = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _log(self, pod: str, query: dict[str, list[str]]) -> None:
        assert query["timestamps"] == ["True"]
        assert query["container"] == ["node"]
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for sent, (stamp, text) in enumerate(list(self.cluster.logs.get(pod, []))):
            if self.cluster.cut and sent == self.cluster.cut:
                self.cluster.cut += 1  # the next connection gets further
                self.close_connection = True
                return
            line = f"{stamp} {text}\n".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
        self.wfile.write(b"0\r\n\r\n")


@contextmanager
def kubernetes_server(kubeconfig: Path) -> Iterator[KubernetesServer]:
    """Yields a running server and writes its kubeconfig; stops it at the end."""
    handler = type("_Kubernetes", (_Handler,), {})
    with server(handler) as url:
        handler.cluster = KubernetesServer(url)
        entry = {
            "clusters": [{"name": "it", "cluster": {"server": handler.cluster.url}}],
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
            "users": [{"name": "it", "user": {"token": "none"}}],
        }
        kubeconfig.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", "current-context": "it", **entry}))
        yield handler.cluster
