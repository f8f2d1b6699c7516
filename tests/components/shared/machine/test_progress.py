"""Tests of progress: what a log says of a long step."""

import pytest

from components.shared.machine import progress
from components.shared.machine.progress import progress as show


def test_items_of_an_earlier_attempt_count_as_done_but_not_as_speed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter((0.0, 20.0, 40.0, 50.0))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with show(1000, "train", "images", done=900) as advance:
        advance(40)
        advance(40)
        assert capsys.readouterr().err.splitlines() == [
            "train: 940 of 1000 images, 2.0/s, 30 s left",
            "train: 980 of 1000 images, 2.0/s, 10 s left",
        ]
    assert capsys.readouterr().err == "train: 980 of 1000 images in 50.0 s, 1.6/s\n"
