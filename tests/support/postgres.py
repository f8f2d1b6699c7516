"""A real PostgreSQL server for tests: Debian's, on loopback, over a folder of its own."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BIN = max(Path("/usr/lib/postgresql").glob("*/bin"), default=Path("/nowhere"))
"""Folder of the server and its clients; not there where PostgreSQL is not installed."""


@contextmanager
def cluster() -> Iterator[Path]:
    """Yields the folder of a new database cluster, whose user `postgres` needs no password; removes it at the end."""
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))  # pytest's own folders are closed to other users
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, "nobody")
        _run("initdb", "--username=postgres", "--auth=trust", "--no-sync", str(folder / "data"))
        yield folder / "data"
    finally:
        shutil.rmtree(folder)


@contextmanager
def postgres(data: Path, port: int) -> Iterator[None]:
    """Runs a server over a cluster until the end of the block."""
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={data.parent} -c fsync=off"
    _run("pg_ctl", "--wait", f"--pgdata={data}", f"--log={data.parent / 'log'}", f"--options={options}", "start")
    try:
        yield
    finally:
        _run("pg_ctl", "--wait", f"--pgdata={data}", "--mode=immediate", "stop")


def _run(program: str, *arguments: str) -> None:
    """Runs a program as another user than root, which PostgreSQL refuses."""
    user = "nobody" if os.geteuid() == 0 else None
    subprocess.run([BIN / program, *arguments], check=True, user=user, cwd="/", stdout=subprocess.DEVNULL)
