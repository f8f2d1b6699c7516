"""Coloring photographs on two cores with several ways to run the network: `python -m benchmarks.coloring`.

Each case is a process of its own, so that start-up and peak memory are its own. A photograph is a mosaic of the sample
photographs with all their detail, as a JPEG in memory: it is decoded, colored by the champion, and encoded again. What
differs is what runs the generator inside `Colorizer`: PyTorch, torch.compile, ONNX Runtime or OpenVINO, the latter two
by way of an ONNX file that is made at start-up.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated, Any

import typer
from PIL import Image, ImageOps

from benchmarks.machine import FOLDER, ROOT, write

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from model.networks.generator import Generator

    Network = Callable[[Tensor, Tensor], Tensor]

BACKENDS = ("torch", "torch.compile", "ONNX Runtime", "OpenVINO")
SIZES = {0.25: (576, 432), 1.0: (1152, 864), 12.0: (4000, 3000), 48.0: (8000, 6000)}  # megapixels: width, height
_REPEATS = {0.25: 20, 1.0: 10, 12.0: 4, 48.0: 2}
_CORES = 2
_TILE = (1000, 750)

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.callback(invoke_without_command=True)
def main(
    context: typer.Context,
    megapixels: Annotated[list[float] | None, typer.Option(help="Which sizes; may be repeated.")] = None,
    photos: Annotated[Path, typer.Option(help="Folder of photographs.")] = ROOT / "data",
    champion: Annotated[Path, typer.Option(help="Generator folder.")] = ROOT / "champion",
    result: Annotated[Path, typer.Option(help="Where the figures go.")] = FOLDER / "coloring.json",
) -> None:
    """Measures every backend at every size; prints a table, writes the figures."""
    if context.invoked_subcommand:
        return
    from pipeline.data.versions import ensure_data

    ensure_data(ROOT, "champion")
    figures: dict[str, float] = {}
    rows = []
    print(f"{'':16}{'MP':>6}{'photos/s':>10}{'seconds':>9}{'network':>9}{'start, s':>10}{'peak, MB':>10}{'levels':>8}")
    for size in megapixels or SIZES:
        with tempfile.TemporaryDirectory() as scratch:
            photograph = Path(scratch) / "photograph.jpg"
            mosaic(photos, SIZES[size]).save(photograph, quality=90)
            for backend in BACKENDS:
                row = _case(backend, size, photograph, champion)
                rows.append({"backend": backend, "megapixels": size, **row})
                if "failed" in row:
                    print(f"{backend:16}{size:>6g}  failed: {row['failed']}")
                    continue
                speed, share = 1 / row["seconds"], row["network"] / row["seconds"]
                figures[f"{backend}, {size:g} megapixels: seconds"] = row["seconds"]
                print(
                    f"{backend:16}{size:>6g}{speed:>10.2f}{row['seconds']:>9.3f}{share:>9.1%}{row['start']:>10.1f}"
                    f"{row['peak_mb']:>10}{row['levels']:>8}",
                    flush=True,
                )
    write(result, figures, cores=_CORES, rows=rows)


@app.command()
def case(backend: str, repeats: int, photograph: Path, champion: Path) -> None:
    """One case, in this process; prints JSON."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:_CORES])
    started = time.perf_counter()

    import numpy as np
    import torch

    from model.data.images import decode, encode
    from model.inference.colorizer import Colorizer

    colorizer = Colorizer.load(champion)
    original = colorizer.generator
    colorizer.generator = replaced(original, backend)
    content = photograph.read_bytes()
    first = colorizer.colorize(decode(content).rgb)[0]  # compiles; counted as start-up
    start = time.perf_counter() - started

    network = _Timed(colorizer.generator)
    colorizer.generator = network  # type: ignore[assignment]
    parts: dict[str, list[float]] = {"decode": [], "color": [], "encode": [], "network": []}
    cpu = time.process_time()
    for _ in range(repeats):
        network.seconds = 0.0
        times = [time.perf_counter()]
        decoded = decode(content)
        rgb = decoded.rgb
        times.append(time.perf_counter())
        picture = colorizer.colorize(rgb)[0]
        times.append(time.perf_counter())
        encode(picture, decoded)
        times.append(time.perf_counter())
        for name, earlier, later in zip(parts, times, times[1:], strict=False):
            parts[name].append(later - earlier)
        parts["network"].append(network.seconds)
    cpu = (time.process_time() - cpu) / repeats
    whole = [sum(each) for each in zip(parts["decode"], parts["color"], parts["encode"], strict=True)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    colorizer.generator = original
    reference = colorizer.colorize(decode(content).rgb)[0]
    levels = max(int(np.abs(a.astype(np.int16) - b).max()) for a, b in zip(first, reference, strict=True))  # by rows
    row = {
        "seconds": median(whole),
        "cpu": cpu,
        "start": start,
        **{name: median(times) for name, times in parts.items()},
    }
    rounded = {name: round(value, 4) for name, value in row.items()}
    print(json.dumps({**rounded, "peak_mb": peak // 1024, "levels": levels, "torch": torch.__version__}))


def _case(backend: str, size: float, photograph: Path, champion: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.coloring", "case", backend, str(_REPEATS[size])]
    done = subprocess.run([*command, photograph, champion.resolve()], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or ["no message"])[-1][:300]}
    row: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return row


def mosaic(photos: Path, size: tuple[int, int]) -> Image.Image:
    """A picture of this width and height made of large photographs at their own resolution."""
    paths = sorted((photos / "tuxtype-data").glob("*.jpg")) + sorted((photos / "scratch").glob("*.jpg"))
    picture = Image.new("RGB", size)
    places = [(x, y) for y in range(0, size[1], _TILE[1]) for x in range(0, size[0], _TILE[0])]
    for index, place in enumerate(places):
        with Image.open(paths[index % len(paths)]) as photograph:
            picture.paste(ImageOps.fit(photograph.convert("RGB"), _TILE), place)
    return picture


def replaced(generator: "Generator", backend: str) -> Any:
    """What `Colorizer` and `predict_ab` need of a generator, computed by another program.

    Raises:
        ValueError: no such backend.
    """
    import torch

    from model.inference.onnx import to_onnx

    if backend == "torch":
        return generator
    if backend == "torch.compile":
        return _Replaced(generator, torch.compile(generator, dynamic=False))  # with sides left open it takes minutes
    if backend not in BACKENDS:
        raise ValueError(f"{backend} is none of {', '.join(BACKENDS)}")
    if backend == "ONNX Runtime":
        return _Replaced(generator, _by_shape(lambda L, z: _onnx_runtime(to_onnx(generator, L, z))))
    if generator.config.encoder == "none":
        return _Replaced(generator, _by_shape(lambda L, z: _openvino(to_onnx(generator, L, z))))
    # OpenVINO errs where one channel meets three numbers before a convolution: it gets L three times.
    network = _by_shape(lambda L, z: _openvino(to_onnx(generator, L, z)))
    return _Replaced(generator, lambda L, z: network(L.expand(-1, 3, -1, -1).contiguous(), z))


def _onnx_runtime(model: bytes) -> "Network":
    import onnxruntime
    import torch

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = _CORES
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda L, z: torch.from_numpy(session.run(None, _inputs(L, z))[0])


def _openvino(model: bytes) -> "Network":
    import openvino
    import torch

    core = openvino.Core()
    # In float32, as the others: on a CPU that has bfloat16 it would take that.
    settings = {"INFERENCE_NUM_THREADS": _CORES, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(core.read_model(model, b""), "CPU", settings)
    return lambda L, z: torch.from_numpy(compiled(_inputs(L, z))[0].copy())


def _by_shape(build: "Callable[[Tensor, Tensor], Network]") -> "Network":
    """A network that is built for each shape when it first comes."""
    import torch

    built: dict[Any, Network] = {}

    def run(L: "Tensor", z: "Tensor") -> "Tensor":
        if L.shape not in built:
            with torch.inference_mode(False), torch.no_grad():
                built[L.shape] = build(L.clone(), z.clone())
        return built[L.shape](L, z)

    return run


class _Replaced:
    """Looks like the generator to those who use it."""

    def __init__(self, generator: "Generator", run: "Network") -> None:
        self.config, self.sample_noise = generator.config, generator.sample_noise
        self.chroma_slope, self._run = generator.chroma_slope, run

    def __call__(self, L: "Tensor", z: "Tensor", y: None = None) -> "Tensor":
        return self._run(L, z)


class _Timed(_Replaced):
    """Adds up the seconds spent in the network."""

    def __init__(self, generator: Any) -> None:
        super().__init__(generator, generator)
        self.seconds = 0.0

    def __call__(self, L: "Tensor", z: "Tensor", y: None = None) -> "Tensor":
        started = time.perf_counter()
        ab = self._run(L, z)
        self.seconds += time.perf_counter() - started
        return ab


def _inputs(L: "torch.Tensor", z: "torch.Tensor") -> dict[str, Any]:
    return {"L": L.contiguous().numpy(), "z": z.numpy()}


if __name__ == "__main__":
    app()
