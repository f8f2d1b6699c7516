"""Tests of the figures of skin: faces that are found, errors of known colorings, bins, report and card."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from skimage.data import astronaut, coffee

from components.evaluate.faces import Face, find_faces
from components.evaluate.skin import LEAST, SkinAccumulator, binned, errors, rows
from components.evaluate.step import score
from components.register.card import model_card
from model.color import decode_lab, encode_lab, srgb_to_lab
from model.data.format import Row
from model.data.writer import write_dataset
from tests.components.register.test_card import GENERATOR, METRICS, TAGS
from tests.support.made import config, make_generator

SIDE = 128


def stored(picture: np.ndarray[Any, Any], side: int = SIDE) -> torch.Tensor:
    rgb = torch.tensor(picture[:400, 60:460]).permute(2, 0, 1)[None].float() / 255
    return encode_lab(srgb_to_lab(F.interpolate(rgb, (side, side), mode="area")))


@pytest.fixture(scope="module")
def portrait() -> torch.Tensor:
    """Returns a photograph with one face: (1, 3, SIDE, SIDE) uint8."""
    return stored(astronaut())


def turned(ab: torch.Tensor, degrees: float, factor: float = 1.0) -> torch.Tensor:
    sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    a, b = ab.unbind(1)
    return factor * torch.stack((a * cosine - b * sine, a * sine + b * cosine), 1)


def test_a_face_is_found_where_it_is_and_only_with_the_color_of_skin(portrait: torch.Tensor) -> None:
    (face,) = find_faces(portrait[0].numpy())
    middle = (face.left + face.width / 2, face.top + face.height / 2)
    assert middle == pytest.approx((SIDE * 163 / 400, SIDE * 115 / 400), abs=SIDE / 20)
    assert find_faces(portrait[0].flip(2).numpy())[0].left == pytest.approx(SIDE - face.left - face.width, abs=4)
    gray, blue = portrait[0].clone(), portrait[0].clone()
    gray[1:], blue[2] = 128, 255 - blue[2]
    assert not find_faces(gray.numpy())
    assert not find_faces(blue.numpy())
    assert not find_faces(stored(coffee())[0].numpy())
    assert not find_faces(stored(astronaut(), 16)[0].numpy())


def test_a_known_coloring_has_its_known_errors(portrait: torch.Tensor) -> None:
    faces = [(0, Face(10 + n, 40, 24, 24)) for n in range(LEAST)]
    skin, (lightness, ab) = SkinAccumulator(), (portrait[:, :1], decode_lab(portrait)[:, 1:])
    skin.add_faces(portrait, [7], faces)
    colors = torch.stack([face.skin(decode_lab(portrait)[0]) for _, face in faces])
    chroma = colors[:, 1:].norm(dim=1).mean().item()
    for name, coloring in {
        "copy": ab,
        "gray": torch.zeros_like(ab),
        "green": turned(ab, 20.0, 0.5),
        "broken": torch.full_like(ab, torch.nan),
    }.items():
        skin.add(name, lightness, coloring)
    found = skin.figures()
    assert (found["faces"], found["photographs"], found["searched"]) == (LEAST, 1, 0)
    every = {name: found[name]["all"] for name in ("copy", "gray", "green", "broken")}
    assert every["copy"]["chroma_error"] == pytest.approx(0, abs=0.01)
    assert every["copy"]["hue_error"] == pytest.approx(0, abs=0.1)
    assert every["gray"]["chroma_error"] == pytest.approx(chroma, rel=1e-4)
    assert every["gray"]["chroma_difference"] == pytest.approx(-chroma, rel=1e-4)
    assert (every["gray"]["hue_error"], every["gray"]["hue_faces"]) == (None, 0)
    assert every["green"]["chroma_difference"] == pytest.approx(-chroma / 2, rel=0.02)
    assert every["green"]["hue_error"] == pytest.approx(20, abs=0.5)
    assert every["broken"]["chroma_error"] is every["broken"]["hue_error"] is None


def test_hues_are_compared_the_short_way_round() -> None:
    angles = torch.tensor([[170.0, -170.0], [-175.0, 175.0], [10.0, 350.0]]).deg2rad()
    colored, truth = (20 * torch.stack((column.cos(), column.sin()), 1).double() for column in angles.unbind(1))
    assert errors(colored, truth)["hue_error"] == pytest.approx((20 + 10 + 20) / 3, abs=1e-3)


def test_bins_hold_each_face_once_and_few_faces_have_no_figures(portrait: torch.Tensor) -> None:
    bins = binned(torch.tensor([20.0, 45.0, 59.9, 60.0, 99.0]))
    assert [chosen.int().tolist() for chosen in bins.values()] == [
        [1, 1, 1, 1, 1],
        [1, 0, 0, 0, 0],
        [0, 1, 1, 0, 0],
        [0, 0, 0, 1, 1],
    ]
    skin = SkinAccumulator()
    skin.add_truth(portrait, [0])
    skin.add("challenger", portrait[:, :1], decode_lab(portrait)[:, 1:])
    found = skin.figures()
    assert (found["searched"], found["challenger"]["all"]) == (1, {"faces": 1, "photographs": 1})
    assert sum(each["faces"] for each in found["challenger"].values()) == 2  # in its bin and in all
    assert [row["who"] for row in rows(found, ("challenger", "champion"))] == ["challenger"] * 4
    skin.add_truth(portrait, [5000])  # so late a photograph is not searched
    assert skin.figures()["faces"] == 1


def test_evaluation_report_and_card_say_how_skin_comes_out(tmp_path: Path) -> None:
    pictures = {
        str(place): stored(astronaut(), SIDE + 2 * place)[0, :, :SIDE, :SIDE].contiguous().numpy()
        for place in range(12)
    }
    pictures = {name.zfill(64): each for name, each in pictures.items()}
    lines = [Row(f"{name}.png", name, SIDE, SIDE, "test", "kept", "") for name in pictures]
    lines.append(Row("train.png", "f" * 64, SIDE, SIDE, "train", "kept", ""))
    labs = pictures | {"f" * 64: stored(coffee())[0].numpy()}
    (tmp_path / "dataset").mkdir()
    write_dataset(tmp_path / "dataset", lines, labs.__getitem__, size=SIDE, data_version="0" * 32)
    model = make_generator(tmp_path / "model", 1)
    result = score(tmp_path / "dataset", model, tmp_path / "out", config(), champion=str(model))
    skin = result["skin"]
    assert skin["searched"] == 12
    assert skin["faces"] >= LEAST
    assert skin["champion"] == skin["challenger"]
    assert skin["challenger"].keys() == skin["gray"].keys() == skin["mean_by_lightness"].keys()
    assert skin["gray"]["all"]["chroma_error"] > 8
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert f"inside {skin['faces']} faces of {skin['photographs']} photographs" in page
    card = model_card(GENERATOR, {}, METRICS | {"skin": skin}, TAGS, "")
    figures = (skin["challenger"]["all"]["chroma_error"], skin["gray"]["all"]["chroma_error"])
    assert "| all | {0} | {0} | {1:.4g} | {2:.4g} |".format(skin["faces"], *figures) in card
    assert "| L below 45 | 0 | 0 |  |  |  |  |" in card
    assert "on few faces" in card


def test_without_a_face_report_and_card_say_so_in_a_sentence(evaluated: tuple[dict[str, Any], Path]) -> None:
    result, out = evaluated
    assert result["skin"] == {"searched": result["protocol"]["images"], "faces": 0, "photographs": 0}
    sentence = "No face was found in the 9 photographs that were searched"
    assert sentence in (out / "report.html").read_text(encoding="utf-8")
    assert sentence in model_card(GENERATOR, {}, METRICS | {"skin": result["skin"]}, TAGS, "")
    assert "skin color or region is unknown" in model_card(GENERATOR, {}, METRICS, TAGS, "")
