"""Tests of batching: simultaneous requests share a batch and get the same answers as alone."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from model.inference.colorizer import Colorizer, Input
from serving.batching import Batcher
from serving.lanes import Abandoned
from tests.model.inference.test_colorizer import generator_folder
from tests.serving.conftest import until


@pytest.fixture(params=["gaussian", "dropout"])
def colorizer(tmp_path: Path, request: pytest.FixtureRequest) -> Colorizer:
    return Colorizer.load(generator_folder(tmp_path / "generator", f"generator.noise={request.param}"))


def asked(seed: int, *shape: int) -> Input:
    return Input(torch.rand(1, *shape, generator=torch.Generator().manual_seed(seed)) * 100, seed, -1)


def blocked(batcher: Batcher, colorizer: Colorizer, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Keeps the batcher busy with one picture; returns the function that releases it."""
    begun, go, predict = threading.Event(), threading.Event(), Colorizer.predict_together

    def waiting(self, inputs):
        begun.set()
        go.wait()
        return predict(self, inputs)

    monkeypatch.setattr(Colorizer, "predict_together", waiting)
    threading.Thread(target=batcher.predict, args=(colorizer, asked(0, 8, 8), threading.Event()), daemon=True).start()
    begun.wait()
    return go.set


def test_a_batch_holds_the_queued_requests_of_one_shape(colorizer: Colorizer, monkeypatch: pytest.MonkeyPatch):
    sizes: list[int] = []
    inputs = [asked(seed, 24, 24 if seed % 2 else 32) for seed in range(10)]
    alone = [colorizer.predict_together([one])[0] for one in inputs]
    with Batcher(1, largest=4, observe=sizes.append) as batcher, ThreadPoolExecutor(10) as pool:
        go = blocked(batcher, colorizer, monkeypatch)
        waiting = [pool.submit(batcher.predict, colorizer, one, threading.Event()) for one in inputs]
        until(lambda: batcher.waiting == 10)
        go()
        together = [one.result() for one in waiting]
    assert sizes[0] == 1
    assert sorted(sizes[1:]) == [1, 1, 4, 4]
    for one, other in zip(alone, together, strict=True):
        assert torch.allclose(one, other, atol=1e-3)


def test_an_error_reaches_every_request_of_its_batch_and_no_later_one(colorizer: Colorizer):
    class Broken(Colorizer):
        def predict_together(self, inputs):
            raise ValueError("broken")

    broken = Broken(colorizer.generator, colorizer.size)
    with Batcher(1) as batcher:
        for _ in range(2):
            with pytest.raises(ValueError, match="broken"):
                batcher.predict(broken, asked(1, 8, 8), threading.Event())
        assert batcher.alive
        assert batcher.predict(colorizer, asked(1, 8, 8), threading.Event()).shape == (2, 8, 8)
    assert not batcher.alive


def test_a_bad_picture_fails_alone(colorizer: Colorizer, monkeypatch: pytest.MonkeyPatch):
    class Picky(Colorizer):
        def predict_together(self, inputs):
            if any(one.seed == 3 for one in inputs):
                raise MemoryError
            return super().predict_together(inputs)

    picky = Picky(colorizer.generator, colorizer.size)
    with Batcher(1) as batcher, ThreadPoolExecutor(5) as pool:
        go = blocked(batcher, colorizer, monkeypatch)
        waiting = [pool.submit(batcher.predict, picky, asked(seed, 8, 8), threading.Event()) for seed in range(1, 6)]
        until(lambda: batcher.waiting == 5)
        go()
        assert [type(one.exception()) for one in waiting].count(MemoryError) == 1
        assert [one.result().shape for one in waiting if not one.exception()] == [(2, 8, 8)] * 4


def test_a_batch_holds_pictures_of_one_model(colorizer: Colorizer, monkeypatch: pytest.MonkeyPatch):
    other, sizes = Colorizer(colorizer.generator, colorizer.size), []
    with Batcher(1, observe=sizes.append) as batcher, ThreadPoolExecutor(6) as pool:
        go = blocked(batcher, colorizer, monkeypatch)
        models = [colorizer, other] * 3
        waiting = [pool.submit(batcher.predict, one, asked(1, 8, 8), threading.Event()) for one in models]
        until(lambda: batcher.waiting == 6)
        go()
        for one in waiting:
            one.result()
    assert sizes == [1, 3, 3]


def test_the_longest_pictures_share_no_batch(colorizer: Colorizer, monkeypatch: pytest.MonkeyPatch):
    sizes: list[int] = []
    with Batcher(1, observe=sizes.append) as batcher, ThreadPoolExecutor(3) as pool:
        go = blocked(batcher, colorizer, monkeypatch)
        longest = asked(1, colorizer.size, 8 * colorizer.size)
        waiting = [pool.submit(batcher.predict, colorizer, longest, threading.Event()) for _ in range(3)]
        until(lambda: batcher.waiting == 3)
        go()
        for one in waiting:
            one.result()
    assert sizes == [1, 1, 1, 1]


def test_a_picture_whose_caller_is_gone_is_left_out(colorizer: Colorizer, monkeypatch: pytest.MonkeyPatch):
    sizes, gone = [], threading.Event()
    with Batcher(1, observe=sizes.append) as batcher, ThreadPoolExecutor(2) as pool:
        go = blocked(batcher, colorizer, monkeypatch)
        left = pool.submit(batcher.predict, colorizer, asked(1, 8, 8), gone)
        wanted = pool.submit(batcher.predict, colorizer, asked(2, 8, 8), threading.Event())
        until(lambda: batcher.waiting == 2)
        gone.set()
        go()
        assert wanted.result().shape == (2, 8, 8)
        assert isinstance(left.exception(), Abandoned)
    assert sizes == [1, 1]
