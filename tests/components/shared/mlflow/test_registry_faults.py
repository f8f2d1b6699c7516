"""Tests of the registry when any call of an operation fails, and when two registrations run at once."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from mlflow.exceptions import MlflowException
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore

from components.register import step
from components.shared.mlflow import promotion, registry
from components.shared.mlflow.promotion import promote, rollback
from model.utils.errors import UserError
from tests.components.shared.mlflow.test_promotion import make_version
from tests.support.retrained import RULES, TAGS, aliases, evaluated, trained

CALLS = (
    "create_model_version",
    "create_registered_model",
    "delete_model_version",
    "get_model_version",
    "get_model_version_by_alias",
    "get_model_version_download_uri",
    "get_registered_model",
    "search_model_versions",
    "set_model_version_tag",
    "set_registered_model_alias",
    "set_registered_model_tag",
)
"""Calls of the registry's store that any client can cause."""


class KillError(BaseException):
    """Stands for a kill: no code catches it."""


_REAL = {name: getattr(SqlAlchemyStore, name) for name in CALLS}


@contextmanager
def at_call(number: int, before: Callable[[], None], after: Callable[[], None]) -> Iterator[list[str]]:
    """Calls `before` and `after` around one call of the registry's store; yields the names of all calls."""
    made: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        for name in CALLS:

            def call(*arguments: Any, _name: str = name, **named: Any) -> Any:
                made.append(_name)
                mine = len(made) == number
                if mine:
                    before()
                answer = _REAL[_name](*arguments, **named)
                if mine:
                    after()
                return answer

            patch.setattr(SqlAlchemyStore, name, call)
        yield made


def _kill() -> None:
    raise KillError


def _fail() -> None:
    raise MlflowException("out of order")  # a server answers 500


def _nothing() -> None:
    pass


FAULTS = {
    "killed before a call": (_kill, _nothing),
    "killed after a call": (_nothing, _kill),
    "refused": (_fail, _nothing),
    "done, and the answer lost": (_nothing, _fail),
}
SLOW_FAULTS = [
    pytest.param(name, marks=pytest.mark.slow if "lost" in name else pytest.mark.exhaustive) for name in FAULTS
]


def is_sound() -> None:
    """Fails unless there is one champion with a reason, and each version with an alias is complete."""
    numbers = registry.model().aliases
    for number in numbers.values():
        assert registry.checksum(registry.refetch(registry.get(number)))
    champion = registry.champion()
    assert champion
    assert champion.tags["promotion_reason"]
    assert promotion.history()[-1].version == champion.number


@pytest.mark.parametrize(
    "fault", [name if "lost" in name else pytest.param(name, marks=pytest.mark.exhaustive) for name in FAULTS]
)
def test_the_next_promotion_repairs_a_promotion_that_failed_at_any_call(workplace: Path, fault: str) -> None:
    make_version(workplace / "made-1")
    promote(1, "the first")
    calls = 0
    while True:
        calls += 1
        number = make_version(workplace / f"made-{calls + 1}").number
        old = registry.model().aliases["champion"]
        with at_call(calls, *FAULTS[fault]) as made, suppress(KillError, UserError):
            promote(number, "better")
        is_sound()
        assert registry.model().aliases["champion"] in (old, number)
        promote(number, "better")
        assert {"champion": number, "previous": old}.items() <= aliases().items()
        assert [line.version for line in promotion.history()] == list(range(1, number + 1))
        if len(made) < calls:
            break
    assert calls > 12


@pytest.mark.timeout(900)
@pytest.mark.parametrize("fault", SLOW_FAULTS)
def test_a_rollback_that_crashed_at_any_call_can_be_completed(workplace: Path, fault: str) -> None:
    for number in (1, 2):
        make_version(workplace / f"made-{number}")
        promote(number, "better")
    calls = 0
    while True:
        calls += 1
        before = registry.model().aliases
        with at_call(calls, *FAULTS[fault]) as made, suppress(KillError, UserError):
            rollback("undone")
        is_sound()
        if registry.model().aliases["champion"] == before["champion"]:
            rollback("undone")
        else:
            promotion.repair()
        assert registry.model().aliases == {"champion": before["previous"], "previous": before["champion"]}
        if len(made) < calls:
            break


def retrain_once(folder: Path, score: float, champion: float) -> int:
    """Registers a model, trained on the first call, and promotes or rejects it; returns the version."""
    model = folder if folder.exists() else trained(folder)
    out = folder.with_name(f"{folder.name}-out")
    record = step.register(model, evaluated(model, score, champion), out, RULES, TAGS)
    if record["promote"]:
        step.promote(out)
    return int(record["version"])


@pytest.mark.timeout(900)
@pytest.mark.parametrize("fault", SLOW_FAULTS)
def test_the_next_run_repairs_a_registration_that_failed_at_any_call(workplace: Path, fault: str) -> None:
    retrain_once(workplace / "model-0", 0.3, 0.0)
    calls, score = 0, 0.3
    while True:
        calls, before = calls + 1, score
        score, old = before + 0.01, registry.model().aliases["champion"]
        model = trained(workplace / f"model-{calls}")
        with at_call(calls, *FAULTS[fault]) as made, suppress(KillError, UserError):
            retrain_once(model, score, before)
        is_sound()
        new = retrain_once(model, score, before)
        is_sound()
        assert aliases() == {"challenger": new, "champion": new, "previous": old}
        assert len(registry.find_all({})) == calls + 1
        if len(made) < calls:
            break
    assert calls > 25


def _in_a_thread(what: Callable[[], object]) -> Callable[[], None]:
    def run() -> None:
        thread = threading.Thread(target=what)
        thread.start()
        thread.join()

    return run


@pytest.mark.exhaustive
@pytest.mark.timeout(900)
@pytest.mark.parametrize("same", [True, False], ids=["the same model", "another model"])
def test_a_registration_between_any_two_calls_of_another_leaves_a_sound_registry(workplace: Path, same: bool) -> None:
    retrain_once(workplace / "model-0", 0.3, 0.0)
    calls, score = 0, 0.3
    while True:
        calls, before = calls + 1, score
        score, old = before + 0.02, registry.model().aliases["champion"]
        count = len(registry.find_all({}))
        for name in ("a", "b"):
            (workplace / f"{name}-{calls}").mkdir()
        model, other = (trained(workplace / f"{name}-{calls}" / "model") for name in ("a", "b"))
        second = _in_a_thread(lambda o=model if same else other, s=score, b=before: retrain_once(o, s, b))
        overtaken = ""
        with at_call(calls, second, _nothing) as made:
            try:
                retrain_once(model, score, before)
            except UserError as error:
                overtaken = str(error)
        is_sound()
        now, line = registry.model().aliases, promotion.history()[-1]
        assert (now["champion"], now["previous"]) == (line.version, line.origin)
        assert now["champion"] != old
        assert len(registry.find_all({})) == count + (1 if same or len(made) < calls else 2)
        assert not overtaken or "champion is" in overtaken
        if len(made) < calls:
            break
