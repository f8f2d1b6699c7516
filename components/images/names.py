"""The container images that the steps run in, as k8s/images/kustomization.yaml has them: read to compile the graph.

No step imports this where it runs. kfp's SubprocessRunner wants "python" in the name.
"""

from pathlib import Path

import yaml

from components.shared.machine.root import ROOT
from model.utils.errors import UserError

FILE = ROOT / "k8s" / "images" / "kustomization.yaml"


def image(name: str, file: Path = FILE) -> str:
    """Returns an image's full name, with the tag, the digest, or both, as kustomize sets them.

    Raises:
        UserError: the file does not say.
    """
    try:
        entries = {entry["name"]: entry for entry in yaml.safe_load(file.read_text(encoding="utf-8"))["images"]}
        entry = entries[name]
        tag = f":{entry['newTag']}" if "newTag" in entry else ""
        digest = f"@{entry['digest']}" if "digest" in entry else ""
        if tag or digest:
            return f"{entry.get('newName', name)}{tag}{digest}"
    except (OSError, yaml.YAMLError, LookupError, TypeError):
        pass
    raise UserError(f"{file}: no image {name} with a newTag or a digest; `make images` writes them.")


CPU_IMAGE = image("colorize-python-cpu")
GPU_IMAGE = image("colorize-python-gpu")
