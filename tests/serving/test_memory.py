"""Tests of the memory that photographs share."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from serving.memory import FullError, Memory, NeedsMoreError, available, needed
from tests.model.inference.test_colorizer import generator_folder
from tests.serving.conftest import until

MB = 1_000_000


@pytest.fixture
def memory() -> Memory:
    """Returns 400 MB for photographs: 300 at work, 100 in files."""
    found = Memory(0)
    found.measure()
    found._rest = 400 * MB
    return found


def test_work_waits_until_memory_is_free(memory: Memory):
    never, second = threading.Event(), threading.Event()

    def work() -> None:
        with memory.work(200 * MB, never):
            second.set()

    with memory.work(200 * MB, never):
        waiting = threading.Thread(target=work)
        waiting.start()
        assert not second.wait(0.3)
        with memory.work(100 * MB, never):  # a small one overtakes
            pass
    waiting.join()
    assert second.is_set()


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
from pathlib import Path
from threading import Event
import numpy as np
import torch
from PIL import Image
from serving import worker
from serving.limits import Limits
from serving.memory import Memory, needed
from serving.served_models import ServedFolder

torch.set_num_threads(1)
status = lambda key: next(1024 * int(one.split()[1]) for one in open("/proc/self/status") if one.startswith(key))
content, noise = io.BytesIO(), np.random.default_rng(0).integers(0, 65536, (2000, 2000, 4), dtype=np.uint16)
kind = sys.argv[2]
if kind == "16":
    Image.fromarray(noise[..., 0]).save(content, "PNG", compress_level=1)
else:
    Image.fromarray((noise[..., : 4 if kind == "PNG" else 3] >> 8).astype(np.uint8)).save(content, kind)
colorizer = ServedFolder(Path(sys.argv[1])).served()["champion"].colorizer
memory = Memory(64 << 30)
memory.measure()
pool = worker.ColoringPool(Limits(), memory, lambda size: None)
before = status("VmRSS")
Path("/proc/self/clear_refs").write_text("5")  # begins the peak anew
pool._color(colorizer, content.getvalue(), 1, worker.AUTOMATIC, lambda *_: None, 4_000_000, True, Event())
assert status("VmHWM") - before <= needed(4_000_000, 1, content.getvalue()), (status("VmHWM") - before) / 4e6
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "16", "WEBP", "TIFF"])
def test_a_photograph_takes_no_more_memory_than_it_holds(tmp_path: Path, kind: str):
    folder = generator_folder(tmp_path / "generator")
    subprocess.run([sys.executable, "-c", MEASURED, str(folder), kind], check=True)
