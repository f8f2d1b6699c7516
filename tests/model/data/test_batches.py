"""Tests of the training batches: epochs, crops, zoom, damage, labels, and the shares of several processes."""

from pathlib import Path

import pytest
import torch

from model.data.batches import Batches
from model.data.shards import Shards
from model.utils.seeds import seeded
from tests.support.tiny import tiny_dataset


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Shards:
    return Shards.open(tiny_dataset(tmp_path_factory.mktemp("tiny")), "train")


Window = tuple[int, int, int, bool]
"""Index of the photograph, row and column of the corner, whether the window is mirrored."""


def _windows(shards: Shards, side: int) -> dict[bytes, Window]:
    """Returns every window of every photograph, by its content."""
    places = range(shards.size - side + 1)
    return {
        (window[..., ::-1] if mirrored else window).tobytes(): (index, top, left, mirrored)
        for index, photograph in enumerate(shards[:])
        for top in places
        for left in places
        for mirrored in (False, True)
        for window in (photograph[:, top : top + side, left : left + side],)
    }


def _shown(shards: Shards, batches: Batches, steps: range) -> list[Window]:
    crops = [crop for step in steps for crop in batches[step].stored]
    windows = _windows(shards, crops[0].shape[-1])
    return [windows[crop.numpy().tobytes()] for crop in crops]


def test_each_epoch_has_every_photograph_once_in_a_new_order(shards: Shards) -> None:
    batches = Batches(shards, batch_size=8, crop=24, seed=3)
    seen = [photograph for photograph, *_ in _shown(shards, batches, range(5))]
    assert sorted(seen[:20]) == sorted(seen[20:]) == list(range(20))
    assert seen[:20] != seen[20:]


def test_crops_cover_every_position_and_half_are_mirrored(shards: Shards) -> None:
    batches = Batches(shards, batch_size=20, crop=20, seed=0)
    shown = _shown(shards, batches, range(20))
    assert {(top, left) for _, top, left, _ in shown} == {(top, left) for top in range(5) for left in range(5)}
    assert 150 < sum(mirrored for *_, mirrored in shown) < 250  # 400 tosses


def test_a_batch_depends_only_on_the_step_and_the_seed(shards: Shards) -> None:
    one = Batches(shards, batch_size=8, crop=16, seed=0)
    forwards = [one[step] for step in range(6)]
    other = Batches(shards, batch_size=8, crop=16, seed=0)
    for step in reversed(range(6)):
        assert torch.equal(other[step].stored, forwards[step].stored)
    assert not torch.equal(Batches(shards, batch_size=8, crop=16, seed=1)[0].stored, forwards[0].stored)


@pytest.mark.parametrize("count", [2, 4, 8])
def test_shares_of_several_processes_make_up_the_batch_of_one(shards: Shards, count: int) -> None:
    whole = Batches(shards, batch_size=8, crop=16, seed=0)
    shares = [Batches(shards, 8, 16, 0, rank, count) for rank in range(count)]
    for step in (0, 3):
        assert torch.equal(torch.cat([part[step].stored for part in shares]), whole[step].stored)


def test_a_batch_larger_than_the_dataset_repeats_photographs(tmp_path: Path) -> None:
    few = Shards.open(tiny_dataset(tmp_path, train=3), "train")
    seen = [photograph for photograph, *_ in _shown(few, Batches(few, batch_size=9, crop=24, seed=0), range(1))]
    assert [sorted(seen[start : start + 3]) for start in (0, 3, 6)] == [[0, 1, 2]] * 3


def test_random_numbers_repeat_by_seed_and_differ_by_purpose() -> None:
    draws = [torch.rand(3, generator=seeded(*key)) for key in ((0, "z", 1), (0, "z", 1), (0, "crop", 1), (1, "z", 1))]
    assert torch.equal(draws[0], draws[1])
    assert len({tuple(draw.tolist()) for draw in draws}) == 3


def test_zoom_scales_larger_windows_down_to_the_crop_size(shards: Shards) -> None:
    zoomed = Batches(shards, batch_size=20, crop=12, seed=0, zoom=2.0)
    crops = torch.cat([zoomed[step].stored for step in range(4)])
    assert crops.shape == (80, 3, 12, 12)
    plain = torch.cat([Batches(shards, batch_size=20, crop=12, seed=0)[step].stored for step in range(4)])
    # A smooth picture varies more within a crop when the crop shows more of it.
    steps = [(part[..., 1:].float() - part[..., :-1].float()).abs().mean().item() for part in (crops, plain)]
    assert 1.2 < steps[0] / steps[1] < 1.9
    smallest, largest = torch.from_numpy(shards[:]).float().flatten(2).aminmax(dim=2)
    assert (crops.float().flatten(2).amin(dim=(0, 2)) >= smallest.amin(dim=0)).all()
    assert (crops.float().flatten(2).amax(dim=(0, 2)) <= largest.amax(dim=0)).all()


def test_damage_changes_only_the_lightness_of_the_same_crops(shards: Shards) -> None:
    plain = Batches(shards, batch_size=20, crop=16, seed=0)
    hurt = Batches(shards, batch_size=20, crop=16, seed=0, damage=0.5)
    changed = 0
    for step in range(6):
        assert torch.equal(hurt[step].stored[:, 1:], plain[step].stored[:, 1:])
        changed += int((hurt[step].stored[:, 0] != plain[step].stored[:, 0]).flatten(1).any(dim=1).sum())
    assert 30 < changed < 90  # of 120
    assert torch.equal(Batches(shards, batch_size=20, crop=16, seed=0, damage=0.5)[5].stored, hurt[5].stored)


@pytest.mark.parametrize("count", [2, 4])
def test_shares_of_several_processes_hold_the_same_damaged_photographs(shards: Shards, count: int) -> None:
    whole = Batches(shards, batch_size=8, crop=16, seed=0, zoom=1.5, damage=0.7)
    shares = [Batches(shards, 8, 16, 0, rank, count, zoom=1.5, damage=0.7) for rank in range(count)]
    for step in (0, 3):
        assert torch.equal(torch.cat([part[step].stored for part in shares]), whole[step].stored)


def test_labels_follow_their_photographs_and_one_in_ten_is_hidden(tmp_path: Path) -> None:
    labelled = Shards.open(tiny_dataset(tmp_path, labels=("night", None, "day")), "train")
    names = ("day", "night")
    batches = Batches(labelled, batch_size=20, crop=24, seed=0, labels=names)
    given = labelled.label_indices(names)
    assert set(given.tolist()) == {-1, 0, 1}
    steps = range(40)
    shown = [photograph for photograph, *_ in _shown(labelled, batches, steps)]
    seen = torch.cat([batches[step].y for step in steps])
    expected = torch.from_numpy(given)[shown]
    changed = seen != expected
    assert (seen[changed] == -1).all()
    assert 0.06 < changed[expected >= 0].float().mean() < 0.14  # some 530 tosses
    parts = [Batches(labelled, 20, 24, 0, rank, 4, labels=names)[7].y for rank in range(4)]
    assert torch.equal(torch.cat(parts), batches[7].y)
    assert torch.equal(batches[7].stored, Batches(labelled, 20, 24, 0)[7].stored)
    assert (Batches(labelled, 20, 24, 0)[7].y == -1).all()
