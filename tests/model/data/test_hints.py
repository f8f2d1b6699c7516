"""Tests of the hints that training draws: their share, their number, their places and their colors."""

import torch
from torch import Tensor

from model.data.hints import Hints, draw_hints, random_hints, reveal
from tests.support.tiny import tiny_config


def _ab(batch: int, side: int) -> Tensor:
    return torch.rand(batch, 2, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1


def _squares(*squares: tuple[int, int, int], whole: bool = False) -> Hints:
    return Hints(torch.tensor([squares]), torch.tensor([whole]))


def test_a_square_shows_its_mean_and_a_shared_pixel_the_mean_of_two() -> None:
    ab = _ab(1, 8)
    shown = reveal(ab, _squares((1, 2, 3), (3, 4, 9), (0, 0, 0)))
    first, second = ab[0, :, 1:4, 2:5].mean(dim=(1, 2)), ab[0, :, 3:, 4:].mean(dim=(1, 2))
    torch.testing.assert_close(shown[0, :2, 1, 2], first)
    torch.testing.assert_close(shown[0, :2, 7, 7], second)
    torch.testing.assert_close(shown[0, :2, 3, 4], (first + second) / 2)
    assert shown[0, 2].sum() == 9 + 20 - 1
    assert not (shown[:, :2] * (1 - shown[:, 2:])).any()


def test_a_whole_photograph_is_shown_as_it_is() -> None:
    ab = _ab(1, 8)
    assert torch.equal(reveal(ab, _squares((0, 0, 0), whole=True)), torch.cat((ab, torch.ones(1, 1, 8, 8)), dim=1))


def test_hints_have_their_share_number_and_size() -> None:
    batch, crop = 4000, 64
    hints = draw_hints(batch, 0.5, crop, torch.Generator().manual_seed(0))
    counts = (hints.squares[..., 2] > 0).sum(dim=1)
    hinted = counts > 0
    assert abs(hinted.float().mean() - 0.5) < 0.03
    assert 7 < counts[hinted].float().mean() < 9  # 1 / p = 8, of which 32 count at most
    assert hints.squares[..., 2].max() == 9
    assert 0.002 < hints.whole.float().mean() < 0.01
    assert not hints.whole[~hinted].any()
    shown = reveal(_ab(200, crop), Hints(hints.squares[:200], hints.whole[:200]))
    assert shown.isfinite().all()
    assert set(shown[:, 2].unique().tolist()) == {0.0, 1.0}
    assert torch.equal(shown[:, 2].flatten(1).any(dim=1), hinted[:200])


def test_no_share_shows_nothing() -> None:
    assert not reveal(_ab(8, 16), draw_hints(8, 0.0, 16, torch.Generator().manual_seed(0))).any()


def test_each_process_shows_the_hints_of_its_photographs() -> None:
    config, ab = tiny_config("hints=0.75", "generator.hints=true"), _ab(8, 16)
    whole = random_hints(ab, config, 24, 0, 1)
    assert whole is not None
    for rank, part in enumerate(ab.chunk(2)):
        assert torch.equal(random_hints(part, config, 24, rank, 2), whole.chunk(2)[rank])
    assert not torch.equal(random_hints(ab, config, 32, 0, 1), whole)
    assert random_hints(ab, tiny_config(), 24, 0, 1) is None
