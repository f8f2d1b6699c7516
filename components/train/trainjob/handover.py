"""Folders that the step and the nodes of a TrainJob hand each other through S3: the dataset there, the model back.

They lie beside the checkpoints, which every node reaches anyway: where Kubeflow keeps its artifacts, and with which
keys, its launcher alone knows.
"""

from pathlib import Path

from components.shared.s3.client import Address, client, explained, fetch, list_objects, safe_join, upload
from model.utils.errors import UserError
from model.utils.files import folder_aside


def put(folder: Path, address: Address) -> None:
    """Uploads all files below a folder.

    Raises:
        UserError: S3 refuses or cannot be reached.
    """
    with explained(address):
        s3 = client()
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            upload(s3, path, address / str(path.relative_to(folder)))


def get(address: Address, folder: Path, marker: str) -> None:
    """Downloads all that lies below an address into a folder, which appears when it is whole.

    Args:
        marker: a file that every such folder holds.

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
            raise UserError(f"{address} holds no {marker}: it was deleted meanwhile; start again.")


def remove(address: Address) -> None:
    """Deletes all that lies below an address.

    Raises:
        UserError: S3 refuses or cannot be reached.
    """
    with explained(address):
        s3 = client()
        for entry in list(list_objects(s3, address)):
            s3.delete_object(Bucket=address.bucket, Key=entry["Key"])
