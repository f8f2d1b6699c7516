"""Tests of the training steps: the terms of the objective and the effect of each."""

from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

from model.data.shards import Shards
from model.training.checkpoint import checkpoints
from model.training.loop import train
from tests.support.tiny import tiny_config, tiny_dataset
from tests.support.trainings import logged

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Shards:
    return Shards.open(tiny_dataset(tmp_path_factory.mktemp("tiny")), "train")


def _state(folder: Path) -> dict[str, Tensor]:
    return safetensors.torch.load_file(checkpoints(folder)[0])


def test_the_warm_up_does_not_train_the_discriminator(tmp_path: Path, shards: Shards) -> None:
    torch.manual_seed(tiny_config().seed)
    train(tiny_config("checkpoint_every=16", "warmup_images=64", "images=72"), shards, tmp_path / "warm", {})
    train(tiny_config("checkpoint_every=16", "warmup_images=0", "images=72"), shards, tmp_path / "game", {})
    warm, played = _state(tmp_path / "warm"), _state(tmp_path / "game")
    assert not any(name.startswith("discriminator_adam") for name in warm)
    assert any(name.startswith("discriminator_adam") for name in played)
    first = "discriminator.layers.0.weight"
    assert not torch.equal(warm[first], played[first])


@pytest.mark.parametrize("network", [(), ("generator.norm=batch", "generator.noise=dropout")], ids=["group", "batch"])
def test_the_critic_phase_trains_the_discriminator_alone(
    tmp_path: Path, shards: Shards, network: tuple[str, ...]
) -> None:
    common = ("warmup_images=16", "checkpoint_every=8", "log_every=8", *network)
    before, after = tmp_path / "before", tmp_path / "after"
    train(tiny_config("images=24", *common), shards, before, {})
    train(tiny_config("images=48", "critic_images=24", *common), shards, after, {})
    assert [row["phase"] for row in logged(after)] == ["warmup"] * 2 + ["critic"] * 3 + ["full"]
    assert logged(after)[2].keys() >= {"discriminator", "d_accuracy", "ab_spread"}
    assert not {"reconstruction", "adversarial"} & logged(after)[2].keys()
    old, new = _state(before), _state(after)
    for name in old:
        still = torch.equal(old[name], new[name])
        if name.startswith(("generator", "ema")):
            assert still, f"{name} changed"
        elif name.startswith("discriminator.") and name.endswith("weight"):
            assert not still, f"{name} did not change"


def _game(folder: Path, shards: Shards, *overrides: str) -> dict[str, float]:
    """Trains until the first step of the game; returns its row."""
    train(tiny_config("images=24", "warmup_images=16", "log_every=8", *overrides), shards, folder, {})
    return logged(folder)[-1]


def test_the_weight_gives_the_adversarial_gradient_its_share(tmp_path: Path, shards: Shards) -> None:
    shared = ("objective.adversarial_weighting=gradient", "objective.adversarial_weight=0.25")
    row = _game(tmp_path / "shared", shards, *shared)
    assert row["adversarial_share"] == pytest.approx(0.25)
    fixed = _game(tmp_path / "fixed", shards, f"objective.adversarial_weight={row['adversarial_weight']}")
    other = _game(tmp_path / "other", shards, f"objective.adversarial_weight={2 * row['adversarial_weight']}")
    assert fixed["adversarial_share"] == pytest.approx(0.25, rel=1e-3)
    assert other["adversarial_share"] == pytest.approx(0.5, rel=1e-3)


@pytest.mark.parametrize(
    ("overrides", "absent", "present"),
    [
        (("objective.adversarial=none",), {"adversarial", "discriminator", "d_accuracy"}, {"diversity"}),
        (("objective.reconstruction=none", "warmup_images=0"), {"reconstruction"}, {"adversarial"}),
        (("objective.diversity_weight=0",), {"diversity"}, {"adversarial", "reconstruction"}),
        (("generator.noise=none",), {"diversity"}, {"adversarial"}),
        (
            ("generator.noise=dropout", "generator.norm=batch", "discriminator.norm=batch"),
            {"diversity"},
            {"adversarial"},
        ),
        (("objective.adversarial=vanilla", "clip_gradient=0", "ema_half_life=0"), set(), {"adversarial"}),
        (("objective.adversarial=hinge", "objective.reconstruction=l2"), set(), {"reconstruction"}),
        (("precision=bfloat16",), set(), {"reconstruction", "adversarial"}),
        (("objective.perceptual_weight=10",), set(), {"perceptual", "reconstruction", "adversarial"}),
        (("objective.adversarial=relativistic",), {"gradient_penalty"}, {"adversarial", "d_accuracy"}),
        (
            ("objective.adversarial=relativistic", "objective.gradient_penalty=1", "discriminator.norm=none"),
            set(),
            {"gradient_penalty", "adversarial_share"},
        ),
        (("objective.gradient_penalty=1", "precision=bfloat16"), set(), {"gradient_penalty"}),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, tuple) else "",
)
def test_each_term_of_the_objective_can_be_switched_off(
    tmp_path: Path, shards: Shards, overrides: tuple[str, ...], absent: set[str], present: set[str]
) -> None:
    config = tiny_config("images=40", "warmup_images=16", *overrides)
    train(config, shards, tmp_path, {})
    row = logged(tmp_path)[-1]
    assert present <= row.keys()
    assert not absent & row.keys()
    state = _state(tmp_path)
    assert any(name.startswith("discriminator.") for name in state) is (config.objective.adversarial != "none")
    assert any(name.startswith("ema.") for name in state) is (config.ema_half_life > 0)


def test_the_perceptual_loss_counts_in_the_warm_up_and_its_network_is_not_saved(tmp_path: Path, shards: Shards) -> None:
    states = []
    for weight in (0, 10):
        config = tiny_config("warmup_images=64", f"objective.perceptual_weight={weight}")
        train(config, shards, tmp_path / str(weight), {})
        assert ("perceptual" in logged(tmp_path / str(weight))[0]) is (weight > 0)
        states.append(_state(tmp_path / str(weight)))
    without, with_ = states
    assert without.keys() == with_.keys()
    assert any(not torch.equal(with_[name], without[name]) for name in without if name.startswith("generator."))


def test_the_diversity_loss_makes_colorings_differ(tmp_path: Path, shards: Shards) -> None:
    apart = []
    for weight in (0, 300):
        config = tiny_config(
            "images=960",
            "warmup_images=0",
            "objective.adversarial=none",
            f"objective.diversity_weight={weight}",
            "objective.diversity_limit=0.1",
            "learning_rate=0.002",
            "ema_half_life=0",
        )
        generator = train(config, shards, tmp_path / str(weight), {}).generator
        L = torch.rand(1, 1, 16, 16).expand(8, 1, 16, 16) * 2 - 1
        with torch.no_grad():
            apart.append(generator(L, torch.randn(8, 8)).std(dim=0).mean().item())
    assert apart[1] > 2 * apart[0]


@pytest.mark.parametrize("kind", ["relativistic", "hinge"])
def test_the_gradient_penalty_keeps_the_discriminator_flat(tmp_path: Path, shards: Shards, kind: str) -> None:
    slopes = []
    for gamma in (0.001, 1.0):
        game = ("images=480", "warmup_images=0", "critic_images=480", "log_every=480", f"objective.adversarial={kind}")
        penalty = (f"objective.gradient_penalty={gamma}", "discriminator_learning_rate=0.002")
        folder = tmp_path / str(gamma)
        train(tiny_config(*game, *penalty), shards, folder, {})
        slopes.append(logged(folder)[-1]["gradient_penalty"])
    assert slopes[1] < slopes[0] / 3


def test_hints_are_learned(tmp_path: Path, shards: Shards) -> None:
    common = ("critic_images=8", "images=48", "checkpoint_every=8", "hints=0.75")
    train(tiny_config(*common, "generator.hints=true"), shards, tmp_path, {})
    state = _state(tmp_path)
    assert all(
        state[f"{network}.hints.add.{level}.weight"].any() for network in ("generator", "ema") for level in range(3)
    )
