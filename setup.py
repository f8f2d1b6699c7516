"""Builds the package `colorize`, which carries what the program reads beside its code, the champion among it.

pyproject.toml says the rest. `components.shared.machine.root` finds the files in the installed package.
"""

import shutil
import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from components.shared.machine.code import OF_PACKAGE, git_commit  # noqa: E402
from components.shared.machine.root import CARRIED  # noqa: E402
from pipeline.data.shipped import copy_champion  # noqa: E402

FILES = ("params.yaml", "requirements.txt", "schedules.yaml", "data.dvc", "k8s/images/kustomization.yaml")


class BuildWithFiles(build_py):
    """Adds the files, the champion and the commit to what is built; an editable installation finds the checkout's."""

    def run(self) -> None:
        """Builds anew: what an earlier build left may be of other code."""
        if self.editable_mode:
            return super().run()
        shutil.rmtree(self.build_lib, ignore_errors=True)
        super().run()
        carried = Path(self.build_lib) / CARRIED
        for name in (*FILES, *(str(path.relative_to(HERE)) for path in (HERE / "recipes").rglob("*.yaml"))):
            (carried / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(HERE / name, carried / name)
        copy_champion(HERE, carried / "champion")
        (carried / OF_PACKAGE).write_text(f"{git_commit()}\n", encoding="utf-8")
        return None


setup(cmdclass={"build_py": BuildWithFiles})
