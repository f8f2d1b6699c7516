"""A pod's log, copied to standard output line by line, however often the connection breaks or the pod starts anew."""

import threading
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from model.utils.errors import Interrupted

_SILENCE = 60  # seconds without a line, after which the log is asked for again
PAUSE = 1.0
"""Seconds before that."""
_REST = 20  # seconds for what is left at the end


class PodLog:
    """Copies, by a thread of its own, the log of the pod that it is told to follow; each line once."""

    def __init__(self, core: Any, namespace: str, container: str) -> None:
        """
        Args:
            core: Kubernetes' CoreV1Api.
            namespace: the pod's.
            container: the pod's.
        """
        self._core, self._namespace, self._container = core, namespace, container
        self._pod, self._last = "", ""
        self._told, self._ended = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._copy, name="log of the TrainJob", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Waits for the rest of the log, unless SIGTERM has come."""
        self._ended.set()
        self._told.set()
        if kind is not Interrupted:
            self._thread.join(_REST)

    def follow(self, pod: str) -> None:
        """Begins with a pod's log, or goes on with it."""
        self._pod = pod
        self._told.set()

    def _copy(self) -> None:
        self._told.wait()
        while self._pod:
            rest = self._ended.is_set()
            with suppress(ApiException, HTTPError):  # the pod is gone or not yet there, the connection broke
                self._read(self._pod, follow=not rest)
            if rest:
                return
            self._ended.wait(PAUSE)

    def _read(self, pod: str, follow: bool) -> None:
        """Prints what is later than the last line printed; the lines' time stamps all have nine digits, in UTC."""
        before, unfinished = self._last, b""
        answer = self._core.read_namespaced_pod_log(
            pod,
            self._namespace,
            container=self._container,
            follow=follow,
            timestamps=True,
            _preload_content=False,
            _request_timeout=(5, _SILENCE),
        )
        for chunk in answer.stream():
            *lines, unfinished = (unfinished + chunk).split(b"\n")
            for line in lines:
                stamp, _, text = line.decode(errors="replace").partition(" ")
                if stamp > before:
                    print(text, flush=True)
                    self._last = stamp
