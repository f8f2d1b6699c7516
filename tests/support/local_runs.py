"""Local runs in one workspace, without network, and a webhook that receives their messages."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.support.small_run import SMALL, outcomes
from tests.support.webhook import Receiver

COLORIZE = Path(sys.executable).with_name("colorize")
GUARD = Path(__file__).with_name("no_network")
"""Folder for PYTHONPATH: refuses every connection to another machine, and logs it."""


@dataclass(frozen=True)
class Run:
    status: int
    output: str

    @property
    def outcomes(self) -> dict[str, str]:
        return outcomes(self.output)


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

    def run(self, *overrides: str, photos: Path | None = None) -> Run:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW", "COLORIZE"))}
        environment |= {
            "COLORIZE_WORKSPACE": str(self.workspace),
            "COLORIZE_WEBHOOK_URL": self.hook.url,
            "NO_NETWORK_LOG": str(self.folder / "network.log"),
            "PYTHONPATH": f"{GUARD}:{GUARD.parents[2]}",
        }
        settings = [part for override in (*SMALL, *overrides) for part in ("--set", override)]
        command = [COLORIZE, "run", "--recipe", "small", "--photos", photos or self.photos, *settings]
        done = subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False, timeout=280
        )
        return Run(done.returncode, done.stdout + done.stderr)

    def aliases(self) -> dict[str, int]:
        from mlflow import MlflowClient

        model = MlflowClient(f"sqlite:///{self.workspace / 'mlflow.db'}").get_registered_model("colorizer")
        return {alias: int(version) for alias, version in model.aliases.items()}
