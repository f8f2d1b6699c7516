"""Tests of the generator and the discriminator: inputs, noise, labels, and the effect of each option."""

import itertools
from collections.abc import Iterator

import pytest
import torch
import torch.distributed
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from model.config import DiscriminatorConfig, GeneratorConfig
from model.networks.discriminator import Discriminator, smallest_side
from model.networks.generator import Generator
from model.networks.hints import fields

FIELDS = (1, 16, 34, 70, 142, 286)


def _generator(**options: object) -> Generator:
    plain = {"encoder": "none", "channels": 8, "levels": 3, "skip": True, "noise": "gaussian", "noise_size": 4}
    plain |= {"norm": "group", "upsample": "resize", "labels": [], "test_time_augmentation": False, "hints": False}
    plain |= {"norm": "group", "upsample": "resize", "labels": [], "test_time_augmentation": False}
    plain |= {"output": "regression", "temperature": 0.38}
    torch.manual_seed(0)
    return Generator(GeneratorConfig.model_validate(plain | options))


def _discriminator(labels: int = 0, **options: object) -> Discriminator:
    plain = {"channels": 8, "receptive_field": 34, "conditional": True, "norm": "group"}
    torch.manual_seed(0)
    return Discriminator(DiscriminatorConfig.model_validate(plain | options), labels)


def _picture(side: int = 32, batch: int = 2) -> Tensor:
    return torch.rand(batch, 1, side, side, generator=torch.Generator().manual_seed(1)) * 2 - 1


def _noise(generator: Generator, batch: int = 2, seed: int = 0) -> Tensor | None:
    return generator.sample_noise(batch, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("skip", "noise", "norm", "upsample"),
    itertools.product(
        (True, False),
        ("none", "dropout", "gaussian"),
        ("group", "batch", "instance"),
        ("resize", "transposed"),
    ),
)
def test_every_generator_variant_colors_and_gets_gradients(skip: bool, noise: str, norm: str, upsample: str) -> None:
    generator = _generator(skip=skip, noise=noise, norm=norm, upsample=upsample)
    ab = generator(_picture(), _noise(generator))
    assert ab.shape == (2, 2, 32, 32)
    assert ab.abs().max() <= 1
    ab.square().mean().backward()
    for name, parameter in generator.named_parameters():
        assert parameter.grad.isfinite().all(), name
        blind = name.endswith("bias") and norm != "group"  # a bias right before its own channel's normalisation
        assert blind or parameter.grad.abs().max() > 0, name


@pytest.fixture(scope="module")
def _one_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    store = torch.distributed.FileStore(str(tmp_path_factory.mktemp("group") / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


DAILY = [("none", True), ("none", False), ("efficientnet_lite0", False)]
OTHERS = [
    ("efficientnet_lite0", True),
    *itertools.product(("efficientnet_lite2", "resnet18", "resnet34", "convnext_tiny"), (True, False)),
]
SLOW = [pytest.param(*values, marks=pytest.mark.slow) for values in OTHERS]


@pytest.mark.parametrize("norm", ["group", "batch", "instance"])
@pytest.mark.parametrize("noise", ["none", "dropout", "gaussian"])
@pytest.mark.parametrize(("encoder", "skip"), [*DAILY, *SLOW])
@pytest.mark.usefixtures("_one_process")
def test_every_combination_trains_for_a_step_in_a_group_of_processes(
    encoder: str, skip: bool, noise: str, norm: str
) -> None:
    """DistributedDataParallel refuses the second pass when the first one left a parameter without a gradient."""
    generator = _generator(encoder=encoder, skip=skip, noise=noise, norm=norm, levels=5, hints=noise == "gaussian")
    adam = torch.optim.Adam(generator.parameters(), lr=1e-4)
    parallel = DistributedDataParallel(generator, broadcast_buffers=False)
    for _ in range(2):
        adam.zero_grad()
        ab = parallel(_picture(64), _noise(generator))
        ab.square().mean().backward()
        adam.step()
    assert all(parameter.isfinite().all() for parameter in generator.parameters())


@settings(deadline=None, max_examples=15)
@given(levels=st.integers(2, 5), rows=st.integers(1, 4), columns=st.integers(1, 4))
def test_generator_accepts_any_divisible_sides(levels: int, rows: int, columns: int) -> None:
    generator = _generator(levels=levels)
    L = torch.zeros(1, 1, rows * 2**levels, columns * 2**levels)
    assert generator(L, _noise(generator, 1)).shape == (1, 2, *L.shape[-2:])


def test_indivisible_sides_and_a_missing_z_are_refused() -> None:
    generator = _generator()
    with pytest.raises(ValueError, match="multiples of 8"):
        generator(torch.zeros(1, 1, 30, 32), _noise(generator, 1))
    with pytest.raises(ValueError, match="needs z"):
        generator(_picture())


@pytest.mark.parametrize("skip", [True, False])
def test_skip_connections_carry_the_picture_around_the_bottleneck(skip: bool) -> None:
    generator = _generator(skip=skip, norm="instance").eval()
    generator.encoder[-1].register_forward_hook(lambda module, inputs, output: torch.zeros_like(output))
    z = _noise(generator, 1)
    with torch.no_grad():
        one, other = generator(_picture(batch=1), z), generator(-_picture(batch=1), z)
    assert torch.equal(one, other) is not skip


def test_gaussian_noise_reaches_the_output_at_every_decoder_level() -> None:
    generator = _generator()
    with torch.no_grad():
        one, other = (generator(_picture(), _noise(generator, seed=seed)) for seed in (0, 1))
        assert (one - other).abs().mean() > 1e-4
        for level in generator.decoder:
            weight = level.modulate.weight.clone()
            level.modulate.weight.zero_()
            assert not torch.equal(generator(_picture(), _noise(generator)), one)
            level.modulate.weight.copy_(weight)
            assert torch.equal(generator(_picture(), _noise(generator)), one)


def test_sampled_noise_follows_the_seed_and_is_none_without_noise() -> None:
    generator = _generator()
    assert torch.equal(_noise(generator, seed=5), _noise(generator, seed=5))
    assert _generator(noise="none").sample_noise(2, torch.Generator()) is None


def test_coloring_is_deterministic_without_noise_and_random_with_dropout() -> None:
    with torch.no_grad():
        for noise, same in (("none", True), ("dropout", False)):
            generator = _generator(noise=noise).eval()
            assert torch.equal(generator(_picture()), generator(_picture())) is same


@pytest.mark.parametrize(("norm", "same"), [("group", True), ("instance", True), ("batch", False)])
def test_eval_mode_changes_the_output_only_with_batch_norm(norm: str, same: bool) -> None:
    generator = _generator(norm=norm)
    z = _noise(generator)
    with torch.no_grad():
        assert torch.equal(generator.train()(_picture(), z), generator.eval()(_picture(), z)) is same


@pytest.mark.parametrize(("upsample", "checkered"), [("resize", False), ("transposed", True)])
def test_resizing_colors_a_flat_picture_evenly_and_transposed_convolution_does_not(
    upsample: str, checkered: bool
) -> None:
    generator = _generator(levels=2, upsample=upsample, skip=False, norm="instance").double()
    flat = torch.full((1, 1, 96, 96), 0.3, dtype=torch.float64)
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.mul_(5)  # so that rounding and a pattern are far apart
        center = generator(flat, _noise(generator, 1).double())[..., 44:52, 44:52]
    unevenness = center.std(dim=(2, 3)).max() / center.abs().max()
    assert (unevenness > 1e-3) if checkered else (unevenness < 1e-9)


def test_resizing_equals_nearest_neighbor_upsampling_then_convolution() -> None:
    generator = _generator()
    enlarge = generator.to_ab[0]
    with torch.no_grad():
        enlarge.bias.normal_()
        x = torch.randn(2, 16, 5, 7)
        plain = F.conv2d(F.interpolate(x, scale_factor=2), enlarge.weight, enlarge.bias, padding=1)
        torch.testing.assert_close(enlarge(x), plain)


@pytest.mark.parametrize("field", FIELDS)
def test_the_receptive_field_has_the_configured_size(field: int) -> None:
    discriminator = _discriminator(receptive_field=field, norm="none", conditional=False).double()
    assert discriminator.receptive_field() == field
    side = max(field + 34, 64)  # with room to see further than allowed
    ab = torch.randn(1, 2, side, side, dtype=torch.float64, requires_grad=True)
    logits = discriminator(torch.zeros(1, 1, side, side, dtype=torch.float64), ab)
    logits[0, 0, logits.shape[2] // 2, logits.shape[3] // 2].backward()
    seen = ab.grad[0].abs().sum(dim=0).nonzero()
    assert ((seen.amax(dim=0) - seen.amin(dim=0) + 1) == field).all()


@pytest.mark.parametrize("noise", ["gaussian", "dropout", "none"])
def test_each_label_and_no_label_color_differently(noise: str) -> None:
    generator = _generator(labels=["day", "night"], noise=noise)
    z = _noise(generator, 3)
    L = _picture(batch=1).expand(3, -1, -1, -1)
    with torch.no_grad():
        torch.manual_seed(0)
        colored = generator(L, None if z is None else z[:1].expand(3, -1), torch.tensor([0, 1, -1]))
        for one, other in ((0, 1), (1, 2), (0, 2)):
            assert (colored[one] - colored[other]).abs().mean() > 1e-4
        torch.manual_seed(0)
        silent = generator(L, z)
        torch.manual_seed(0)
        assert torch.equal(silent, generator(L, z, torch.tensor([-1, -1, -1])))
    generator(L, z, torch.tensor([0, 1, -1])).square().mean().backward()
    assert (generator.embed.weight.grad.abs().amax(dim=1) > 0).all()


def test_networks_without_labels_have_no_embedding() -> None:
    for network in (_generator(), _discriminator(), _discriminator(norm="spectral")):
        assert not [name for name in network.state_dict() if "embed" in name]
    labelled = _generator(labels=["day"]).state_dict()
    assert {name for name, tensor in labelled.items() if name not in _generator().state_dict()} == {"embed.weight"}
    assert labelled["decoder.0.modulate.weight"].shape[1] == 8  # z and as much of y


@pytest.mark.parametrize("field", FIELDS)
def test_the_discriminator_projects_the_label_on_the_features_of_each_logit(field: int) -> None:
    discriminator = _discriminator(labels=2, receptive_field=field, norm="none").double()
    with torch.no_grad():
        discriminator.embed.weight.mul_(1000)  # so that it outweighs the logit
        side = max(field + 34, 64)
        L, ab = torch.zeros(3, 1, side, side, dtype=torch.float64), torch.randn(1, 2, side, side, dtype=torch.float64)
        day, night, unknown = discriminator(L, ab.expand(3, -1, -1, -1), torch.tensor([0, 1, -1]))
        assert torch.equal(unknown, discriminator(L, ab.expand(3, -1, -1, -1))[2])
        assert (day - night).abs().mean() > 1e-6
    ab.requires_grad_(True)
    logits = discriminator(L[:1], ab, torch.tensor([1]))
    logits[0, 0, logits.shape[2] // 2, logits.shape[3] // 2].backward()
    seen = ab.grad[0].abs().sum(dim=0).nonzero()
    assert ((seen.amax(dim=0) - seen.amin(dim=0) + 1) == field).all()


@pytest.mark.parametrize("field", FIELDS)
def test_smallest_side_is_the_smallest_input_that_gives_a_logit(field: int) -> None:
    discriminator = _discriminator(receptive_field=field, norm="instance")
    side = smallest_side(field)
    L, ab = torch.zeros(1, 1, side, side), torch.randn(1, 2, side, side)
    assert discriminator(L, ab).numel() >= 1
    if field > 1:
        with pytest.raises((RuntimeError, ValueError)):
            discriminator(L[..., 1:, 1:], ab[..., 1:, 1:])


@pytest.mark.parametrize("norm", ["none", "group", "batch", "instance", "spectral"])
@pytest.mark.parametrize("conditional", [True, False])
def test_only_a_conditional_discriminator_depends_on_the_lightness(norm: str, conditional: bool) -> None:
    discriminator = _discriminator(norm=norm, conditional=conditional).eval()
    ab = torch.rand(2, 2, 32, 32)
    one, other = discriminator(_picture(), ab), discriminator(-_picture(), ab)
    assert torch.equal(one, other) is not conditional
    assert one.isfinite().all()


def test_spectral_norm_bounds_every_convolution() -> None:
    discriminator = _discriminator(norm="spectral", channels=32, labels=3)
    with torch.no_grad():
        for parameter in discriminator.parameters():
            parameter.mul_(30)
    for _ in range(200):  # each call is a step of the power iteration
        discriminator(_picture(), torch.rand(2, 2, 32, 32), torch.tensor([0, 2]))
    for layer in (*discriminator.eval().layers, discriminator.embed):
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Embedding):
            assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.02)


def test_weights_start_as_in_pix2pix() -> None:
    generator = _generator(channels=64, levels=5)
    for weight in (generator.encoder[3][1].weight, generator.decoder[0].enlarge.weight):
        assert weight.std().item() == pytest.approx(0.02, rel=0.02)
        assert weight.mean().item() == pytest.approx(0, abs=1e-3)


def _ab(batch: int = 2, side: int = 32) -> Tensor:
    return torch.rand(batch, 2, side, side, generator=torch.Generator().manual_seed(2)) - 0.5


@pytest.mark.parametrize("norm", ["none", "group", "instance", "spectral"])
def test_the_gradient_penalty_is_the_mean_of_each_photograph_and_trains_all_weights(norm: str) -> None:
    discriminator = _discriminator(labels=2, norm=norm).train(norm != "spectral")  # whose estimate improves in training
    L, ab, y = _picture(), _ab(), torch.tensor([1, -1])
    penalty = discriminator.gradient_penalty(L, ab, y)
    each = [discriminator.gradient_penalty(L[i : i + 1], ab[i : i + 1], y[i : i + 1]) for i in range(2)]
    torch.testing.assert_close(penalty, torch.stack(each).mean())
    penalty.backward()
    assert all(p.grad.isfinite().all() and p.grad.any() for p in discriminator.parameters() if p.dim() == 4)


def test_the_gradient_penalty_is_the_mean_over_patches_at_unit_scale() -> None:
    discriminator = _discriminator(receptive_field=1, norm="none")  # patches that do not overlap
    L, ab = _picture(4), _ab(side=4)
    rows = torch.autograd.functional.jacobian(lambda ab: discriminator(L, ab).flatten(), ab).flatten(1)
    expected = (rows / 5).square().sum(dim=1).mean()
    torch.testing.assert_close(discriminator.gradient_penalty(L, ab), expected)


@pytest.mark.parametrize("options", [{}, {"skip": False}, {"encoder": "efficientnet_lite0", "levels": 5}], ids=str)
def test_an_untrained_generator_with_hints_colors_as_one_without(options: dict[str, object]) -> None:
    plain, hinted = _generator(**options).eval(), _generator(hints=True, **options).eval()
    L, z, hints = _picture(64), _noise(plain), torch.rand(2, 3, 64, 64).round()
    with torch.no_grad():
        expected = plain(L, z)
        assert torch.equal(hinted(L, z), expected)
        assert torch.equal(hinted(L, z, hints=hints), expected)
        assert torch.equal(plain(L, z, hints=hints), expected)
    hinted(L, z, hints=hints).square().mean().backward()
    zero = [parameter for parameter in hinted.hints.parameters() if not parameter.any()]
    assert len(zero) == hinted.config.levels + 1  # the last convolution of each level
    assert all(parameter.grad.abs().sum() > 0 for name, parameter in hinted.hints.named_parameters() if "add" in name)


def test_a_point_of_color_is_seen_at_every_level_and_far_away() -> None:
    generator = _generator(hints=True, levels=5).eval()
    for parameter in generator.hints.parameters():
        torch.nn.init.normal_(parameter, 0, 0.1)
    L, z, hints = _picture(128, batch=1), _noise(generator, 1), torch.zeros(1, 3, 128, 128)
    garbage = hints.clone()
    garbage[:, :2] = 0.7
    hints[..., 62:67, 62:67] = torch.tensor([0.4, -0.2, 1.0]).view(3, 1, 1)
    for level, field in enumerate(fields(hints, 5)):
        place = 63 // 2 ** (level + 1)
        torch.testing.assert_close(field[..., place, place], torch.tensor([[0.4, -0.2, 1.0]]))
        torch.testing.assert_close(field[:, 0], torch.full_like(field[:, 0], 0.4))
        assert field[:, 2].amin() == pytest.approx(0.5 ** (5 - level), abs=1e-3)
    with torch.no_grad():
        change = (generator(L, z, hints=hints) - generator(L, z)).abs()
        assert torch.equal(generator(L, z, hints=garbage), generator(L, z))
    assert change[..., 20:108, 20:108].amin(dim=1).gt(0).float().mean() > 0.99
