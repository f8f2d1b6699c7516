"""Tests of the memory that photographs share."""

import asyncio
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from starlette.types import Message

from serving.memory import FullError, Memory, NeedsMoreError, available, needed
from serving.transfer import PiecewiseResponse
from tests.model.inference.test_colorizer import generator_folder
from tests.serving.conftest import until
from tests.support.dvc_project import ROOT
from tests.support.png_files import png
from tests.support.tiff_files import tiff

MB = 1_000_000


@pytest.fixture
def memory() -> Memory:
    """Returns 400 MB for photographs: 300 at work, 100 in files."""
    found = Memory(0)
    found.measure()
    found._rest = 400 * MB
    return found


def test_work_waits_until_memory_is_free_in_the_order_of_arrival(memory: Memory):
    never = threading.Event()
    began: list[str] = []

    def work(name: str, size: int) -> threading.Thread:
        def hold() -> None:
            with memory.work(size, never, large=name == "large"):
                began.append(name)

        thread = threading.Thread(target=hold)
        thread.start()
        return thread

    with memory.work(200 * MB, never):
        threads = [work("large", 200 * MB)]
        until(lambda: len(memory._waiting) == 1)
        threads.append(work("small", 50 * MB))  # it would fit, and many of its kind would keep the large one out
        until(lambda: len(memory._waiting) == 2)
        assert began == []
    for thread in threads:
        thread.join()
    assert began == ["large", "small"]


def test_a_large_photograph_leaves_memory_for_small_ones(memory: Memory):
    never = threading.Event()
    with pytest.raises(NeedsMoreError, match="may use 240 MB for one"):
        memory.work(250 * MB, never, large=True).__enter__()
    with memory.work(240 * MB, never, large=True), memory.work(60 * MB, never):
        pass


def test_work_that_was_given_up_waits_no_longer(memory: Memory):
    gone = threading.Event()
    with memory.work(300 * MB, threading.Event()):
        waiting = threading.Thread(target=lambda: memory.work(300 * MB, gone).__enter__())
        waiting.start()
        gone.set()
        until(lambda: not waiting.is_alive())


def test_work_that_never_fits_is_refused(memory: Memory):
    with pytest.raises(NeedsMoreError, match="needs 301 MB of memory, and the server may use 300 MB"):
        memory.work(301 * MB, threading.Event()).__enter__()


def test_files_that_arrive_are_refused_when_others_fill_the_memory(memory: Memory):
    with memory.files() as one, memory.files() as two:
        one.arrive(60 * MB)
        with pytest.raises(FullError, match="try again soon"):
            two.arrive(60 * MB)
        two.leave(60 * MB)  # an answer is sent
        with pytest.raises(FullError):
            one.arrive(1)
    with memory.files() as later:
        later.arrive(100 * MB)
        with pytest.raises(NeedsMoreError, match="may use for files, 100 MB"):
            later.arrive(1)


async def _transferred(memory: Memory, size: int, ready: asyncio.Event, go: asyncio.Event) -> str:
    with memory.files() as files:
        try:
            async with files.transfer():
                files.arrive(size)
                ready.set()
                await go.wait()
        except FullError as error:
            return str(error)
        return "whole"


@pytest.mark.parametrize(("patience", "said"), [(0.0, "this transfer is slow"), (3600.0, "whole")])
def test_a_slow_transfer_ends_for_a_file_that_needs_its_memory(
    memory: Memory, monkeypatch: pytest.MonkeyPatch, patience: float, said: str
):
    monkeypatch.setattr("serving.memory._PATIENCE", patience)

    async def scenario() -> None:
        ready, go = asyncio.Event(), asyncio.Event()
        slow = asyncio.create_task(_transferred(memory, 60 * MB, ready, go))
        await ready.wait()
        with memory.files() as other:
            if patience:
                with pytest.raises(FullError):
                    other.arrive(50 * MB)
            else:
                other.arrive(50 * MB)
            go.set()
            assert said in await slow

    asyncio.run(scenario())
    assert memory._files == 0


def test_an_answer_that_is_taken_slowly_ends_for_a_file_that_needs_its_memory(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("serving.memory._PATIENCE", 0.0)
    sent: list[Message] = []

    async def scenario() -> None:
        begun = asyncio.Event()

        async def send(message: Message) -> None:
            sent.append(message)
            if len(sent) == 3:
                begun.set()
                await asyncio.Event().wait()  # the client takes no more

        async def receive() -> Message:
            raise NotImplementedError

        async def answer() -> None:
            with memory.files() as files:
                files.leave(60 * MB)
                await PiecewiseResponse(bytes(1_000_000), files)({"type": "http"}, receive, send)

        answering = asyncio.create_task(answer())
        await begun.wait()
        with memory.files() as other:
            other.arrive(50 * MB)
        await answering

    asyncio.run(scenario())
    assert len(sent) == 3
    assert memory._files == 0


def test_the_limit_is_the_containers_or_half_of_the_machines_memory(tmp_path: Path):
    machine = available(tmp_path)
    assert machine > 100 * MB
    (tmp_path / "memory.max").write_text("max\n", encoding="ascii")
    assert available(tmp_path) == machine
    (tmp_path / "memory").mkdir()
    limit = tmp_path / "memory/memory.limit_in_bytes"
    limit.write_text("9223372036854771712\n", encoding="ascii")  # no limit
    assert available(tmp_path) == machine
    limit.write_text("50000000\n", encoding="ascii")
    assert available(tmp_path) == 50 * MB
    (tmp_path / "memory.max").write_text("40000000\n", encoding="ascii")
    assert available(tmp_path) == 40 * MB


def test_further_samples_need_more():
    assert needed(1000, 3) > needed(1000) > needed(0) > 0


MEASURED = """
import io, sys
from functools import partial
from pathlib import Path
from threading import Event
import numpy as np
import tifffile
import torch
from PIL import Image
from serving import worker
from serving.delivery import Delivery
from serving.limits import Limits
from serving.memory import Memory, needed
from serving.served_models import ServedFolder
from tests.support.png_files import png

torch.set_num_threads(1)
status = lambda key: next(1024 * int(one.split()[1]) for one in open("/proc/self/status") if one.startswith(key))
noise = np.random.default_rng(0).integers(0, 65536, (2000, 2000, 4), dtype=np.uint16)
kind, _, deep = sys.argv[2].partition(" ")
file = io.BytesIO()
if deep == "16":
    Image.fromarray(noise[..., 0]).save(file, kind, compress_level=1)
elif deep and kind == "PNG":
    file.write(png(noise, 16, 6))
elif deep:
    options = dict(photometric="rgb", extrasamples=["assocalpha"], compression="deflate", predictor=2)
    tifffile.imwrite(file, noise, compressionargs={"level": 1}, **options)
else:
    Image.fromarray((noise[..., : 4 if kind == "PNG" else 3] >> 8).astype(np.uint8)).save(file, kind)
content = file.getvalue()
colorizer = ServedFolder(Path(sys.argv[1])).served()["champion"].colorizer
memory = Memory(64 << 30)
memory.measure()
pool = worker.ColoringPool(Limits(), memory, lambda size: None)
before = status("VmRSS")
Path("/proc/self/clear_refs").write_text("5")  # begins the peak anew
load = partial(worker._read, content, partial(worker.decode, keep_alpha=True), 4_000_000)
write = partial(Delivery(keep_alpha=True).file, model="")
pool._color(colorizer, 1, worker.AUTOMATIC, lambda *_: None, write, load, True, Event())
assert status("VmHWM") - before <= needed(4_000_000, 1, content), (status("VmHWM") - before) / 4e6
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "PNG 16", "PNG RGBA16", "WEBP", "TIFF", "TIFF RGBA16", "JPEG2000"])
def test_a_photograph_takes_no_more_memory_than_it_holds(tmp_path: Path, kind: str):
    folder = generator_folder(tmp_path / "generator")
    subprocess.run([sys.executable, "-c", MEASURED, str(folder), kind], check=True, cwd=ROOT)


def test_what_the_estimate_does_not_foresee_fails_alone():
    """The process may not get more than it is allowed: an array of 300 MB fails, and the next one of 50 does not."""
    code = """
from serving.memory import Memory, _status
import numpy as np
Memory(_status("VmHWM") + 200_000_000, enforced=True).measure()
try:
    np.ones(300_000_000, np.uint8)
except MemoryError:
    print(np.ones(50_000_000, np.uint8).sum())
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "50000000"


def test_samples_of_16_bits_need_more():
    blank = np.zeros((4, 4, 4), np.uint32)
    deep, shallow = (needed(1000, content=tiff([blank], bits, 2, extra=2)) for bits in (16, 8))
    assert deep > shallow == needed(1000)
    assert needed(1000, content=png(blank, 16, 6)) == deep
