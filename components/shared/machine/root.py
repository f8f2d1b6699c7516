"""Finds the files beside the code: in a checkout, in an image, or in the package that `pip install` made of one."""

from pathlib import Path

from model.utils.errors import UserError

CODE = Path(__file__).resolve().parents[3]
"""Folder of model/, components/, pipeline/ and serving/."""

CARRIED = Path("components", "carried")
"""Folder below `CODE` into which setup.py puts the files that a package carries; a checkout has none."""

INSTALLED = (CODE / CARRIED).is_dir()
"""True in an installed package."""

ROOT = CODE / CARRIED if INSTALLED else CODE
"""Folder of params.yaml, recipes/, requirements.txt and, outside of images, champion/ and data.dvc."""


def require_checkout(what: str) -> None:
    """Checks that this code is no installed package.

    Args:
        what: needs a checkout, such as "`colorize compile`".

    Raises:
        UserError: it is one.
    """
    if INSTALLED:
        raise UserError(
            f"{what} works in a checkout, and this program was installed without one; clone the repository and run "
            "`make setup` there."
        )
