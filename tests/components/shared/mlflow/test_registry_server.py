"""Tests of the registry on a real MLflow server that fails at any request: it answers 500, or it hangs.

The fault lasts from one request on and ends before the next run; the next run repairs what is left.
"""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException

from components.shared.mlflow import connection, promotion, registry
from components.shared.mlflow.promotion import promote, rollback
from model.utils.errors import UserError
from tests.components.shared.mlflow.test_promotion import make_version
from tests.components.shared.mlflow.test_registry_faults import is_sound, retrain_once
from tests.support.faulty_proxy import FaultyProxy, faulty_proxy
from tests.support.mlflow_server import mlflow_server
from tests.support.retrained import aliases, trained

FAULTS = ("refuse", "stall", "stall after")
CREATE, MOVE = "POST .*model-versions/create", "POST .*registered-models/alias"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("mlflow")
    shutil.copy(migrated, folder)
    with mlflow_server(folder) as address:
        yield address


@pytest.fixture
def proxy(server: str, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    """Yields a proxy between this process and the server, which has no versions."""
    with faulty_proxy(server) as proxy:
        proxy.stall_seconds = 2
        monkeypatch.setenv("MLFLOW_TRACKING_URI", proxy.endpoint)
        yield proxy
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    with suppress(MlflowException):
        connection.connect().delete_registered_model(registry.MODEL)


def broken(proxy: FaultyProxy, fault: str, what: Callable[[], object], at: str = "", after: int = 0) -> str:
    """Calls `what` with a short timeout while the server fails after so many requests from the first that matches.

    Returns the error message; empty when there were fewer requests.
    """
    seen = 0

    def choose(request: str) -> str:
        nonlocal seen
        seen += bool(seen or re.search(at, request))
        return "" if seen <= after else fault if seen == after + 1 else fault.removesuffix(" after")

    proxy.choose = choose
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
            patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
            what()
    except UserError as error:
        return str(error)
    finally:
        proxy.choose = lambda request: ""
    assert seen <= after
    return ""


def is_a_clear(sentence: str, proxy: FaultyProxy) -> None:
    assert sentence.startswith(f"MLflow at {proxy.endpoint} cannot be used (")
    assert re.search(r"too many 50[03] error responses|Read timed out|reset|closed", sentence), sentence
    assert sentence.endswith("; start it, or correct MLFLOW_TRACKING_URI.")


def test_requests_to_a_silent_server_end_after_about_two_minutes(workplace: Path):
    connection.connect()
    seconds, retries, factor = (
        int(os.environ[f"MLFLOW_HTTP_REQUEST_{name}"]) for name in ("TIMEOUT", "MAX_RETRIES", "BACKOFF_FACTOR")
    )
    assert (retries + 1) * seconds + factor * (2**retries - 1) < 130


def is_clear(sentence: str, proxy: FaultyProxy) -> bool:
    reason = r"too many 50[03] error responses|Read timed out. \(read timeout=1\)"
    server = f"MLflow at {re.escape(proxy.endpoint)}"
    return bool(
        re.fullmatch(rf"{server} cannot be used \(({reason})\); start it, or correct MLFLOW_TRACKING_URI.", sentence)
    )


@pytest.mark.timeout(300)
@pytest.mark.parametrize("fault", [*(pytest.param(name, marks=pytest.mark.slow) for name in FAULTS[:2]), FAULTS[2]])
def test_the_next_promotion_repairs_an_interrupted_one(proxy: FaultyProxy, workplace: Path, fault: str):
    for number in (1, 2):
        make_version(workplace / f"made-{number}")
    promote(1, "the first")
    sentence = broken(proxy, fault, lambda: promote(2, "better"), MOVE)
    assert is_clear(sentence, proxy), sentence
    is_sound()
    promote(2, "better")
    assert aliases() == {"champion": 2, "previous": 1}
    assert [line.version for line in promotion.history()] == [1, 2]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("fault", FAULTS)
def test_an_interrupted_registration_leaves_no_alias_and_is_completed_once(
    proxy: FaultyProxy, workplace: Path, fault: str
):
    retrain_once(workplace / "model-1", 0.3, 0.0)
    trained(workplace / "model-2")
    sentence = broken(proxy, fault, lambda: retrain_once(workplace / "model-2", 0.4, 0.3), CREATE)
    assert is_clear(sentence, proxy), sentence
    is_sound()
    assert aliases() == {"challenger": 1, "champion": 1}
    retrain_once(workplace / "model-2", 0.4, 0.3)
    assert len(registry.find_all({})) == 2
    assert aliases() == {"challenger": 2, "champion": 2, "previous": 1}


def test_a_promotion_is_refused_when_the_server_does_not_return_the_files(proxy: FaultyProxy, workplace: Path):
    make_version(workplace / "made")
    sentence = broken(proxy, "refuse", lambda: promote(1, "the first"), "GET .*mlflow-artifacts/.*json")
    assert is_clear(sentence, proxy), sentence
    assert not aliases()


@pytest.mark.exhaustive
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_promotion_or_rollback_interrupted_at_any_request_is_repaired(
    proxy: FaultyProxy, workplace: Path, fault: str
):
    for number in (1, 2):
        make_version(workplace / f"made-{number}")
        promote(number, "better")
    for after in count():
        make_version(workplace / f"made-{after + 3}")
        old, new = registry.model().aliases["champion"], after + 3
        promoted = broken(proxy, fault, lambda new=new: promote(new, "better"), after=after)
        is_sound()
        promote(new, "better")
        assert aliases() == {"champion": new, "previous": old}
        undone = broken(proxy, fault, lambda: rollback("worse"), after=after)
        is_sound()
        if registry.model().aliases["champion"] == new:
            rollback("worse")
        else:
            promotion.repair()
        assert aliases() == {"champion": old, "previous": new}
        for sentence in filter(None, (promoted, undone)):
            assert is_clear(sentence, proxy), sentence
        if not promoted and not undone:
            break
    assert after > 12


@pytest.mark.exhaustive
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_registration_interrupted_at_any_request_is_repaired(proxy: FaultyProxy, workplace: Path, fault: str):
    retrain_once(workplace / "model-0", 0.3, 0.0)
    score = 0.3
    for after in count():
        before, score, old = score, score + 0.01, registry.model().aliases["champion"]
        model = trained(workplace / f"model-{after + 1}")
        ask = partial(retrain_once, model, score, before)
        sentence = broken(proxy, fault, ask, after=after)
        assert not sentence or is_clear(sentence, proxy), sentence
        is_sound()
        new = ask()
        is_sound()
        assert aliases() == {"challenger": new, "champion": new, "previous": old}
        assert len(registry.find_all({})) == after + 2
        if not sentence:
            break
    assert after > 25
