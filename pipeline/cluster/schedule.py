"""Recurring runs on a cluster: the file schedules.yaml and the changes that make the cluster match it.

Kubeflow can pause a recurring run but not change it, so a run that differs is replaced. The description of a run that
is managed here holds a hash of its declaration; runs without one are never touched.
"""

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError
from kfp_server_api import V2beta1RecurringRun
from pydantic import AfterValidator, Field, model_validator

from components.shared.photos.listing import LATEST
from model.utils.settings import Section, check, read_yaml
from pipeline.cluster.client import Client
from pipeline.cluster.submit import Package, Place, cluster_arguments
from pipeline.variants import Variants

_MARK = re.compile(r"colorize schedule (?P<digest>[0-9a-f]{64})")
_ZONE = re.compile(r"(CRON_)?TZ=\S*")
_DAY, _WEEKDAY = re.compile(r"[\d*?,/-]+"), re.compile(r"([0-6*?,/-]|sun|mon|tue|wed|thu|fri|sat)+", re.IGNORECASE)
"""Days of the month and of the week that Kubeflow accepts; cronsim also accepts L, # and a weekday 7."""


def _cron(text: str) -> str:
    if zone := _ZONE.match(text):
        raise ValueError(
            f"{text!r} begins with {zone[0]}; Kubeflow reads every cron in cluster_time_zone; leave it out"
        )
    if not text.isascii():  # cronsim takes such a letter for one that it resembles
        raise ValueError(f"{text!r} has a character that is not ASCII; write numbers, names such as mon, and * , - / ?")
    fields = text.split()
    if len(fields) != 6:
        # Kubeflow takes five, too, seconds first: "0 3 * * *" would start a run every hour.
        raise ValueError(f"{text!r} has {len(fields)} fields; write six: second minute hour day month weekday")
    try:
        next(CronSim(text.replace("?", "*"), datetime.now(UTC)))
    except CronSimError as error:
        if "day-of-month" in str(error) and _is_cron(*fields[:4], "*", fields[5]):  # no such day in these months
            raise ValueError(f"{text!r} never fires: no month {fields[4]} has a day {fields[3]}") from None
        raise ValueError(f"{text!r}: {str(error).lower()}") from None
    if not (_DAY.fullmatch(fields[3]) and _WEEKDAY.fullmatch(fields[5])):
        raise ValueError(f"{text!r}: bad day; write numbers (weekdays 0 to 6, or sun to sat), ranges or */2")
    return text


def _is_cron(*fields: str) -> bool:
    try:
        return bool(CronSim(" ".join(fields).replace("?", "*"), datetime.now(UTC)))
    except CronSimError:
        return False


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{name!r} is no time zone; write one such as UTC or Europe/Berlin") from None
    return name


class Schedule(Section):
    """Holds an entry of schedules.yaml."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,50}[a-z0-9])?$")]
    cron: Annotated[str, AfterValidator(_cron)]
    time_zone: str | None = None
    data: Annotated[str, Field(pattern=rf"^({LATEST}|[0-9a-f]{{32}}\.dir)$")]
    recipe: str = ""
    overrides: Annotated[tuple[str, ...], Field(alias="set", strict=False)] = ()
    concurrency: Annotated[int, Field(ge=1, le=10)] = 1
    catch_up: bool = False
    enabled: bool = False


class Schedules(Section):
    """Holds schedules.yaml.

    Attributes:
        cluster_time_zone: The time zone in which Kubeflow Pipelines on the cluster reads every cron.
        schedules: The recurring runs; each name once, each `time_zone` missing or that of the cluster.
    """

    cluster_time_zone: Annotated[str, AfterValidator(_zone)]
    schedules: list[Schedule]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names, zone = [schedule.name for schedule in self.schedules], self.cluster_time_zone
        for schedule in self.schedules:
            if names.count(schedule.name) > 1:
                raise ValueError(f"schedules: {schedule.name} is given twice")
            if schedule.time_zone not in (None, zone):
                raise ValueError(
                    f"{schedule.name}: time_zone is {schedule.time_zone}, but the cluster reads every cron in {zone}; "
                    f"write the cron in {zone}, or change CRON_SCHEDULE_TIMEZONE of ml-pipeline-scheduledworkflow and "
                    "cluster_time_zone"
                )
        return self


@dataclass(frozen=True)
class Wanted:
    """Holds a recurring run as declared: the options of `create_recurring_run` but for the server's ids."""

    name: str
    enabled: bool
    options: dict[str, Any]
    digest: str


@dataclass(frozen=True)
class Change:
    """Holds what has to be done for one schedule.

    Attributes:
        verb: create, replace, enable, pause or delete.
        name: Name of the schedule.
        wanted: The recurring run to create, if any.
        old: Ids of the recurring runs to delete, or of the one to enable or pause.
    """

    verb: Literal["create", "replace", "enable", "pause", "delete"]
    name: str
    wanted: Wanted | None
    old: tuple[str, ...]


def load(path: Path) -> Schedules:
    """Reads schedules.yaml.

    Raises:
        UserError: the file is missing or no YAML, a key is unknown, a value is out of range, or a time zone is not
            that of the cluster.
    """
    return check(Schedules, read_yaml(path), str(path), home="docs/operate/schedules.md")


def wanted(declared: Schedules, package: Package, place: Place) -> list[Wanted]:
    """Returns the recurring runs that the file declares."""
    found = []
    for entry in declared.schedules:
        arguments = cluster_arguments(Variants.load("", entry.recipe, entry.overrides), place, entry.data)
        options = {
            "cron_expression": entry.cron,
            "max_concurrency": entry.concurrency,
            "no_catchup": not entry.catch_up,
            "params": arguments,
            "service_account": place.service_account,
        }
        found.append(Wanted(entry.name, entry.enabled, options, _digest(options, package, place)))
    return found


def _digest(options: dict[str, Any], package: Package, place: Place) -> str:
    """Hashes a declaration without its git commit, which may change while graph, code and configuration do not."""
    tags = {name: value for name, value in options["params"]["tags"].items() if name != "git_commit"}
    listed = [options | {"params": options["params"] | {"tags": tags}}, package.digest, place.experiment]
    return hashlib.sha256(json.dumps(listed, sort_keys=True).encode()).hexdigest()


def changes(declared: Sequence[Wanted], there: Sequence[V2beta1RecurringRun]) -> list[Change]:
    """Returns the changes that make the cluster match, in the order of schedules.yaml, deletions last.

    Args:
        declared: what the cluster should have.
        there: all recurring runs of the namespace.
    """
    managed: defaultdict[str, list[V2beta1RecurringRun]] = defaultdict(list)
    for run in there:
        if _mark(run):
            managed[run.display_name].append(run)
    found: list[Change] = []
    for want in declared:
        runs = managed.pop(want.name, [])
        kept = next((run for run in runs if _mark(run) == want.digest), None)
        others = tuple(run.recurring_run_id for run in runs if run is not kept)
        if kept is None:
            found.append(Change("replace" if others else "create", want.name, want, others))
            continue
        if (kept.status == "ENABLED") != want.enabled:
            found.append(Change("enable" if want.enabled else "pause", want.name, None, (kept.recurring_run_id,)))
        if others:  # left over from an interrupted replacement
            found.append(Change("delete", want.name, None, others))
    for name, runs in managed.items():
        found.append(Change("delete", name, None, tuple(run.recurring_run_id for run in runs)))
    return found


def apply(client: Client, package: Package, place: Place, change: Change) -> None:
    """Carries out one change. A replacement creates the new run before it deletes the old one; repeat after a crash."""
    if change.wanted:
        pipeline_id, version_id = package.upload(client)
        client.create_recurring_run(
            experiment_id=client.experiment(place.experiment),
            job_name=change.name,
            description=f"Declared in schedules.yaml; made by colorize schedule {change.wanted.digest}",
            pipeline_id=pipeline_id,
            version_id=version_id,
            enabled=change.wanted.enabled,
            **change.wanted.options,
        )
    for old in change.old:
        if change.verb == "enable":
            client.enable_recurring_run(old)
        elif change.verb == "pause":
            client.disable_recurring_run(old)
        else:
            client.delete_recurring_run(old)


def _mark(run: V2beta1RecurringRun) -> str:
    found = _MARK.search(run.description or "")
    return found["digest"] if found else ""
