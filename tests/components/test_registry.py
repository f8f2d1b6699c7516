"""The registry on a real SQLite store: fetching checked files, and promotions that survive a crash at any call."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components import registry, tracking
from model.checkpoint import load_generator, save_generator
from model.errors import UserError
from model.networks import Generator
from tests.tiny import tiny_config

TINY = tiny_config().generator


def _register(folder: Path) -> registry.Version:
    """A new version with a new tiny generator, as `log_model` lays out its files."""
    weights = save_generator(folder / "generator", Generator(TINY), crop=16, size=16, images=1).weights_sha256
    client = tracking.connect()
    with tracking.run("train") as run:
        experiment = client.get_run(run.id).info.experiment_id
        logged = client.create_logged_model(experiment, name="colorizer", source_run_id=run.id)
        client.log_model_artifacts(logged.model_id, str(folder / "generator"), registry.GENERATOR)
        client.finalize_logged_model(logged.model_id, "READY")
        return registry.create(logged.model_id, run.id, {"weights_sha256": weights, "data_version": "d1"})


@pytest.fixture
def version(workplace: Path) -> registry.Version:
    return _register(workplace / "made")


def _stored(folder: Path, name: str) -> Path:
    (path,) = folder.glob(f"workspace/mlartifacts/**/{name}")
    return path


def test_versions_are_found_by_number_alias_and_tags(workplace: Path, version: registry.Version) -> None:
    registry.set_alias("challenger", version.number)
    assert version.number == 1
    assert (
        registry.get(1)
        == registry.by_alias("challenger")
        == registry.resolve("models:/colorizer@challenger")
        == version
    )
    assert registry.find({"weights_sha256": version.weights_sha256, "data_version": "d1"}) == version
    assert registry.find({"weights_sha256": version.weights_sha256, "data_version": "d2"}) is None
    assert registry.aliases(1) == ["challenger"]
    assert registry.champion() is None
    second = _register(workplace / "second")
    assert second.number == 2
    assert registry.find({"data_version": "d1"}) == version


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("models:/colorizer@champion", "There is no champion yet: `make run`"),
        ("models:/colorizer/7", "no version 7"),
        ("models:/other/1", "models:/colorizer@champion"),
        ("models:/colorizer/latest", "models:/colorizer@champion"),
        ("nowhere", "nowhere is no generator folder"),
    ],
)
def test_what_is_not_there_is_said(workplace: Path, uri: str, expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        registry.fetch(uri)


def test_a_generator_folder_is_itself(workplace: Path) -> None:
    save_generator(workplace / "mine", Generator(TINY), crop=16, size=16, images=1)
    assert registry.fetch("mine") == Path("mine")


def test_files_are_fetched_once_and_load(workplace: Path, version: registry.Version) -> None:
    registry.promote(1, "first")
    folder = registry.fetch("models:/colorizer@champion")
    assert folder == workplace / "workspace" / "cache" / "models" / version.weights_sha256
    _, info = load_generator(folder)
    assert info.weights_sha256 == version.weights_sha256
    assert sorted(path.name for path in folder.iterdir()) == ["generator.json", "generator.safetensors"]
    _stored(workplace, "generator.safetensors").unlink()  # the copy is enough
    assert registry.fetch("models:/colorizer/1") == folder
    assert [path.name for path in folder.parent.iterdir()] == [version.weights_sha256]  # nothing half-made is left


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["generator.safetensors", "generator.json"])
def test_a_damaged_copy_is_fetched_again(workplace: Path, version: registry.Version, name: str) -> None:
    folder = registry.fetch("models:/colorizer/1")
    (folder / name).write_bytes(b"half of it")
    registry.fetch("models:/colorizer/1")
    assert load_generator(folder)[1].weights_sha256 == version.weights_sha256


def test_damaged_weights_are_refused_even_with_a_checksum_to_match(workplace: Path, version: registry.Version) -> None:
    weights, description = _stored(workplace, "generator.safetensors"), _stored(workplace, "generator.json")
    _flip(weights)
    with pytest.raises(UserError, match=r"models:/colorizer/1: .*damaged"):
        registry.fetch("models:/colorizer/1")
    forged = json.loads(description.read_bytes()) | {"weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest()}
    description.write_text(json.dumps(forged), encoding="utf-8")
    with pytest.raises(UserError, match="damaged"):
        registry.fetch("models:/colorizer/1")
    assert not list(Path("workspace/cache/models").iterdir())


def test_missing_files_are_said(workplace: Path, version: registry.Version) -> None:
    for name in ("generator.safetensors", "generator.json"):
        _stored(workplace, name).unlink()
    with pytest.raises(UserError, match=r"models:/colorizer/1.*(missing|damaged)"):
        registry.fetch("models:/colorizer/1")


def test_promotion_moves_champion_and_previous_and_says_why(workplace: Path, version: registry.Version) -> None:
    registry.promote(1, "the first")
    assert (registry.aliases(1), registry.by_alias("previous")) == (["champion"], None)
    _register(workplace / "second")
    promoted = registry.promote(2, "better by far")
    assert (registry.aliases(1), registry.aliases(2)) == (["previous"], ["champion"])
    assert promoted.tags["promoted_from"] == "1"
    assert promoted.tags["promotion_reason"] == "better by far"
    assert promoted.tags["promoted_by"]
    assert promoted.tags["promoted_at"].endswith("+00:00")


def test_promoting_the_champion_changes_nothing(workplace: Path, version: registry.Version) -> None:
    _register(workplace / "second")
    registry.promote(1, "the first")
    before = registry.promote(2, "better")
    assert registry.promote(2, "once more") == before
    assert (registry.aliases(1), registry.aliases(2)) == (["previous"], ["champion"])


def test_only_what_exists_is_promoted(workplace: Path, version: registry.Version) -> None:
    with pytest.raises(UserError, match="no version 9"):
        registry.promote(9, "typo")
    assert registry.champion() is None


class _Crash(BaseException):
    """As a kill: nobody catches it."""


@pytest.fixture
def crashing(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """crashing(n) lets n more calls that write to the registry through, then nothing."""
    connect = tracking.connect

    class Client:
        def __init__(self, left: list[int]) -> None:
            self._real, self._left = connect(), left

        def __getattr__(self, name: str) -> Any:
            if name.startswith(("set_", "create_", "delete_")):
                if not self._left[0]:
                    raise _Crash
                self._left[0] -= 1
            return getattr(self._real, name)

    def arm(calls: int) -> None:
        left = [calls]
        monkeypatch.setattr(tracking, "connect", lambda: Client(left))

    return arm


def test_a_crash_between_any_two_calls_leaves_one_champion_and_is_mended(
    workplace: Path, version: registry.Version, crashing: Callable[[int], None]
) -> None:
    registry.promote(1, "the first")
    for number, calls in ((number, number - 2) for number in range(2, 9)):
        _register(workplace / str(number))
        before = registry.champion()
        assert before is not None
        crashing(calls)
        try:
            registry.promote(number, "better")
        except _Crash:
            interrupted = True
        else:
            interrupted = False
        crashing(1000)
        champion = registry.champion()
        assert champion is not None
        assert champion.number in (before.number, number)
        if champion.number == number:
            assert champion.tags["promotion_reason"] == "better"  # never in service without a reason
        registry.promote(number, "better")
        assert registry.aliases(number) == ["champion"]
        assert registry.aliases(before.number) == ["previous"]
    assert not interrupted, "the last round was to let every call through: raise the range"
