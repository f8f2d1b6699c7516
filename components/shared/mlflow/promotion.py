"""Promotion, rollback and rejection of versions, and the history of the alias `champion`.

MLflow moves one alias per call, has no transactions, and forgets where an alias was. A promotion therefore writes in
this order: the reason (tags of the version), `champion`, an entry of the history, `previous`. So the tags of a version
in service always hold the reason, and from them `repair` writes what a crash left out. MLflow has no compare-and-set
either: two promotions at the same moment both succeed, and the history has them in some order.
"""

import getpass
import json
import os
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from components.shared.machine.verbosity import note
from components.shared.mlflow import registry
from components.shared.mlflow.registry import Version
from model.utils.errors import UserError

PHOTOGRAPH = Path(__file__).with_name("photograph.jpg")
"""Photograph that a version must color before its promotion: a beach from endless-sky-data in data/, public domain."""

PROPOSED = "proposed"
"""Alias of the version that passed the gate and waits for a person."""

_HISTORY = "history/"
_MAX_REASON = 1000  # characters
_MAX_ERROR = 1.0  # CIELAB units of L; the rounding of three channels to 8 bits makes 0.3


@dataclass(frozen=True)
class Entry:
    """Holds one move of `champion`."""

    at: str
    """Time in ISO 8601, UTC."""
    action: str
    """Kind of move: promote, rollback, or found when other means moved it."""
    version: int
    origin: int | None
    """Version that was replaced."""
    by: str
    reason: str


def promote(
    number: int, reason: str, action: str = "promote", replaces: int | Literal["any"] | None = "any"
) -> Version:
    """Puts a version in service: `champion` moves to it, `previous` to the current champion.

    Promoting the champion changes nothing. Two promotions at the same moment leave one champion; the other raises.

    Args:
        number: of the version.
        reason: for the history; the first 1000 characters are kept.
        action: kind of move in the history.
        replaces: the only version that it may replace; None requires that there is no champion.

    Raises:
        UserError: there is no such version; its files are damaged or do not color a photograph; the champion is not
            `replaces`; or `champion`, read back, is another version.
    """
    repair()
    version, champion = registry.get(number), registry.champion()
    if champion and champion.number == number:
        return version
    check(version)
    now = registry.model()
    old = now.aliases.get("champion")
    if replaces not in ("any", old):
        raise UserError(
            f"The champion is version {old}, but version {number} was compared with {replaces}; evaluate again: start "
            f"the same `colorize run`, or `colorize submit --evaluate {number}` on a cluster."
        )
    entry = Entry(_after(_lines(now)), action, number, old, _user(), reason[:_MAX_REASON])
    registry.set_tags(number, _to_tags(entry))
    registry.set_alias("champion", number)
    _record(entry)
    repair()
    _withdraw(number)
    actual = registry.champion()
    if actual is None or actual.number != number:
        raise UserError(
            f"Version {number} was promoted, but champion is now {actual and actual.number}: somebody else moved it at "
            "the same moment; look at `colorize models history` and promote again."
        )
    return actual


def rollback(reason: str) -> Version:
    """Promotes the version that the champion replaced; a second rollback undoes the first.

    Raises:
        UserError: there is no such version; or as `promote`.
    """
    repair()
    there = registry.model().aliases
    if "previous" not in there or there["previous"] == there.get("champion"):
        raise UserError(
            "There is no version to roll back to; `colorize models` lists all, and `colorize promote V` puts any of "
            "them in service."
        )
    return promote(there["previous"], reason, "rollback")


def propose(number: int, reason: str) -> None:
    """Tags a version as proposed and gives it the alias, which a version proposed before loses."""
    registry.set_tags(number, {"proposed_at": _now(), "proposed_by": _user(), "proposal_reason": reason[:_MAX_REASON]})
    registry.set_alias(PROPOSED, number)


def reject(number: int, reason: str) -> None:
    """Tags a version as rejected; it is no longer proposed."""
    tags = {"rejected_at": _now(), "rejected_by": _user(), "rejection_reason": reason[:_MAX_REASON]}
    registry.set_tags(number, tags)
    _withdraw(number)


def check(version: Version) -> None:
    """Copies a version's files from the registry, checks them, and colors a photograph with them.

    Without PyTorch, which a machine that only talks to a cluster need not have, it says that it colors none.

    Raises:
        UserError: the files are missing or damaged, do not load, or the coloring changes the photograph's lightness.
    """
    folder = registry.refetch(version)
    if not find_spec("torch"):
        note(f"Version {version.number} was not tried on a photograph: PyTorch is not installed. Its files are whole.")
        return
    import torch

    from model.color import srgb_to_lab
    from model.data.images import decode
    from model.inference.colorizer import Colorizer

    photograph = decode(PHOTOGRAPH.read_bytes()).rgb
    try:
        colored = Colorizer.load(folder).colorize(photograph)[0]
    except (UserError, RuntimeError) as error:
        raise UserError(f"{version.uri} cannot be put in service: {error}") from error
    before, after = (srgb_to_lab(torch.tensor(rgb).permute(2, 0, 1))[0] for rgb in (photograph, colored))
    if before.shape != after.shape or not float((before - after).abs().max()) < _MAX_ERROR:
        raise UserError(f"{version.uri} cannot be put in service: it does not keep the lightness of a photograph.")


def history() -> list[Entry]:
    """Returns every move of `champion`, the oldest first; a move by other means has the time when `repair` saw it."""
    lines, latest = _lines(registry.model()), _from_tags(registry.champion())
    return lines if latest is None or latest in lines else [*lines, latest]


def repair() -> None:
    """Makes the last entry of the history the latest move of `champion`, and `previous` the version that it replaced.

    It is needed after a promotion that a crash cut short, two at the same moment, or a move by other means.
    """
    champion = registry.champion()
    while champion:
        now, latest = registry.model(), _from_tags(champion)
        lines = _lines(now)
        if latest and latest not in lines:
            _record(latest)
            lines = sorted([*lines, latest], key=lambda line: line.at)
        if latest is None or lines[-1] != latest:
            replaced = next((line.version for line in reversed(lines) if line.version != champion.number), None)
            latest = Entry(_after(lines), "found", champion.number, replaced, _user(), "moved by other means")
            registry.set_tags(champion.number, _to_tags(latest))
            _record(latest)
        before = latest.origin
        if before not in (None, now.aliases.get("previous")) and before in {v.number for v in registry.find_all({})}:
            registry.set_alias("previous", before)
        seen, champion = champion.number, registry.champion()
        if champion and champion.number == seen:  # else somebody promoted meanwhile: look again
            return


def _withdraw(number: int) -> None:
    """Takes the alias of a proposal from a version that is decided."""
    if registry.model().aliases.get(PROPOSED) == number:
        registry.set_alias(PROPOSED, None)


def _lines(model: registry.Model) -> list[Entry]:
    """Returns the written entries of the history, the oldest first."""
    entries = [Entry(**json.loads(text)) for name, text in model.tags.items() if name.startswith(_HISTORY)]
    return sorted(entries, key=lambda entry: entry.at)


def _after(lines: list[Entry]) -> str:
    """Returns the current time, or a later one that follows all entries, whose clocks may be ahead."""
    return max(_now(), *(_text(datetime.fromisoformat(line.at) + timedelta(milliseconds=1)) for line in lines[-1:]), "")


def _record(entry: Entry) -> None:
    registry.set_model_tag(_key(entry), json.dumps(asdict(entry)))


def _key(entry: Entry) -> str:
    """Returns the key of an entry among the tags of the registered model; always the same for the same entry."""
    return f"{_HISTORY}{entry.at.removesuffix('+00:00')}/{entry.version}"


def _to_tags(entry: Entry) -> dict[str, str]:
    return {
        "promoted_at": entry.at,
        "promoted_by": entry.by,
        "promoted_from": "none" if entry.origin is None else str(entry.origin),
        "promoted_through": entry.action,
        "promotion_reason": entry.reason,
    }


def _from_tags(version: Version | None) -> Entry | None:
    """Returns the move that put a version in service; None without tags: the alias was moved by other means."""
    if version is None or "promoted_at" not in version.tags:
        return None
    tags, origin = version.tags, version.tags.get("promoted_from", "none")
    return Entry(
        tags["promoted_at"],
        tags.get("promoted_through", "promote"),
        version.number,
        int(origin) if origin.isdigit() else None,
        tags.get("promoted_by", ""),
        tags.get("promotion_reason", ""),
    )


def _now() -> str:
    return _text(datetime.now(UTC))


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # the user of a container may have no name
        return f"uid {os.getuid()}"
