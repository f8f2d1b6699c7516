"""Tests of the webhook on a real and faulty server."""

import logging
from functools import partial
from pathlib import Path

import pytest

from components.report.component import report as report_component
from components.report.webhook import deliver
from tests.support.webhook import TOKEN, receiver


@pytest.mark.parametrize(
    ("plan", "requests", "trouble"),
    [
        ((200,), 1, ""),
        ((500, "drop", 200), 3, ""),
        ((429, 204), 2, ""),
        ((500,), 3, "status 500"),
        (("drop",), 3, "ProtocolError"),
        (("hang",), 3, "ReadTimeoutError"),
        ((404,), 1, "status 404"),
        (("redirect",), 1, "status 307"),
        (("drip",), 1, "no end after 1.5 s"),
    ],
    ids=str,
)
def test_a_faulty_webhook_server_does_not_fail_the_run_or_reveal_the_address(
    workplace: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    plan: tuple[str | int, ...],
    requests: int,
    trouble: str,
) -> None:
    hasty = partial(deliver, timeout=0.3, backoff=0.01, limit=1.5)
    monkeypatch.setattr("components.report.step.deliver", hasty)
    caplog.set_level(logging.DEBUG)
    with receiver(*plan) as hook:
        monkeypatch.setenv("COLORIZE_WEBHOOK_URL", hook.url)

        class Status:
            state, error_message = "SUCCEEDED", None

        report_component.python_func(Status, "demo", "abc.dir")
        assert hook.paths == [f"/hooks/{TOKEN}"] * requests  # and never /elsewhere
    output = capfd.readouterr()
    assert output.out.splitlines()[-1] == (f"webhook: not delivered: {trouble}" if trouble else "webhook: delivered")
    assert TOKEN not in output.out + output.err + caplog.text


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("http://hooks.example.com/T00", False),
        ("http://10.0.0.1/T00", False),
        ("http://svc.example.com/T00", False),
        ("ftp://localhost/T00", False),
        ("https:///T00", False),
        ("not an address", False),
        ("http://[::1", False),
        ("http://localhost:9/T00", True),
        ("http://[::1]:9/T00", True),
        ("https://127.0.0.1:9/T00", True),
        ("http://hooks:9/T00", True),
        ("http://hooks.team.svc:9/T00", True),
        ("http://hooks.team.svc.cluster.local:9/T00", True),
    ],
)
def test_plain_http_is_allowed_only_inside_the_cluster(url: str, allowed: bool) -> None:
    trouble = deliver(url, {}, timeout=0.1, backoff=0, limit=0.5)  # no server listens at these addresses
    assert trouble
    assert ("must be https" in trouble) != allowed
    assert "T00" not in trouble
