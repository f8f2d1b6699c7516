"""Tests that the gate's rules of params.yaml reject colorings that better one figure and no picture."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from components.evaluate.baselines import Gray
from components.evaluate.features import load_networks
from components.evaluate.scoring import accumulate, compare
from components.register.gate import Verdict, judge
from model.color import decode_lab, encode_lab, srgb_to_lab
from model.data.format import Row
from model.data.images import decode
from model.data.shards import Shards
from model.data.writer import write_dataset
from pipeline.config import load_config
from tests.support.made import config
from tests.support.tiny import ROOT

pytestmark = pytest.mark.slow
SIDE, COUNT = 64, 72


def smooth(ab: Tensor, radius: int) -> Tensor:
    """Blurs a and b by two box filters."""
    for _ in range(2):
        padded = F.pad(ab, (radius,) * 4, mode="replicate")
        ab = F.avg_pool2d(padded, 2 * radius + 1, stride=1)
    return ab


class Colorer:
    """Colors as a trained network does: smoothly, some photographs too pale or too strong, some in wrong colors."""

    def __init__(
        self, test: Shards, wrong: float = 1.0, then: Callable[[Tensor, torch.Generator], Tensor] | None = None
    ) -> None:
        """
        Args:
            test: the photographs.
            wrong: share of its errors that it makes.
            then: changes its a and b; gets random numbers.
        """
        self._test, self._wrong, self._then = test, wrong, then

    def __call__(self, lightness: Tensor, photographs: Sequence[int]) -> Tensor:
        colored = []
        for index in photographs:
            random = torch.Generator().manual_seed(index)
            true = decode_lab(torch.from_numpy(self._test[[index]]))[:, 1:]
            strength = 1 + self._wrong * (torch.rand(1, generator=random) * 0.9 - 0.55)
            spots = F.interpolate(torch.randn(1, 2, 3, 3, generator=random) * 9, (SIDE, SIDE), mode="bicubic")
            ab = strength * smooth(true, 1) + self._wrong * spots
            colored.append(self._then(ab, random) if self._then else ab)
        return torch.cat(colored)[None]


def noise(units: float) -> Callable[[Tensor, torch.Generator], Tensor]:
    return lambda ab, random: ab + units * torch.randn(ab.shape, generator=random)


def stronger(factor: float) -> Callable[[Tensor, torch.Generator], Tensor]:
    return lambda ab, _: factor * ab


def blurred(radius: int) -> Callable[[Tensor, torch.Generator], Tensor]:
    return lambda ab, _: smooth(ab, radius)


@pytest.fixture(scope="module")
def photographs(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Shards:
    labs: dict[str, Any] = {}
    rows = []
    paths = sorted(photos.rglob("*.jpg"))
    for path in paths[:: len(paths) // COUNT][:COUNT]:
        rgb = torch.tensor(decode(path).rgb).permute(2, 0, 1)[None].float() / 255
        lab = encode_lab(srgb_to_lab(F.interpolate(rgb, (SIDE, SIDE), mode="area")))[0].numpy()
        sha256 = hashlib.sha256(lab.tobytes()).hexdigest()
        labs[sha256] = lab
        rows.append(Row(path.relative_to(photos).as_posix(), sha256, SIDE, SIDE, "test", "kept", ""))
    folder = tmp_path_factory.mktemp("dataset")
    write_dataset(folder, rows, labs.__getitem__, size=SIDE, data_version="0" * 32)
    return Shards.open(folder, "test")


@pytest.fixture(scope="module")
def verdicts(photographs: Shards, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Verdict]:
    """Judges each challenger beside one champion by the rules of params.yaml, and this champion as a first model."""
    test = photographs
    challengers = {
        "halfway to the photographs": Colorer(test, wrong=0.5),
        "the champion's own colorings": Colorer(test),
        "noise of 1 unit": Colorer(test, then=noise(1)),
        "noise of 2.2 units": Colorer(test, then=noise(2.2)),
        "noise of 3.5 units": Colorer(test, then=noise(3.5)),
        "oversaturated": Colorer(test, then=stronger(1.3)),
        "blurred": Colorer(test, then=blurred(5)),
        "gray": Gray(),
    }
    settings, device = config(), torch.device("cpu")
    networks = load_networks(settings, tmp_path_factory.mktemp("cache"), len(test), SIDE, device)
    scored = {**challengers, "champion": Colorer(test)}
    measured = accumulate(test, len(test), scored, networks, 24, device)
    rules = load_config(ROOT / "params.yaml").register_.rules

    def verdict(name: str, **others: str) -> Verdict:
        chosen = {"challenger": name, "gray": "gray", "mean_by_lightness": "gray", **others}
        colorings = {who: measured.colorings[one] for who, one in chosen.items()}
        return judge(compare(test, replace(measured, colorings=colorings), networks, settings), rules)

    return {name: verdict(name, champion="champion") for name in challengers} | {"first": verdict("champion")}


def test_a_better_coloring_is_promoted_and_a_first_one_that_beats_gray(verdicts: dict[str, Verdict]) -> None:
    for name in ("halfway to the photographs", "first"):
        assert verdicts[name].outcome == "promote", verdicts[name].reasons


@pytest.mark.parametrize(
    "name",
    [
        "the champion's own colorings",
        "noise of 1 unit",
        "noise of 2.2 units",
        "noise of 3.5 units",
        "oversaturated",
        "blurred",
        "gray",
    ],
)
def test_a_change_that_betters_no_coloring_is_rejected(verdicts: dict[str, Verdict], name: str) -> None:
    assert verdicts[name].outcome == "reject", verdicts[name].reasons


def test_gray_is_no_first_model(verdicts: dict[str, Verdict]) -> None:
    assert all("beyond the bound" in reason.text for reason in verdicts["gray"].reasons)
