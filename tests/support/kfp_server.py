"""Kubeflow Pipelines' v2beta1 API as a server on loopback: a test double, written from its published OpenAPI.

It keeps pipelines, versions, experiments, runs and recurring runs in memory, refuses what the real one refuses (unknown
fields, names that exist, ids that do not), and fails on demand.
"""

import json
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.parser import BytesParser
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import kfp_server_api
import yaml

from tests.support import argo
from tests.support.loopback import Handler, Refusal, server

_CODES = {400: 3, 401: 16, 403: 7, 404: 5, 409: 6, 500: 13, 503: 14}  # HTTP's to gRPC's

_NAME = ("display_name", "namespace")


@dataclass
class Fault:
    """Describes a fault of the next requests that match a pattern.

    Attributes:
        pattern: Regular expression of method and path, such as "POST .*/runs$".
        times: How many requests.
        status: Answered instead of the real answer; 0: none.
        seconds: The answer comes so much later.
        drop: "before" the request is carried out, or "after", or "middle": in the middle of the answer.
        page: An HTML page is answered, as by a proxy that wants people to sign in.
    """

    pattern: str
    times: int = 1_000_000
    status: int = 0
    seconds: float = 0
    drop: str = ""
    page: bool = False


@dataclass
class KfpServer:
    """Holds the server's state; tests read and change it.

    Attributes:
        url: Its address.
        token: Bearer token that requests must have; empty: none.
        multi_user: Namespaces exist, as in Kubeflow with profiles.
        story: State of a run at each read, and its `workflow` (`tests.support.argo`); the last one stays.
        archived: Logs by the pod's name that Kubeflow's API finds.
        logs: Logs by the pod's name that Kubernetes' own API has.
        config_map: Configuration of Argo's controller, which Kubernetes' own API tells.
        workflow: The run's workflow at the latest read.
        requests: "METHOD /path" of all that came.
    """

    url: str
    token: str = ""
    multi_user: bool = True
    namespaces: tuple[str, ...] = ("colorizer",)
    story: list[dict[str, Any]] = field(default_factory=lambda: [{"state": "SUCCEEDED"}])
    archived: dict[str, str] = field(default_factory=dict)
    logs: dict[str, str] = field(default_factory=dict)
    config_map: dict[str, str] = field(default_factory=dict)
    workflow: dict[str, Any] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    pipelines: dict[str, dict[str, Any]] = field(default_factory=dict)
    versions: dict[str, dict[str, Any]] = field(default_factory=dict)
    experiments: dict[str, dict[str, Any]] = field(default_factory=dict)
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    recurring: dict[str, dict[str, Any]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)

    def keep_run(self, identity: str, parameters: dict[str, Any], **more: Any) -> None:
        """Puts a run there, with its experiment and its pipeline version.

        Args:
            identity: id of the run.
            parameters: its arguments.
            more: other fields of the run.
        """
        root = {"inputDefinitions": {"parameters": {name: {} for name in parameters}}}
        self.experiments["e"] = {"experiment_id": "e", "display_name": "colorizer", "namespace": "colorizer"}
        self.versions["v"] = {"pipeline_id": "p", "pipeline_spec": {"pipeline_spec": {"root": root}}}
        self.runs[identity] = {
            "run_id": identity,
            "experiment_id": "e",
            "pipeline_version_reference": {"pipeline_id": "p", "pipeline_version_id": "v"},
            "runtime_config": {"parameters": parameters},
            "service_account": "colorizer-steps",
            **more,
        }

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> dict[str, Any] | str:
        """Returns the answer to a request: JSON, or the text of a log.

        Raises:
            Refusal: if the real server would refuse the request.
        """
        match [method, *path.split("/")]:
            case ["GET", "healthz"]:
                return {"multi_user": self.multi_user}
            case ["GET", "pipelines"]:
                return self._page("pipelines", self._in_namespace(self.pipelines, query), query)
            case ["POST", "pipelines"]:
                self._place(body)
                return self._new(self.pipelines, "pipeline_id", "V2beta1Pipeline", body, _NAME)
            case ["POST", "pipelines", "upload_version"]:
                return self._upload(query, body)
            case ["GET", "pipelines", pipeline, "versions"]:
                found = [version for version in self.versions.values() if version["pipeline_id"] == pipeline]
                return self._page("pipeline_versions", found, query)
            case ["GET", "experiments"]:
                return self._page("experiments", self._in_namespace(self.experiments, query), query)
            case ["POST", "experiments"]:
                self._place(body)
                return self._new(self.experiments, "experiment_id", "V2beta1Experiment", body, _NAME)
            case ["POST", "runs"]:
                self._references(body)
                return self._new(self.runs, "run_id", "V2beta1Run", body | {"state": "PENDING"})
            case ["GET", "runs"]:
                if "experiment_id" in query:
                    found = [run for run in self.runs.values() if run["experiment_id"] == query["experiment_id"]]
                else:
                    self._in_namespace({}, query)
                    found = list(self.runs.values())
                found.sort(key=lambda run: run["created_at"], reverse=query.get("sort_by") == "created_at desc")
                return self._page("runs", found, query)
            case ["GET", "runs", run]:
                found = self._get(self.runs, run, "run")
                now = dict(self.story.pop(0) if len(self.story) > 1 else self.story[0])
                if made := now.pop("workflow", None):
                    self.workflow = made
                    found |= {"run_details": {"task_details": argo.task_details(made)}}
                found |= now
                return found
            case ["POST", "runs", run] if run.endswith(":terminate"):
                self._get(self.runs, run.partition(":")[0], "run")["state"] = "CANCELING"
                return {}
            case ["GET", "", "api", "v1", "namespaces", "colorizer", "pods", pod, "log"] if pod in self.logs:
                return self.logs[pod]
            case ["GET", "", "api", *_, "configmaps", "workflow-controller-configmap"] if self.config_map:
                return {"data": self.config_map}
            case ["GET", "v1alpha1", "runs", run, "nodes", pod, "log"]:
                self._get(self.runs, run, "run")  # it answers 200 whatever happens
                return self.archived.get(pod, json.dumps({"error_message": f"pods {pod!r} not found"}))
            case ["GET", "v1beta1", "runs", run]:
                self._get(self.runs, run, "run")
                manifest = json.dumps(self.workflow) if self.workflow else ""
                return {"run": {"id": run}, "pipeline_runtime": {"workflow_manifest": manifest}}
            case ["GET", "recurringruns"]:
                return self._page("recurringRuns", self._in_namespace(self.recurring, query), query)
            case ["POST", "recurringruns"]:
                self._references(body)
                namespace = self.experiments[body["experiment_id"]].get("namespace", "")
                body |= {"status": f"{body['mode']}D", "namespace": namespace}
                return self._new(self.recurring, "recurring_run_id", "V2beta1RecurringRun", body)
            case ["DELETE", *_, kind, name]:
                kept, what = self._kept(kind)
                self._get(kept, name, what)
                del kept[name]
                return {}
            case ["POST", "recurringruns", run] if ":" in run:
                name, _, verb = run.partition(":")
                self._get(self.recurring, name, "recurring run")["status"] = f"{verb.upper()}D"
                return {}
        raise Refusal(404, "Not Found")

    def _kept(self, kind: str) -> tuple[dict[str, dict[str, Any]], str]:
        """Returns the entries behind a path, and what one of them is called."""
        return {
            "runs": (self.runs, "run"),
            "recurringruns": (self.recurring, "recurring run"),
            "versions": (self.versions, "version"),
            "pipelines": (self.pipelines, "pipeline"),
            "experiments": (self.experiments, "experiment"),
        }[kind]

    def _place(self, body: dict[str, Any]) -> None:
        self._in_namespace({}, body)

    def _in_namespace(self, kept: dict[str, dict[str, Any]], asked: dict[str, Any]) -> list[dict[str, Any]]:
        namespace = asked.get("namespace", "")
        if not self.multi_user and namespace:
            raise Refusal(400, "In single-user mode, the API cannot filter by namespace")
        if self.multi_user and namespace not in self.namespaces:
            raise Refusal(403, f"User is not authorized in namespace {namespace!r}")
        return [entry for entry in kept.values() if entry.get("namespace", "") == namespace]

    def _page(self, key: str, entries: list[dict[str, Any]], query: dict[str, str]) -> dict[str, Any]:
        for predicate in json.loads(query.get("filter") or "{}").get("predicates", []):
            value, name = predicate.get("string_value", predicate.get("stringValue")), predicate["key"]
            if name not in ("display_name", "name"):
                raise Refusal(400, f"no such field: {name}")
            if predicate["operation"] in ("EQUALS", 1):
                entries = [entry for entry in entries if entry[name] == value]
            elif predicate["operation"] in ("IS_SUBSTRING", 9):
                entries = [entry for entry in entries if value in entry[name]]
            else:
                raise Refusal(400, f"no such operation: {predicate['operation']}")
        start, size = int(query.get("page_token") or 0), int(query.get("page_size") or 10)
        following = str(start + size) if start + size < len(entries) else ""
        return {key: entries[start : start + size], "total_size": len(entries), "next_page_token": following}

    def _new(
        self, kept: dict[str, dict[str, Any]], key: str, model: str, body: dict[str, Any], unique: tuple[str, ...] = ()
    ) -> dict[str, Any]:
        unknown = body.keys() - set(getattr(kfp_server_api, model).attribute_map.values())
        if unknown:
            raise Refusal(400, f"unknown field {min(unknown)!r}")
        if unique and any(all(entry.get(name) == body.get(name) for name in unique) for entry in kept.values()):
            raise Refusal(409, f"{body['display_name']} already exists")
        identity = str(uuid.uuid4())
        kept[identity] = {**body, key: identity, "created_at": "2026-11-25T03:00:00Z"}
        return kept[identity]

    def _upload(self, query: dict[str, str], body: bytes) -> dict[str, Any]:
        pipeline = query["pipelineid"]
        self._get(self.pipelines, pipeline, "pipeline")
        spec, *platform = yaml.safe_load_all(body)
        if "pipelineInfo" not in spec:
            raise Refusal(400, "no pipeline")
        content = {"pipeline_id": pipeline, "display_name": query["name"], "name": query["name"]}
        content |= {"pipeline_spec": {"pipeline_spec": spec, "platform_spec": platform[0] if platform else {}}}
        return self._new(
            self.versions, "pipeline_version_id", "V2beta1PipelineVersion", content, ("name", "pipeline_id")
        )

    def _references(self, body: dict[str, Any]) -> None:
        self._get(self.experiments, body["experiment_id"], "experiment")
        reference = body["pipeline_version_reference"]
        version = self._get(self.versions, reference["pipeline_version_id"], "pipeline version")
        parameters = version["pipeline_spec"]["pipeline_spec"]["root"]["inputDefinitions"]["parameters"]
        wanted = {name for name, parameter in parameters.items() if not parameter.get("isOptional")}
        given = body["runtime_config"]["parameters"].keys()
        if wrong := (wanted - given) | (given - parameters.keys()):
            raise Refusal(400, f"parameters: {', '.join(sorted(wrong))} missing or unknown")

    @staticmethod
    def _get(kept: dict[str, dict[str, Any]], identity: str, what: str) -> dict[str, Any]:
        if identity not in kept:
            raise Refusal(404, f"{what} {identity} not found")
        return kept[identity]


class _Handler(Handler):
    kfp: KfpServer

    def _handle(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        address = urlsplit(self.path)
        path = address.path.rpartition("/apis/")[2].removeprefix("v2beta1/")  # what else there is, is Kubernetes' own
        asked = f"{self.command} {address.path}"
        self.kfp.requests.append(asked)
        fault = next((fault for fault in self.kfp.faults if fault.times and re.search(fault.pattern, asked)), Fault(""))
        fault.times -= 1
        time.sleep(fault.seconds)
        if fault.drop == "before":
            self.close_connection = True
            return
        try:
            if fault.status:
                raise Refusal(fault.status, f"on demand {fault.status}")
            if self.kfp.token and self.headers.get("authorization") != f"Bearer {self.kfp.token}":
                raise Refusal(401, "Request not authenticated")
            status = 200
            answer = self.kfp.answer(self.command, path, dict(parse_qsl(address.query)), self._body(content))
        except Refusal as refusal:
            said = str(refusal)
            answer = {"error": said, "code": _CODES[refusal.status], "message": said, "details": []}
            status = refusal.status
        if fault.drop == "after":
            self.close_connection = True
            return
        kind = "application/json"
        if isinstance(answer, str):
            kind, text = "text/plain; charset=utf-8", answer.encode()
        else:
            text = json.dumps(answer).encode()
        if fault.page:
            kind, text = "text/html", b"<html>Sign in</html>"
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if fault.drop == "middle":
            text, self.close_connection = text[: len(text) // 2], True
        self.wfile.write(text)

    do_GET = do_POST = do_DELETE = _handle  # noqa: N815 - http.server's names

    def _body(self, content: bytes) -> Any:
        kind = self.headers.get("Content-Type", "")
        if kind.startswith("multipart/"):
            parts = BytesParser().parsebytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + content)
            return parts.get_payload()[0].get_payload(decode=True)
        return json.loads(content or b"{}")


@contextmanager
def kfp_server() -> Iterator[KfpServer]:
    """Yields a running server; stops it at the end."""
    handler = type("_Kfp", (_Handler,), {})
    with server(handler) as url:
        handler.kfp = KfpServer(url)
        yield handler.kfp
