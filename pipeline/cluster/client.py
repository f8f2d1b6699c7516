"""A client of the Kubeflow Pipelines API with timeouts, retries, and errors of one sentence."""

import contextlib
import io
import json
import logging
import os
import re
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kfp_server_api
import urllib3
from kfp import client as kfp_client
from kfp_server_api import ApiException, V2beta1Experiment, V2beta1Pipeline

from components.shared.machine.api_errors import api_error_message
from model.utils.errors import UserError

TIMEOUT = (10, 60)
"""Seconds to wait for a connection, and for each answer."""
PAUSES = (1, 2, 4, 8)
"""Seconds before each retry of a request that a busy or starting server has refused."""
_BUSY = (429, 503)
_PAGE = 100
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_LOG_END = 2**18  # bytes


@dataclass(frozen=True)
class Endpoint:
    """Holds the address and the credentials of Kubeflow Pipelines. kfp's client finds what is None.

    Attributes:
        host: Address of the API, such as https://kubeflow.example.org/pipeline.
        namespace: Namespace of a Kubeflow profile; kubeflow for a standalone installation without profiles.
        token_file: Token of a service account; read again when it has expired.
        ca_file: CA certificates (PEM).
    """

    host: str | None
    namespace: str
    token_file: Path | None
    ca_file: Path | None

    @contextlib.contextmanager
    def connect(self) -> Iterator["Client"]:
        """Yields a client; its errors inside the block become a UserError.

        Raises:
            UserError: the server cannot be reached, denies access, or refuses a request.
        """
        for file in (self.token_file, self.ca_file):
            if file and not file.is_file():
                raise UserError(f"{file}: no such file; correct --token-file or --ca-file.")
        logging.getLogger("urllib3").setLevel(logging.ERROR)  # urllib3 logs every retry
        credentials = kfp_client.ServiceAccountTokenVolumeCredentials(str(self.token_file)) if self.token_file else None
        with warnings.catch_warnings(), _explained(self):
            warnings.simplefilter("ignore", FutureWarning)  # kfp wants a server of version 2
            with contextlib.redirect_stdout(io.StringIO()):  # kfp reports a missing kubectl configuration
                client = Client(
                    host=self.host,
                    namespace=self.namespace,
                    cookies=os.environ.get("KF_PIPELINES_COOKIES"),
                    ssl_ca_cert=str(self.ca_file) if self.ca_file else None,
                    credentials=credentials,
                )
            yield client


class Client(kfp_client.Client):  # type: ignore[misc]
    """Extends kfp's client with timeouts, retries, and lookups by name that create what is missing."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._be_patient()

    def _load_config(self, host: str | None, client_id: str | None, namespace: str, *options: Any) -> Any:
        # Without a host, kfp looks for the API in the namespace of the runs, but it is in namespace kubeflow.
        return super()._load_config(host, client_id, "kubeflow", *options)

    def get_kfp_healthz(self, sleep_duration: int = 0) -> kfp_server_api.V2beta1GetHealthzResponse:
        """Returns the health of the server; kfp's constructor calls this if no namespace is given."""
        self._be_patient()
        return self._healthz_api.healthz_service_get_healthz()

    def _be_patient(self) -> None:
        rest = self._healthz_api.api_client.rest_client
        rest.request = _patiently(type(rest).request.__get__(rest))
        # Only reads are repeated: a write may have succeeded although its answer was lost.
        retries = urllib3.Retry(connect=2, read=1, backoff_factor=0.5)
        rest.pool_manager.connection_pool_kw["retries"] = retries

    def run_address(self, run_id: str) -> str:
        """Returns the address of a run's page."""
        return f"{self._get_url_prefix().rstrip('/')}/#/runs/details/{run_id}"

    def pipeline(self, name: str) -> str:
        """Returns the id of the pipeline of this name; creates it if missing."""

        def find() -> str | None:
            found = self.list_pipelines(namespace=self.get_user_namespace(), filter=_named(name)).pipelines
            return found[0].pipeline_id if found else None

        def make() -> str:
            wanted = V2beta1Pipeline(display_name=name, name=name, namespace=self.get_user_namespace())
            return str(self._pipelines_api.pipeline_service_create_pipeline(wanted).pipeline_id)

        return _find_or_make(find, make)

    def version(self, pipeline_id: str, name: str, digest: str, package: Path) -> str:
        """Returns the id of the pipeline version with this content; uploads it if missing.

        Args:
            pipeline_id: id of the pipeline.
            name: name of a new version; ends in the digest.
            digest: digest of the content.
            package: compiled pipeline.
        """

        def find() -> str | None:
            found = self.list_pipeline_versions(pipeline_id, filter=_named(digest, "IS_SUBSTRING")).pipeline_versions
            return found[0].pipeline_version_id if found else None

        def make() -> str:
            with contextlib.redirect_stdout(io.StringIO()):  # kfp prints addresses
                return str(self.upload_pipeline_version(str(package), name, pipeline_id).pipeline_version_id)

        return _find_or_make(find, make)

    def experiment(self, name: str) -> str:
        """Returns the id of the experiment of this name; creates it if missing."""

        def find() -> str | None:
            found = self.list_experiments(namespace=self.get_user_namespace(), filter=_named(name)).experiments
            return found[0].experiment_id if found else None

        def make() -> str:
            wanted = V2beta1Experiment(display_name=name, namespace=self.get_user_namespace())
            return str(self._experiment_api.experiment_service_create_experiment(wanted).experiment_id)

        return _find_or_make(find, make)

    def create_run(self, wanted: kfp_server_api.V2beta1Run) -> str:
        """Starts a run and returns its id."""
        return str(self._run_api.run_service_create_run(run=wanted).run_id)

    def find_run(self, name: str) -> kfp_server_api.V2beta1Run:
        """Returns the run with this id, or the newest with this name.

        Raises:
            UserError: there is none.
        """
        if _ID.fullmatch(name):
            return self.get_run(name)
        there = self.list_runs(
            page_size=1, sort_by="created_at desc", namespace=self.get_user_namespace(), filter=_named(name)
        ).runs
        if not there:
            raise UserError(f"There is no run {name!r}; give its id or its name, as Kubeflow's page of runs shows.")
        return there[0]

    def workflow(self, run_id: str) -> dict[str, Any]:
        """Returns Argo's workflow of a run, as Kubeflow saw it last; empty before it exists."""
        found = self._fetch("/apis/v1beta1/runs/{run}", {"run": run_id}, response_type="object")
        manifest = (found.get("pipeline_runtime") or {}).get("workflow_manifest")
        workflow: dict[str, Any] = json.loads(manifest or "{}")
        return workflow

    def log(self, run_id: str, pod: str) -> str:
        """Returns the end of a pod's log; of a deleted pod, from the archive where the cluster has one."""
        answer = self._fetch(
            "/apis/v1alpha1/runs/{run}/nodes/{pod}/log", {"run": run_id, "pod": pod}, _preload_content=False
        )
        end = b""
        for part in answer.stream(_LOG_END):
            end = (end + part)[-_LOG_END:]
        return end.decode(errors="replace")

    def _fetch(self, path: str, names: dict[str, str], **options: Any) -> Any:
        """Answers a request that kfp's client has no function for."""
        return self._run_api.api_client.call_api(
            path, "GET", names, auth_settings=["Bearer"], _return_http_data_only=True, **options
        )

    def all_recurring_runs(self) -> list[kfp_server_api.V2beta1RecurringRun]:
        """Returns all recurring runs of the namespace."""
        found: list[kfp_server_api.V2beta1RecurringRun] = []
        token = ""
        while True:
            page = self.list_recurring_runs(token, _PAGE, namespace=self.get_user_namespace())
            found += page.recurring_runs or []
            token = page.next_page_token or ""
            if not token:
                return found


def _named(text: str, operation: str = "EQUALS") -> str:
    return json.dumps({"predicates": [{"operation": operation, "key": "display_name", "string_value": text}]})


def _find_or_make(find: Callable[[], str | None], make: Callable[[], str]) -> str:
    found = find()
    if found:
        return found
    try:
        return make()
    except ApiException as error:
        if error.status != 409 or not (found := find()):
            raise
        return found  # another client was faster


def _patiently(request: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps the client's request with a timeout and with retries while the server is busy."""

    def patient(method: str, url: str, headers: dict[str, str], **options: Any) -> Any:
        options["_request_timeout"] = TIMEOUT
        try:
            for pause in PAUSES:
                try:
                    answer = request(method, url, headers=dict(headers), **options)
                    break
                except ApiException as error:
                    if error.status not in _BUSY:
                        raise
                    time.sleep(pause)
            else:
                answer = request(method, url, headers=dict(headers), **options)
            if "html" in answer.getheader("Content-Type", ""):  # a redirect to a sign-in page
                raise ApiException(401, "a web page came instead of an answer")
        except ApiException as error:
            error.body = error.body or b""  # the generated client decodes it even if it is None
            raise
        return answer

    return patient


@contextlib.contextmanager
def _explained(endpoint: Endpoint) -> Iterator[None]:
    where = endpoint.host or os.environ.get(kfp_client.client.KF_PIPELINES_ENDPOINT_ENV) or "the cluster of kubectl"
    try:
        yield
    except ApiException as error:
        raise UserError(_sentence(where, endpoint.namespace, error)) from error
    except urllib3.exceptions.HTTPError as error:
        cause = getattr(error, "reason", None) or error
        if isinstance(cause, urllib3.exceptions.ReadTimeoutError):
            what = f"did not answer within {TIMEOUT[1]} s; check on its web page what was done, and try again"
        elif isinstance(cause, urllib3.exceptions.ProtocolError):
            what = "closed the connection without an answer; check on its web page what was done, and try again"
        elif isinstance(cause, urllib3.exceptions.SSLError):
            what = "has an untrusted certificate; pass its CA with --ca-file"
        else:
            what = "cannot be reached; set KF_PIPELINES_ENDPOINT or --host, and check that it runs"
        raise UserError(f"Kubeflow Pipelines at {where} {what}.") from error


def _sentence(where: str, namespace: str, error: ApiException) -> str:
    words = api_error_message(error)
    if error.status in (401, 403):
        return (
            f"Kubeflow Pipelines at {where} denies access to namespace {namespace} ({words}); check --token-file "
            "(KF_PIPELINES_SA_TOKEN_PATH) or KF_PIPELINES_COOKIES, and --namespace."
        )
    if error.status == 404:
        return f"Kubeflow Pipelines at {where} found nothing ({words}); check --host and what was deleted."
    if error.status in _BUSY:
        return f"Kubeflow Pipelines at {where} is busy or starting up ({words}); try again later."
    return f"Kubeflow Pipelines at {where} refused the request ({words})."
