"""Measures `colorize web` under load: latency, throughput, refusals, memory and recovery.

The server, with the champion, and its clients share two cores. Photographs are mosaics of the sample photographs, of
one megapixel each in four shapes, as JPEG. First one client sends one photograph after the other; then as many clients
as keep the server busy measure its capacity; then, for minutes, four times as many requests as that begin every
second, whether earlier ones are answered or not. At the end one client sends requests until an answer is as fast as
the first p95.
"""

import http.client
import io
import itertools
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import Annotated, NamedTuple

import typer
from PIL import Image, ImageOps

from benchmarks.tools import FOLDER, ROOT, write

SHAPES = ((1152, 864), (864, 1152), (1224, 816), (1000, 1000))
_CORES = 2
_TILE = (1000, 750)
_BUSY = 6  # clients that keep it busy
_OVER = 4  # times what it can serve


class Answer(NamedTuple):
    began: float
    seconds: float
    status: int
    """HTTP status; 0 if the connection broke."""


def main(
    minutes: Annotated[float, typer.Option(help="Minutes of overload.")] = 10.0,
    settle: Annotated[float, typer.Option(help="Seconds of each measurement before the overload.")] = 60.0,
    result: Annotated[Path, typer.Option(help="File of figures to write, with a plot beside it.")] = FOLDER
    / "serving.json",
) -> None:
    """Measures; writes the figures and the plot."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:_CORES])
    bodies = [_jpeg(shape) for shape in SHAPES]
    with _server() as (port, process):
        load = os.getloadavg()[0]
        for body in bodies:
            _ask(port, body)
        rest = closed_loop(port, bodies, clients=1, seconds=settle)
        busy = closed_loop(port, bodies, clients=_BUSY, seconds=settle)
        capacity = len(busy) / settle
        print(f"{capacity:.2f} photographs/s; {_OVER} times as many for {minutes:g} minutes", flush=True)
        answers, memory = open_loop(port, bodies, _OVER * capacity, 60 * minutes, process.pid)
        recovery = [_ask(port, bodies[number % len(bodies)]) for number in range(40)]
    ended, normal = max(one.began for one in answers), _p95([one.seconds for one in rest])
    back = next((one.began + one.seconds - ended for one in recovery if one.seconds <= normal), float("nan"))
    refusals = sorted(one.seconds for one in answers if one.status in (429, 503))
    served = [one.seconds for one in answers if one.status == 200]
    settled = [size for at, size in memory if at >= 60] or [size for _, size in memory]
    figures = {
        "one client: p50, s": median(one.seconds for one in rest),
        "one client: p95, s": _p95([one.seconds for one in rest]),
        "one client: photographs/s": len(rest) / settle,
        f"{_BUSY} clients: p50, s": median(one.seconds for one in busy),
        f"{_BUSY} clients: p95, s": _p95([one.seconds for one in busy]),
        f"{_BUSY} clients: photographs/s": capacity,
        "overload: photographs/s": len(served) / (60 * minutes),
        "overload: p50 of those colored, s": median(served),
        "overload: p95 of those colored, s": _p95(served),
        "overload: p50 of refusals, s": median(refusals),
        "overload: p99 of refusals, s": refusals[int(len(refusals) * 0.99)],
        "overload: slowest refusal, s": refusals[-1],
        "overload: memory after a minute, MB": settled[0] / 1e6,
        "overload: memory at the end, MB": settled[-1] / 1e6,
        "overload: most memory, MB": max(settled) / 1e6,
        "after: seconds until normal": back,
    }
    statuses = Counter(str(one.status) for one in answers)
    write(result, {name: round(value, 3) for name, value in figures.items()}, cores=_CORES, minutes=minutes,
          statuses=dict(statuses), load_before=round(load, 2))  # fmt: skip
    print(dict(statuses))
    _plot(result.with_suffix(".png"), answers, memory)


@contextmanager
def _server() -> Iterator[tuple[int, "subprocess.Popen[bytes]"]]:
    """Starts `colorize web` with a registry that holds the shipped champion alone; yields its port and process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as workspace:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "OMP_"))}
        environment["COLORIZE_WORKSPACE"] = workspace
        command = [sys.executable, "-m", "pipeline.cli.main", "web", "--port", str(port)]
        process = subprocess.Popen(command, cwd=ROOT, env=environment)
        try:
            while not _ready(port):
                if process.poll() is not None:
                    sys.exit("error: the server ended.")
                time.sleep(0.5)
            yield port, process
        finally:
            process.terminate()
            process.wait()


def _ready(port: int) -> bool:
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False


def _ask(port: int, body: bytes) -> Answer:
    began = time.perf_counter()
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("POST", "/v1/colorize", body)
        response = connection.getresponse()
        response.read()
        connection.close()
        status = response.status
    except (OSError, http.client.HTTPException):
        status = 0
    return Answer(began, time.perf_counter() - began, status)


def closed_loop(port: int, bodies: list[bytes], clients: int, seconds: float) -> list[Answer]:
    """Runs clients that each send the next request after an answer; returns the answers within the time."""
    ends = time.perf_counter() + seconds
    answers: list[Answer] = []

    def client(start: int) -> None:
        for body in itertools.islice(itertools.cycle(bodies), start, None):
            answer = _ask(port, body)
            if time.perf_counter() > ends:
                return
            if answer.status == 200:
                answers.append(answer)

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(client, range(clients)))
    return answers


def open_loop(
    port: int, bodies: list[bytes], rate: float, seconds: float, pid: int
) -> tuple[list[Answer], list[tuple[float, int]]]:
    """Begins `rate` requests a second without waiting for answers; returns these and the server's memory over time.

    Returns:
        The answers; pairs of seconds and bytes.
    """
    began = time.perf_counter()
    memory: list[tuple[float, int]] = []
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(1):
            pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1])
            memory.append((time.perf_counter() - began, pages * os.sysconf("SC_PAGE_SIZE")))

    watcher = threading.Thread(target=watch)
    watcher.start()
    with ThreadPoolExecutor(200) as pool:
        begun = []
        for number in range(round(rate * seconds)):
            time.sleep(max(0.0, began + number / rate - time.perf_counter()))
            begun.append(pool.submit(_ask, port, bodies[number % len(bodies)]))
        answers = [one.result() for one in begun]
    ended.set()
    watcher.join()
    return answers, memory


def _plot(path: Path, answers: list[Answer], memory: list[tuple[float, int]]) -> None:
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    began = answers[0].began
    figure, (top, bottom) = pyplot.subplots(2, sharex=True, figsize=(8, 5), layout="constrained")
    for status, color in (("200", "tab:blue"), ("429", "tab:orange"), ("503", "tab:red"), ("0", "black")):
        chosen = [one for one in answers if str(one.status) == status]
        if chosen:
            top.scatter([one.began - began for one in chosen], [one.seconds for one in chosen], 2, color, label=status)
    top.set(ylabel="seconds to the answer", yscale="log")
    top.legend(title="status", loc="center right", markerscale=4)
    bottom.plot([at for at, _ in memory], [size / 1e6 for _, size in memory])
    bottom.set(xlabel="seconds of overload", ylabel="server's memory, MB", ylim=(0, None))
    figure.savefig(path, dpi=100)


def _jpeg(shape: tuple[int, int]) -> bytes:
    content = io.BytesIO()
    mosaic(ROOT / "data", shape).save(content, "JPEG", quality=90)
    return content.getvalue()


def mosaic(photos: Path, size: tuple[int, int]) -> Image.Image:
    """Makes a picture of this width and height out of large photographs at their own resolution."""
    paths = sorted((photos / "tuxtype-data").glob("*.jpg")) + sorted((photos / "scratch").glob("*.jpg"))
    picture = Image.new("RGB", size)
    places = [(x, y) for y in range(0, size[1], _TILE[1]) for x in range(0, size[0], _TILE[0])]
    for index, place in enumerate(places):
        with Image.open(paths[index % len(paths)]) as photograph:
            picture.paste(ImageOps.fit(photograph.convert("RGB"), _TILE), place)
    return picture


def _p95(values: list[float]) -> float:
    return quantiles(values, n=20)[-1]
