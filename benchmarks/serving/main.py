"""Measures `colorize web` under a load of all sizes, slow senders, broken uploads and disconnects.

The server, with the champion, and its clients share two cores. Photographs are mosaics of the sample photographs, as
JPEG. First the model alone colors photographs of one megapixel; then one client, and as many as keep the server busy,
send them. Then one client sends small photographs, without and with two clients that send 48 megapixels. At last all
kinds of clients load the server for minutes. The program fails if an answer was a 5xx other than 503, if memory was not
flat within 10 %, or if large photographs made the p99 of small ones more than three times as long.
"""

import io
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import Annotated

import typer
from PIL import Image, ImageOps

from benchmarks.serving import clients
from benchmarks.serving.clients import Answer, MemoryWatch, ask, closed_loop
from benchmarks.tools import FOLDER, ROOT, alone, write

SHAPES = ((1152, 864), (864, 1152), (1224, 816), (1000, 1000))
SIZES = {"32 x 32": (32, 32), "1 megapixel": SHAPES[0], "12 megapixels": (4000, 3000), "48 megapixels": (8000, 6000)}
_CORES = 2
_TILE = (1000, 750)
_BUSY = 6  # clients that keep it busy
_FLAT = 0.1
_SLOWER = 3.0
_TRIM = 2  # photographs of 48 megapixels before memory counts


def main(
    minutes: Annotated[float, typer.Option(help="Minutes of the load of all kinds.")] = 10.0,
    settle: Annotated[float, typer.Option(help="Seconds of each measurement before.")] = 60.0,
    result: Annotated[Path, typer.Option(help="File of figures to write, with load.png beside it.")] = FOLDER
    / "serving"
    / "figures.json",
) -> None:
    """Measures; writes the figures and the plot; fails if the server did not hold its line."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:_CORES])
    shapes = [_jpeg(shape) for shape in SHAPES]
    bodies = {name: _jpeg(size) for name, size in SIZES.items()}
    model = alone(_model_alone, shapes, settle)
    with _server() as (port, process):
        load = os.getloadavg()[0]
        for body in shapes:
            ask(port, body)
        one = closed_loop(port, shapes, 1, settle)
        busy = closed_loop(port, shapes, _BUSY, settle)
        small = {large: _small(port, bodies, large, settle) for large in (False, True)}
        print(f"all kinds of clients for {minutes:g} minutes", flush=True)
        for _ in range(_TRIM):  # each in turn: the server then has all the memory that it is going to have
            ask(port, bodies["48 megapixels"])
        with MemoryWatch(process.pid) as memory:
            answers = clients.run(_all_kinds(port, bodies), 60 * minutes)
        ended = time.perf_counter()
        normal = _p99([each.seconds for each in one])
        recovery = (ask(port, shapes[number % len(shapes)]) for number in range(100))
        back = next((each.began + each.seconds - ended for each in recovery if each.seconds <= normal), float("nan"))
    figures = {
        "the model alone: photographs/s": model,
        "one client: photographs/s": len(one) / settle,
        "one client: p50, s": median(each.seconds for each in one),
        "one client: p99, s": normal,
        f"{_BUSY} clients: photographs/s": len(busy) / settle,
        f"{_BUSY} clients: p50, s": median(each.seconds for each in busy),
        f"{_BUSY} clients: p99, s": _p99([each.seconds for each in busy]),
        "a server's throughput / the model's alone": len(busy) / settle / model,
        "32 x 32: p99, s": _p99(small[False]),
        "32 x 32: p99 beside two clients of 48 megapixels, s": _p99(small[True]),
        "32 x 32: p99 beside them / without": _p99(small[True]) / _p99(small[False]),
        **_of_sizes(answers),
        **_of_memory(memory.seen),
        "after: seconds until one client is served as fast as before": back,
    }
    statuses = {
        kind: dict(Counter(str(each.status) for each in answers if each.kind == kind))
        for kind in sorted({each.kind for each in answers})
    }
    write(result, {name: round(value, 3) for name, value in figures.items()}, cores=_CORES, minutes=minutes,
          settle=settle, statuses=statuses, load_before=round(load, 2))  # fmt: skip
    print(statuses)
    _plot(result.with_name("load.png"), answers, memory.seen)
    failures = list(_failures(answers, figures))
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    sys.exit(1 if failures else 0)


def _all_kinds(port: int, bodies: dict[str, bytes]) -> list[tuple[str, Callable[[], int]]]:
    """Returns the clients of the last load: two of each small size, one of each large one, and rude ones."""
    polite = [(name, partial(_status, port, bodies[name])) for name in (*bodies, "32 x 32", "1 megapixel")]
    large = bodies["48 megapixels"]
    rude = [(call.__name__, partial(call, port, large)) for call in (clients.slow, clients.silent, clients.leaving)]
    rude += [(call.__name__, partial(call, port, bodies["1 megapixel"])) for call in (clients.idle, clients.broken)]
    return polite + 2 * rude


def _small(port: int, bodies: dict[str, bytes], beside_large: bool, seconds: float) -> list[float]:
    """Returns the seconds of small photographs that one client sends, alone or beside two clients of large ones."""
    large, small = (partial(_status, port, bodies[name]) for name in ("48 megapixels", "32 x 32"))
    answers = clients.run([("small", small), *(2 * [("large", large)] if beside_large else [])], seconds)
    return [each.seconds for each in answers if each.kind == "small" and each.status == 200]


def _status(port: int, body: bytes) -> int:
    return ask(port, body).status


def _of_sizes(answers: Sequence[Answer]) -> dict[str, float]:
    found = {}
    for name in SIZES:
        seconds = [each.seconds for each in answers if each.kind == name and each.status == 200]
        found[f"all kinds: {name}: p50, s"] = median(seconds or [float("nan")])
        found[f"all kinds: {name}: p99, s"] = _p99(seconds)
    took = max(each.began + each.seconds for each in answers) - answers[0].began
    colored = sum(each.status == 200 and each.kind in SIZES for each in answers)
    return found | {"all kinds: photographs/s": colored / took}


def _of_memory(seen: Sequence[tuple[float, int]]) -> dict[str, float]:
    """Compares the second and the last quarter of the time: their means, and their peaks."""
    quarter = max(1, len(seen) // 4)
    early, late = ([size / 1e6 for _, size in part] for part in (seen[quarter : 2 * quarter], seen[-quarter:]))
    return {
        "all kinds: memory in the second quarter, mean, MB": sum(early) / len(early),
        "all kinds: memory in the last quarter, mean, MB": sum(late) / len(late),
        "all kinds: memory in the second quarter, most, MB": max(early),
        "all kinds: memory in the last quarter, most, MB": max(late),
        "all kinds: most memory, MB": max(size for _, size in seen) / 1e6,
    }


def _failures(answers: Sequence[Answer], figures: dict[str, float]) -> Iterator[str]:
    """Yields a sentence for each line that the server did not hold."""
    wrong = {each.status for each in answers if each.status >= 500} - {503}
    if wrong:
        yield f"the server answered {sorted(wrong)}."
    for what in ("mean", "most"):
        early, late = (figures[f"all kinds: memory in the {when} quarter, {what}, MB"] for when in ("second", "last"))
        if late > (1 + _FLAT) * early:
            yield f"memory ({what}) grew from {early:.0f} to {late:.0f} MB."
    if (ratio := figures["32 x 32: p99 beside them / without"]) > _SLOWER:
        yield f"large photographs make small ones {ratio:.1f} times as slow."


def _model_alone(bodies: list[bytes], seconds: float) -> float:
    """Returns how many photographs a second the model colors, decoded and encoded, with all cores and no server."""
    from model.data.encoding import encode
    from model.data.images import decode
    from model.inference.colorizer import Colorizer

    colorizer = Colorizer.load(ROOT / "champion")
    began, count = 0.0, -len(bodies)  # one round to warm up
    while count <= 0 or time.perf_counter() - began < seconds:
        if count == 0:
            began = time.perf_counter()
        photograph = decode(bodies[count % len(bodies)])
        encode(colorizer.colorize(photograph.rgb)[0], photograph)
        count += 1
    return count / (time.perf_counter() - began)


@contextmanager
def _server() -> Iterator[tuple[int, "subprocess.Popen[bytes]"]]:
    """Starts `colorize web` with the shipped champion; yields its port and process."""
    from serving.address import bind

    with bind("127.0.0.1", 0)[0] as free:
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
    import urllib.error
    import urllib.request

    try:
        return bool(urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5).status == 200)
    except OSError:
        return False


def _plot(path: Path, answers: Sequence[Answer], memory: Sequence[tuple[float, int]]) -> None:
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    began = answers[0].began
    figure, (top, bottom) = pyplot.subplots(2, sharex=True, figsize=(8, 5), layout="constrained")
    for name in SIZES:
        chosen = [each for each in answers if each.kind == name and each.status == 200]
        top.scatter([each.began - began for each in chosen], [each.seconds for each in chosen], 3, label=name)
    top.set(ylabel="seconds to the picture", yscale="log")
    top.legend(loc="center right", markerscale=3)
    bottom.plot([at - began for at, _ in memory], [size / 1e6 for _, size in memory])
    bottom.set(xlabel="seconds of the load", ylabel="server's memory, MB", ylim=(0, None))
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


def _p99(values: Sequence[float]) -> float:
    return quantiles(values, n=100)[-1] if len(values) > 1 else float("nan")
