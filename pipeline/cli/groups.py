"""The groups of packages that commands need, and the sentence for a command whose group is not installed."""

from collections.abc import Sequence

_GROUPS = {
    "serve": ("photo", "web"),
    "cluster": (
        "models",
        "promote",
        "rollback",
        "submit",
        "follow",
        "cancel",
        "retry",
        "schedule",
        "images",
        "compile",
    ),
}


def is_ours(module: str) -> bool:
    """Tells whether a module belongs to this program: if it cannot be imported, that is a bug."""
    return module.partition(".")[0] in ("model", "components", "pipeline", "serving")


def missing_group(arguments: Sequence[str], package: str) -> str:
    """Returns the sentence for a command that cannot import a package.

    Args:
        arguments: of the program, such as ["photo", "old.jpg"].
        package: that is missing.
    """
    command = next((argument for argument in arguments if not argument.startswith("-")), "")
    group = next((group for group, commands in _GROUPS.items() if command in commands), "run")
    return (
        f"`colorize {command}` needs the Python package {package}, which is not installed here; install the group "
        f"{group} (docs/install.md)."
    )
