"""Local runs in one workspace, without network, and a webhook that receives their messages."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.support import small_run
from tests.support.patience import patience
from tests.support.small_run import SMALL, Ended
from tests.support.webhook import Receiver

COLORIZE = Path(sys.executable).with_name("colorize")
GUARD = Path(__file__).with_name("no_network")
"""Folder for PYTHONPATH: refuses every connection to another machine, and logs it."""


@dataclass(frozen=True)
class Story:
    folder: Path
    hook: Receiver

    @property
    def photos(self) -> Path:
        return self.folder / "photos"

    @property
    def workspace(self) -> Path:
        return self.folder / "workspace"

    def run(self, *overrides: str, photos: Path | None = None, options: tuple[str, ...] = ()) -> Ended:
        settings = [part for override in (*SMALL, *overrides) for part in ("--set", override)]
        return self.command("run", "--recipe", "small", "--photos", str(photos or self.photos), *settings, *options)

    def command(self, *words: str) -> Ended:
        """Runs a command of `colorize` in this workspace."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW", "COLORIZE"))}
        environment |= {
            "COLORIZE_WORKSPACE": str(self.workspace),
            "COLORIZE_WEBHOOK_URL": self.hook.url,
            "NO_NETWORK_LOG": str(self.folder / "network.log"),
            "PYTHONPATH": f"{GUARD}:{GUARD.parents[2]}",
        }
        done = subprocess.run(
            [COLORIZE, *words],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=patience(280),
        )
        return Ended(done.returncode, done.stdout + done.stderr, done.stdout)

    def aliases(self) -> dict[str, int]:
        return small_run.aliases(self.workspace)
