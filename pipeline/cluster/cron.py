"""Cron as Kubeflow Pipelines reads it: six fields, seconds first, all schedules of a cluster in one time zone."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

_FIELDS = (
    ("second", 0, 59, ()),
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of month", 1, 31, ()),
    ("month", 1, 12, ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")),
    ("day of week", 0, 6, ("sun", "mon", "tue", "wed", "thu", "fri", "sat")),
)
_ANY = ("*", "?")


def parse(cron: str) -> list[list[int]]:
    """The values of each field, sorted.

    Raises:
        ValueError: says which field is wrong, and why.
    """
    fields = cron.split()
    if len(fields) != len(_FIELDS):
        # Kubeflow takes five, too: the seconds first, so that "0 3 * * *" would start a run every hour.
        raise ValueError(f"{cron!r} has {len(fields)} fields; write six: second minute hour day month weekday")
    return [_values(text, *limits) for text, limits in zip(fields, _FIELDS, strict=True)]


def translate(cron: str, zone: str, cluster_zone: str) -> str:
    """The cron that, read in the cluster's zone, means what this one means in its own.

    Raises:
        ValueError: a field is wrong; or there is no such cron, for the clocks of one zone change and those of the
            other do not, or because the day would change with the hour.
    """
    values = parse(cron)
    fields = cron.split()
    hours = 0 if zone == cluster_zone else _hours_ahead(zone, cluster_zone)
    if not hours or all(field in _ANY for field in fields[2:]):
        return cron
    days = {(hour - hours) // 24 for hour in values[2]}
    fields[2] = _joined((hour - hours) % 24 for hour in values[2])
    if days != {0}:
        if fields[3] not in _ANY or fields[4] not in _ANY or (fields[5] not in _ANY and len(days) > 1):
            raise ValueError(f"{cron!r} falls on another day in {cluster_zone}; write it in that zone")
        if fields[5] not in _ANY:
            fields[5] = _joined((day + days.copy().pop()) % 7 for day in values[5])
    return " ".join(fields)


def _hours_ahead(zone: str, cluster_zone: str) -> int:
    """How far the clocks of one are ahead of the other's, all year."""
    noon = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
    year = [noon + timedelta(days=day) for day in range(366)]
    ahead = {_offset(zone, day) - _offset(cluster_zone, day) for day in year}
    hours, rest = divmod(ahead.pop(), timedelta(hours=1))
    if ahead or rest:
        raise ValueError(
            f"{zone} is not always as many hours from {cluster_zone}, in which this cluster reads all schedules; write "
            f"the cron in that zone, or have CRON_SCHEDULE_TIMEZONE of ml-pipeline-scheduledworkflow set to {zone}"
        )
    return hours


def _offset(zone: str, moment: datetime) -> timedelta:
    offset = moment.astimezone(ZoneInfo(zone)).utcoffset()
    assert offset is not None
    return offset


def _joined(values: Iterable[int]) -> str:
    return ",".join(map(str, sorted(values)))


def _values(text: str, name: str, low: int, high: int, names: tuple[str, ...]) -> list[int]:
    def number(word: str) -> int:
        value = names.index(word.lower()) + low if word.lower() in names else int(word)
        if not low <= value <= high:
            raise ValueError
        return value

    found: set[int] = set()
    try:
        for part in text.split(","):
            span, _, step = part.partition("/")
            first, dash, last = span.partition("-")
            start = low if first in _ANY else number(first)
            end = number(last) if dash else high if first in _ANY or step else start
            if start > end or (step and int(step) < 1):
                raise ValueError
            found.update(range(start, end + 1, int(step or 1)))
    except ValueError:
        raise ValueError(f"{name} is {text!r}; write {low} to {high}, such as {low}, {low}-{high} or */2") from None
    return sorted(found)
