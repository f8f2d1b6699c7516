"""Facts for a bug report: versions, machine, threads, devices, disk, locks, endpoints and settings; never a secret."""

import os
import platform
import re
import shutil
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from components.shared.machine.code import git_commit
from components.shared.machine.first_contact import answers
from components.shared.machine.workspace import workspace
from components.shared.mlflow import connection, sqlite
from components.shared.photos.folder import printable
from model.utils.cores import THREADS, WAITING, cores, quota
from pipeline import ROOT

Facts = dict[str, str]

_PACKAGES = (
    "torch", "torchvision", "numpy", "pillow", "kfp", "mlflow", "dvc", "boto3", "fastapi", "uvicorn", "typer", "rich",
)  # fmt: skip
_SHOWN = (
    "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_PROFILE", "AWS_REGION",
    "COLORIZE_CHECKPOINTS", "COLORIZE_CLUSTER", "COLORIZE_PHOTOS", "COLORIZE_SHARD_CACHE_BYTES",
    "COLORIZE_VERBOSITY", "COLORIZE_WORKSPACE", "COLUMNS", "CUDA_VISIBLE_DEVICES", "HTTPS_PROXY", "HTTP_PROXY",
    "KF_PIPELINES_ENDPOINT", "KF_PIPELINES_NAMESPACE", "KUBECONFIG", "LANG", "LC_ALL", "MLFLOW_TRACKING_URI",
    "NO_COLOR", "NO_PROXY", "PYTHONPATH", "TERM", "TMPDIR", "https_proxy", "http_proxy", "no_proxy", THREADS,
    WAITING,
)  # fmt: skip
_OURS = ("AWS_", "COLORIZE_", "KF_", "MLFLOW_")
"""Prefixes of variables whose values may be secret: named, not shown, unless they are in `_SHOWN`."""
_TIMEOUT = 3  # seconds that an endpoint has for an answer


def examine() -> dict[str, Facts]:
    """Returns what is known, by section. A section that cannot be examined says why."""
    sections: dict[str, Callable[[], Facts]] = {
        "versions": _versions,
        "machine": _machine,
        "threads and devices": _devices,
        "files": _files,
        "locks": _locks,
        "endpoints": _endpoints,
        "environment": _environment,
    }
    return {name: _examined(section) for name, section in sections.items()}


def _examined(section: Callable[[], Facts]) -> Facts:
    try:
        return section()
    except Exception as error:
        words = f"{type(error).__name__}: {error}".split()
        return {"error": printable(" ".join("..." if "@" in word else word for word in words))}


def _versions() -> Facts:
    found = {
        "colorize": f"{version('colorize')}, commit {git_commit()}, in {ROOT}",
        "python": f"{platform.python_version()}, {sys.executable}",
    }
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _machine() -> Facts:
    try:
        system = platform.freedesktop_os_release().get("PRETTY_NAME", "unknown")
    except OSError:
        system = "unknown"
    memory, limit = psutil.virtual_memory(), quota()
    model = re.search(r"^model name\s*: (.*)$", _text(Path("/proc/cpuinfo")), re.MULTILINE)
    return {
        "system": f"{system}, {platform.platform()}",
        "processor": f"{model[1] if model else platform.machine()}, {os.cpu_count()} cores",
        "cores of this program": f"{cores()}" + (f", limited to {limit} by the control group" if limit else ""),
        "load": ", ".join(f"{load:.1f}" for load in os.getloadavg()),
        "memory": f"{_gigabytes(memory.total)}, {_gigabytes(memory.available)} free",
    }


def _devices() -> Facts:
    variables = {name: os.environ.get(name, "not set") for name in (THREADS, WAITING)}
    try:
        import torch
    except Exception as error:  # not installed, or a library that it needs is not
        return variables | {"torch": f"cannot be loaded: {error}"}
    found = variables | {"threads of torch": str(torch.get_num_threads()), "CUDA of torch": str(torch.version.cuda)}
    for number in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(number)
        found[f"GPU {number}"] = f"{about.name}, {_gigabytes(about.total_memory)}"
    if not torch.cuda.is_available():
        found["GPU"] = "none that torch can use"
    return found


def _files() -> Facts:
    folder = workspace()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    access = "" if os.access(there, os.W_OK) else ", not writable"
    found = {
        "workspace": f"{folder}, {'there' if folder.exists() else 'not made yet'}{access}",
        "disk": f"{_gigabytes(shutil.disk_usage(there).free)} free of {_gigabytes(shutil.disk_usage(there).total)}",
    }
    for name in ("data", "champion"):
        recorded = re.search(r"^- md5: (\S+)", _text(ROOT / f"{name}.dvc"), re.MULTILINE)
        here = (
            "files are there" if (ROOT / name).is_dir() else "files are missing; a command that needs them fetches them"
        )
        found[f"{name}/"] = f"version {recorded[1] if recorded else 'unknown'}; {here}"
    return found


def _locks() -> Facts:
    """Returns who holds each lock. It reads the kernel's table: taking a lock to try it could make a run fail."""
    held = {}
    for line in _text(Path("/proc/locks")).splitlines():
        words = line.split()
        if "->" not in words and len(words) > 5:  # which marks one who waits
            held[words[5]] = words[4]
    locks = {
        "run": workspace() / "lock",
        "step": workspace() / "lock-steps",
        "MLflow": (sqlite.file_of(connection.uri()) or workspace() / "mlflow.db").with_name(".mlflow.lock"),
        "DVC": ROOT / ".dvc" / "tmp" / "lock",
    }
    return {name: _holder(path, held) for name, path in locks.items()}


def _holder(path: Path, held: dict[str, str]) -> str:
    try:
        about = path.stat()
    except OSError:
        return "free"
    key = f"{os.major(about.st_dev):02x}:{os.minor(about.st_dev):02x}:{about.st_ino}"
    return f"held by process {held[key]}: {path}" if key in held else "free"


def _endpoints() -> Facts:
    mlflow = connection.uri()
    if mlflow.startswith(("http://", "https://")):
        tracking = _answer(mlflow)
    elif file := sqlite.file_of(mlflow):
        tracking = printable(f"{file}, a file")
    else:
        tracking = f"{_safe(mlflow)}, a database, which is not asked"
    return {
        "MLflow": tracking,
        "Kubeflow Pipelines": _answer(os.environ.get("KF_PIPELINES_ENDPOINT", "")),
        "S3": _answer(os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL", "")),
        "webhook": "set; its address is secret" if os.environ.get("COLORIZE_WEBHOOK_URL") else "not set",
    }


def _answer(address: str) -> str:
    """Returns whether a server answers at an address, which is shown without user, password and query."""
    if not address:
        return "not set"
    full = address if "://" in address else f"http://{address}"
    try:
        named = bool(urlsplit(full).hostname) and urlsplit(full).port != 0
    except ValueError:
        named = False
    if not named:
        return f"{_safe(address)} is no address"
    return f"{_safe(address)} {'answers' if answers(full, _TIMEOUT) else 'does not answer'}"


def _environment() -> Facts:
    found = {}
    for name in sorted(os.environ):
        if name in _SHOWN:
            found[name] = _safe(os.environ[name])
        elif name.startswith(_OURS):
            found[name] = "set, not shown"
    return found


def _safe(text: str) -> str:
    """Returns a value in printable characters; an address without user, password, query and fragment."""
    if "@" in text and not re.match(r"/(?!/)|\.|~", text):
        text = connection.redacted(text)
    return printable(re.sub(r"(://[^\s?#]*)[?#]\S*", r"\1", text))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
