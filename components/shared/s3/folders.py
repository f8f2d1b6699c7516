"""Folders in S3: all objects below a prefix, uploaded, downloaded or deleted together."""

from pathlib import Path

from components.shared.s3.client import Address, client, explained, fetch, list_objects, safe_join, upload
from model.utils.errors import UserError
from model.utils.files import folder_aside


def upload_folder(folder: Path, address: Address) -> None:
    """Uploads all files below a folder.

    Raises:
        UserError: S3 refuses or cannot be reached.
    """
    with explained(address):
        s3 = client()
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            upload(s3, path, address / str(path.relative_to(folder)))


def download_folder(address: Address, folder: Path, marker: str) -> None:
    """Downloads all objects below an address into a folder, which appears when it is complete.

    Args:
        address: prefix of the objects.
        folder: replaced.
        marker: name of a file that every such folder holds.

    Raises:
        UserError: the marker is missing; S3 refuses or cannot be reached.
    """
    with explained(address), folder_aside(folder, marker) as aside:
        s3 = client()
        for entry in list_objects(s3, address):
            path = safe_join(aside, entry["Key"].removeprefix(f"{address.prefix}/"))
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                fetch(s3, Address(address.bucket, entry["Key"]), file)
        if not (aside / marker).is_file():
            raise UserError(f"{address} holds no {marker}; something deleted it. Run the same command again.")


def delete_folder(address: Address) -> None:
    """Deletes all objects below an address.

    Raises:
        UserError: S3 refuses or cannot be reached.
    """
    with explained(address):
        s3 = client()
        for entry in list(list_objects(s3, address)):
            s3.delete_object(Bucket=address.bucket, Key=entry["Key"])
