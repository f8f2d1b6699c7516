"""Tests of promotion and rollback in a real SQLite store: aliases, refusals and the history."""

import hashlib
from pathlib import Path

import pytest

from components.shared.mlflow import connection, promotion, registry, runs
from components.shared.mlflow.promotion import promote, rollback
from model.inference.saved import save_generator
from model.networks.generator import Generator
from model.utils.errors import UserError
from tests.support.made import make_generator
from tests.support.retrained import aliases
from tests.support.tiny import tiny_config


def make_version(folder: Path, generator: Path | None = None) -> registry.Version:
    """Registers a new version with a new tiny generator, in the layout of `log_model`."""
    made = folder / "generator"
    if generator:
        folder.mkdir()
        generator.rename(made)
    else:
        save_generator(made, Generator(tiny_config().generator), crop=16, size=16, images=1)
    client = connection.connect()
    with runs.start_run("train") as run:
        experiment = client.get_run(run.id).info.experiment_id
        logged = client.create_logged_model(experiment, name="colorizer", source_run_id=run.id)
        client.log_model_artifacts(logged.model_id, str(made), registry.GENERATOR)
        client.finalize_logged_model(logged.model_id, "READY")
        tags = {"weights_sha256": registry.checksum(made) or "", "data_version": "d1"}
        return registry.create(logged.model_id, run.id, tags)


@pytest.fixture
def three(workplace: Path) -> None:
    for number in range(1, 4):
        make_version(workplace / f"made-{number}")


def test_promotion_moves_champion_and_previous_and_records_the_reason(three: None) -> None:
    promote(1, "the first")
    assert aliases() == {"champion": 1}
    promoted = promote(2, "better by far")
    assert aliases() == {"champion": 2, "previous": 1}
    assert promoted.tags["promoted_from"] == "1"
    assert promoted.tags["promotion_reason"] == "better by far"
    assert promoted.tags["promoted_by"]
    assert promoted.tags["promoted_at"].endswith("+00:00")


def test_a_rollback_restores_the_previous_version_and_a_second_one_undoes_it(three: None) -> None:
    for number in (1, 2, 3):
        promote(number, "better")
    assert rollback("skies came out green").number == 2
    assert aliases() == {"champion": 2, "previous": 3}
    assert rollback("they were green").number == 3
    assert aliases() == {"champion": 3, "previous": 2}
    lines = [(line.action, line.version, line.origin, line.reason) for line in promotion.history()]
    assert lines == [
        ("promote", 1, None, "better"),
        ("promote", 2, 1, "better"),
        ("promote", 3, 2, "better"),
        ("rollback", 2, 3, "skies came out green"),
        ("rollback", 3, 2, "they were green"),
    ]
    assert all(line.by for line in promotion.history())


def test_a_rollback_without_a_previous_version_is_refused(three: None) -> None:
    with pytest.raises(UserError, match="no version to roll back to"):
        rollback("")
    promote(1, "the first")
    with pytest.raises(UserError, match="no version to roll back to"):
        rollback("")
    assert aliases() == {"champion": 1}


def test_promoting_the_champion_changes_nothing(three: None) -> None:
    promote(1, "the first")
    before = promote(2, "better")
    assert promote(2, "once more") == before
    assert aliases() == {"champion": 2, "previous": 1}
    assert len(promotion.history()) == 2


def test_promoting_a_nonexistent_version_is_refused(three: None) -> None:
    with pytest.raises(UserError, match="no version 9"):
        promote(9, "typo")
    assert registry.champion() is None


def test_damaged_weights_in_mlflow_are_refused_despite_a_good_local_copy(three: None, workplace: Path) -> None:
    promote(1, "the first")
    good = registry.get(2).weights_sha256
    registry.fetch("models:/colorizer/2")
    (stored,) = (
        path
        for path in workplace.glob("workspace/mlartifacts/**/generator.safetensors")
        if hashlib.sha256(path.read_bytes()).hexdigest() == good
    )
    content = bytearray(stored.read_bytes())
    content[-1] ^= 1
    stored.write_bytes(content)
    with pytest.raises(UserError, match=r"models:/colorizer/2.*damaged"):
        promote(2, "better")
    assert aliases() == {"champion": 1}
    assert "promoted_at" not in registry.get(2).tags


def test_a_version_with_nan_weights_is_refused(three: None, workplace: Path) -> None:
    make_version(workplace / "broken", make_generator(workplace / "nan", 5, broken=True))
    with pytest.raises(UserError, match="cannot be put in service"):
        promote(4, "better")
    assert aliases() == {}


def test_aliases_moved_by_hand_are_found_and_recorded(three: None) -> None:
    promote(1, "the first")
    promote(2, "better")
    registry.set_alias("champion", 3)
    promotion.repair()
    assert aliases() == {"champion": 3, "previous": 2}
    registry.set_alias("champion", 1)
    assert rollback("not by hand").number == 3
    lines = [(line.action, line.version, line.origin) for line in promotion.history()]
    assert lines[2:] == [("found", 3, 2), ("found", 1, 3), ("rollback", 3, 1)]


def test_a_slow_clock_does_not_change_the_order_of_the_history(three: None, monkeypatch: pytest.MonkeyPatch) -> None:
    promote(1, "the first")
    monkeypatch.setattr(promotion, "_now", lambda: "2020-01-01T00:00:00.000+00:00")
    promote(2, "better")
    assert [line.version for line in promotion.history()] == [1, 2]
    assert aliases() == {"champion": 2, "previous": 1}
