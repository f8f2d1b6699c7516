"""The champion's files in a clone: in champion/, or in the DVC remote that the repository holds. Needs no DVC."""

import hashlib
import json
import re
import shutil
from pathlib import Path

from model.utils.errors import UserError


def copy_champion(root: Path, out: Path) -> None:
    """Copies the files that champion.dvc lists, from champion/ where it has them and else from .dvc/remote/.

    Args:
        root: a checkout.
        out: folder to write to.

    Raises:
        UserError: champion.dvc is missing or damaged, or neither place has one of its files.
    """
    tracked = root / "champion.dvc"
    try:
        (md5,) = re.findall(r"^- md5: ([0-9a-f]{32}\.dir)$", tracked.read_text(encoding="utf-8"), re.MULTILINE)
    except (OSError, ValueError):
        raise UserError(f"{tracked} is missing or damaged; clone the repository again.") from None
    for entry in json.loads(_stored(root, md5).read_bytes()):
        name, expected = entry["relpath"], entry["md5"]
        beside, target = root / "champion" / name, out / name
        if not target.resolve().is_relative_to(out.resolve()):
            raise UserError(f"{tracked} lists {name}, which is outside of champion/; clone the repository again.")
        source = beside if beside.is_file() and _md5(beside) == expected else _stored(root, expected)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


def _stored(root: Path, md5: str) -> Path:
    """Returns the file of the remote that an MD5 names, whole."""
    file = root / ".dvc" / "remote" / "files" / "md5" / md5[:2] / md5[2:]
    if not file.is_file() or _md5(file) != md5.removesuffix(".dir"):
        raise UserError(
            f"{file} is missing or damaged, and champion/ lacks what it holds; clone the repository again, or run "
            "`dvc pull champion`."
        )
    return file


def _md5(file: Path) -> str:
    return hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()
