"""A stand-in for kubectl: keeps Secrets in a folder, and says yes to all that only a cluster could do.

What the real program does without a cluster, it does itself: `patch --local`, and `--dry-run=client`.
"""

import base64
import json
import os
import re
import sys
from pathlib import Path

import yaml

STATE, REAL = (Path(os.environ[name]) for name in ("FAKE_KUBECTL_STATE", "FAKE_KUBECTL_REAL"))


def main(words: list[str]) -> int | str:
    """Does what a command line asks for; returns an exit status or an error."""
    namespace = words.pop(words.index("-n") + 1) if "-n" in words else "default"
    words = [word for word in words if word != "-n"]
    with (STATE / "log").open("a") as log:
        log.write(f"{namespace}: {' '.join(words)}\n")
    match words:
        case ["patch", "--local", *_]:
            os.execv(REAL, ["kubectl", *words])
        case ["create", "secret", "generic", name, *options]:
            literals = dict(word.removeprefix("--from-literal=").split("=", 1) for word in options if "=" in word)
            made = secret(namespace, name, {key: value for key, value in literals.items() if not key.startswith("--")})
            if "--dry-run=client" in options:
                print(yaml.safe_dump(made))
            elif file(namespace, name).exists():
                return f'error: secrets "{name}" already exists'
            else:
                keep(made)
        case ["get", "secret", name, "-o", shape]:
            if not file(namespace, name).exists():
                return f'error: secrets "{name}" not found'
            held = json.loads(file(namespace, name).read_text())
            key = re.fullmatch(r"jsonpath=\{\.data\.(\w+)\}", shape)
            print(held["data"].get(key[1], "") if key else json.dumps(held), end="")
        case ["apply", *options] if "-" in options:
            keep(yaml.safe_load(sys.stdin))
    return 0


def secret(namespace: str, name: str, literals: dict[str, str]) -> dict:
    data = {key: base64.b64encode(value.encode()).decode() for key, value in literals.items()}
    metadata = {"name": name, "namespace": namespace, "uid": "1", "resourceVersion": "1"}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}


def file(namespace: str, name: str) -> Path:
    return STATE / f"{namespace}.{name}.json"


def keep(made: dict) -> None:
    metadata = {"uid": "1", "resourceVersion": "1"} | made["metadata"]
    file(metadata["namespace"], metadata["name"]).write_text(json.dumps(made | {"metadata": metadata}))


sys.exit(main(sys.argv[1:]))
