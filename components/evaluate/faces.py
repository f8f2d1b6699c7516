"""Faces in photographs: found in the lightness by a cascade, and kept where the photograph itself shows skin."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.color import decode_lab

_WINDOW = 24  # pixels: the side of the cascade's own window, so of the smallest face
_SCALE = 1.1  # between window sizes; with 1.2 it takes 70 % of the time and misses every sixth face
_OVERLAP = 0.3  # intersection over union of a face and its find in the mirror
_SAME = 0.3  # of two finds, the part of the smaller that lies in the larger where both are one face
_HUES, _CHROMAS = (10.0, 70.0), (8.0, 50.0)  # of skin in daylight and indoors; degrees, CIELAB units
_FLATTEST = 5.0  # standard deviation of L: walls and planks of the color of skin have less, nearly all faces 7 or more
_AXES = (0.35, 0.28)  # half the ellipse's height and width, as shares of the box: hair and background stay outside


@dataclass(frozen=True)
class Face:
    """Describes the box of a face in pixels."""

    top: int
    left: int
    height: int
    width: int

    def skin(self, lab: Tensor) -> Tensor:
        """Returns the mean of each channel inside the face's ellipse: (C, H, W) -> (C,) float64."""
        box = lab[:, self.top : self.top + self.height, self.left : self.left + self.width]
        return box[:, torch.from_numpy(self._ellipse()).to(lab.device)].double().mean(dim=1)

    def _ellipse(self) -> NDArray[np.bool_]:
        y, x = np.mgrid[: self.height, : self.width]
        down = (y + 0.5 - self.height / 2) / (_AXES[0] * self.height)
        right = (x + 0.5 - self.width / 2) / (_AXES[1] * self.width)
        inside: NDArray[np.bool_] = down**2 + right**2 <= 1
        return inside


def find_faces(stored: NDArray[np.uint8]) -> list[Face]:
    """Finds the frontal faces of a photograph, the largest first.

    scikit-image's cascade of local binary patterns, OpenCV's own, also takes windows, cups and planks for faces. So a
    face counts only if the mean color inside its ellipse is one that skin has in the photograph, if its lightness
    varies as that of a face, and if it is found in the mirror too. Of overlapping finds the largest counts.

    Args:
        stored: (3, H, W), stored CIELAB; smaller than the cascade's window, it has no faces.
    """
    found: list[Face] = []
    for face in sorted(_detect(stored[0]), key=lambda each: (-each.height * each.width, each.top, each.left)):
        new = not any(_common(face, other) > _SAME * face.height * face.width for other in found)
        if new and _like_skin(stored, face) and _in_mirror(stored[0], face):
            found.append(face)
    return found


@cache
def _cascade() -> Any:
    from skimage.data import lbp_frontal_face_cascade_filename  # takes a second: it imports SciPy
    from skimage.feature import Cascade

    return Cascade(lbp_frontal_face_cascade_filename())  # a file of the package: nothing is downloaded


def _detect(lightness: NDArray[np.uint8]) -> list[Face]:
    if min(lightness.shape) < _WINDOW:
        return []
    found = _cascade().detect_multi_scale(
        img=np.ascontiguousarray(lightness),
        scale_factor=_SCALE,
        step_ratio=1,
        min_size=(_WINDOW, _WINDOW),
        max_size=lightness.shape,
    )
    faces = (Face(*(int(each[key]) for key in ("r", "c", "height", "width"))) for each in found)
    height, width = lightness.shape  # a mean of several boxes may lie a pixel outside
    return [face for face in faces if face.top + face.height <= height and face.left + face.width <= width]


def _in_mirror(lightness: NDArray[np.uint8], face: Face) -> bool:
    """Says whether the cascade finds the face in its mirrored surroundings, too."""
    margin = face.height // 2
    top, left = max(0, face.top - margin), max(0, face.left - margin)
    around = lightness[top : face.top + face.height + margin, left : face.left + face.width + margin]
    width = around.shape[1]
    seen = (
        Face(top + each.top, left + width - each.left - each.width, each.height, each.width)
        for each in _detect(around[:, ::-1])
    )
    return any(_common(face, each) > _OVERLAP * _union(face, each) for each in seen)


def _like_skin(stored: NDArray[np.uint8], face: Face) -> bool:
    lab = decode_lab(torch.from_numpy(stored[None]))[0]
    _, a, b = face.skin(lab).tolist()
    hue, chroma = np.degrees(np.arctan2(b, a)), np.hypot(a, b)
    square = face.skin(lab[:1] ** 2) - face.skin(lab[:1]) ** 2
    return bool(_HUES[0] <= hue <= _HUES[1] and _CHROMAS[0] <= chroma <= _CHROMAS[1] and float(square) >= _FLATTEST**2)


def _common(face: Face, other: Face) -> int:
    height = min(face.top + face.height, other.top + other.height) - max(face.top, other.top)
    width = min(face.left + face.width, other.left + other.width) - max(face.left, other.left)
    return max(height, 0) * max(width, 0)


def _union(face: Face, other: Face) -> int:
    return face.height * face.width + other.height * other.width - _common(face, other)
