"""MLflow's SQLite file: its URL, its tables, and the addresses of the artifacts beside it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from components.shared.machine.workspace import VARIABLE
from model.utils.errors import UserError

ARTIFACTS = "mlartifacts"
"""Name of the folder of artifacts beside a SQLite file."""

_ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
)
"""Tables and columns in which MLflow keeps absolute addresses of artifacts."""


def url(database: Path) -> str:
    """Returns the URL of a SQLite file at an absolute path, whatever characters the path holds."""
    from sqlalchemy import URL

    plain = URL.create("sqlite", database=str(database)).render_as_string()
    # Of sqlite:/// MLflow also makes the folder that the URL names without decoding it, such as a%3Fb for a?b.
    return plain if plain.endswith(str(database)) else plain.replace("sqlite:", "sqlite+pysqlite:", 1)


def file_of(address: str) -> Path | None:
    """Returns the SQLite file that a tracking URI names, as an absolute path; None for any other URI."""
    if not address.startswith("sqlite"):
        return None
    from sqlalchemy import make_url

    database = make_url(address).database or ""
    if database in ("", ":memory:"):
        return None
    return Path(unquote(urlsplit(database).path) if database.startswith("file:") else database).absolute()


def artifacts_beside(database: Path) -> str:
    """Returns the URI of the folder of artifacts beside a SQLite file."""
    return (database.parent / ARTIFACTS).as_uri()


@contextmanager
def prepared(database: Path) -> Iterator[None]:
    """Makes the tables of a new file, or the addresses in one that was moved; holds a lock on it for the block.

    The first client of a file creates the tables, and two at once fail.

    Raises:
        UserError: its folder cannot be made.
    """
    try:
        database.parent.mkdir(parents=True, exist_ok=True)
        lock = (database.parent / ".mlflow.lock").open("w")
    except OSError as error:
        chosen = f"correct MLFLOW_TRACKING_URI ({database})" if "MLFLOW_TRACKING_URI" in os.environ else ""
        advice = chosen or f"set {VARIABLE} to a folder that you may write to"
        raise UserError(f"{database.parent}: {error.strerror}; {advice}.") from None
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if database.exists():
            _follow(database)
        else:
            _create(database)
        yield


def _create(database: Path) -> None:
    """Makes MLflow's tables in a file that appears with all of them: MLflow cannot open one that is half made.

    MLflow writes the address of its default experiment, which would be in the current folder, into SQL without
    quoting it; a URI holds neither quotes nor colons.
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    partial = database.with_name(f".{database.name}.partial")
    for leftover in database.parent.glob(f"{partial.name}*"):  # with SQLite's journal
        leftover.unlink()
    SqlAlchemyStore(url(partial), artifacts_beside(database)).engine.dispose()
    partial.rename(database)


def _follow(database: Path) -> None:
    """Corrects the addresses of artifacts in a file that was moved or copied together with the folder beside it."""
    from sqlalchemy import NullPool, create_engine, inspect, text

    beside, new = database.parent / ARTIFACTS, artifacts_beside(database)
    if not beside.is_dir():
        return
    engine = create_engine(url(database), poolclass=NullPool)
    with engine.begin() as connection:
        tables = inspect(connection).get_table_names()
        if "experiments" not in tables:
            return
        for (old,) in connection.execute(text("SELECT DISTINCT artifact_location FROM experiments")).all():
            if _is_elsewhere(old or "", beside):
                for table, column in _ADDRESSES:
                    if table in tables:
                        change = f"UPDATE {table} SET {column} = :new || substr({column}, length(:old) + 1) WHERE "
                        which = f"{column} = :old OR substr({column}, 1, length(:old) + 1) = :old || '/'"
                        connection.execute(text(change + which), {"new": new, "old": old})


def _is_elsewhere(address: str, beside: Path) -> bool:
    """Tells whether an experiment's address is that of artifacts beside a SQLite file in another folder."""
    parts = urlsplit(address)
    if parts.scheme not in ("", "file"):
        return False
    folder = Path(url2pathname(parts.path) if parts.scheme else address)
    return folder.name == ARTIFACTS and not (folder == beside or (folder.is_dir() and folder.samefile(beside)))
