"""What is in service and how that changes: promotion, rollback, rejection, and the history of the alias `champion`.

MLflow moves one alias a call, has no transactions, and does not remember where an alias was. A promotion therefore
writes, in this order: why (tags of the version), `champion`, a line of history, `previous`. Whatever is in service is
explained, and `mend` writes what a crash left out, from the tags of the version in service. MLflow has no
compare-and-set either: two promotions at the same moment both go through, and the history has them in some order.
"""

import getpass
import json
import os
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from components.shared.mlflow import registry
from components.shared.mlflow.registry import Version
from model.utils.errors import UserError

PHOTOGRAPH = Path(__file__).with_name("photograph.jpg")
"""What a version must be able to color: a beach from endless-sky-data in data/, public domain."""

_HISTORY = "history/"
_MAX_REASON = 1000  # characters
_MAX_ERROR = 1.0  # CIELAB units of L; the rounding of three channels to 8 bits makes 0.3


@dataclass(frozen=True)
class Entry:
    """A line of the history of `champion`."""

    at: str
    """ISO 8601, UTC."""
    action: str
    """promote, rollback, or found: where it was moved by other means."""
    version: int
    origin: int | None
    """The version that it replaced."""
    by: str
    reason: str


def promote(
    number: int, reason: str, action: str = "promote", replaces: int | Literal["any"] | None = "any"
) -> Version:
    """Puts a version in service: `champion` moves to it, `previous` to the champion of now.

    Promoting the champion changes nothing. Two promotions at the same moment leave one champion; the other is told.

    Args:
        reason: for whoever asks later; the first 1000 characters are kept.
        action: what the history calls it.
        replaces: the only version that it may replace, None for none at all.

    Raises:
        UserError: there is no such version; its files are damaged or do not color a photograph; the champion is another
            than `replaces`; or `champion`, read back, is another version.
    """
    mend()
    version, champion = registry.get(number), registry.champion()
    if champion and champion.number == number:
        return version
    check(version)
    now = registry.model()
    old = now.aliases.get("champion")
    if replaces not in ("any", old):
        raise UserError(
            f"The champion is version {old}, but version {number} was compared with {replaces}: start the run again, "
            "so that it is compared with the champion of now."
        )
    entry = Entry(_after(_lines(now)), action, number, old, _user(), reason[:_MAX_REASON])
    registry.set_tags(number, _to_tags(entry))
    registry.set_alias("champion", number)
    _record(entry)
    mend()
    actual = registry.champion()
    if actual is None or actual.number != number:
        raise UserError(
            f"Version {number} was promoted, but champion is now {actual and actual.number}: somebody else moved it at "
            "the same moment; look at `colorize models history` and promote again."
        )
    return actual


def rollback(reason: str) -> Version:
    """Puts the version back in service that the champion replaced; a second rollback undoes the first.

    Raises:
        UserError: there is none; or as `promote`.
    """
    mend()
    there = registry.model().aliases
    if "previous" not in there or there["previous"] == there.get("champion"):
        raise UserError(
            "There is no version to roll back to; `colorize models` lists all, and `colorize promote V` puts any of "
            "them in service."
        )
    return promote(there["previous"], reason, "rollback")


def reject(number: int, reason: str) -> None:
    """Marks a version as weighed and found wanting. No alias moves."""
    registry.set_tags(number, {"rejected_at": _now(), "rejected_by": _user(), "rejection_reason": reason})


def check(version: Version) -> None:
    """Brings a version's files from the registry, checks them, and has them color a photograph.

    Raises:
        UserError: they are missing or damaged, do not load, or what comes out is not that photograph with color.
    """
    folder = registry.bring(version)
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
    """Every move of `champion`, the oldest first; a move by other means from the time when `mend` saw it."""
    lines, latest = _lines(registry.model()), _from_tags(registry.champion())
    return lines if latest is None or latest in lines else [*lines, latest]


def mend() -> None:
    """Sees to it that the last line of the history is how `champion` came to be where it is, and `previous` what it
    replaced: after a promotion that a crash cut short, two at the same moment, or a move by other means.
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
        if champion and champion.number == seen:  # else somebody promoted meanwhile, and all this is of before
            return


def _lines(model: registry.Model) -> list[Entry]:
    """What is written of the history, the oldest first."""
    entries = [Entry(**json.loads(text)) for name, text in model.tags.items() if name.startswith(_HISTORY)]
    return sorted(entries, key=lambda entry: entry.at)


def _after(lines: list[Entry]) -> str:
    """Now, and later than all lines whatever the clocks of those who wrote them."""
    return max(_now(), *(_text(datetime.fromisoformat(line.at) + timedelta(milliseconds=1)) for line in lines[-1:]), "")


def _record(entry: Entry) -> None:
    registry.set_model_tag(_key(entry), json.dumps(asdict(entry)))


def _key(entry: Entry) -> str:
    """Of its line among the tags of the registered model; the same however often it is written."""
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
    """How the version in service came there; None when nobody says, because the alias was moved by other means."""
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
    except (KeyError, OSError):  # a container's user without a name
        return f"uid {os.getuid()}"
