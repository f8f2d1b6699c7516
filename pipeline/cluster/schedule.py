"""Recurring runs on a cluster: schedules.yaml says which there are, and this makes the cluster match.

Kubeflow cannot change a recurring run, only pause it: one that differs is made anew before the old one goes. Those that
are managed here have a mark in their description, a hash of all that was declared; others are left alone.
"""

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from kfp_server_api import V2beta1RecurringRun
from pydantic import AfterValidator, Field, model_validator

from components.shared.photos.remote import LATEST
from model.utils.settings import Section, check, read_yaml
from pipeline.cluster import cron
from pipeline.cluster.client import Client
from pipeline.cluster.submit import Package, Place, cluster_arguments
from pipeline.variants import Variants

_MARK = re.compile(r"colorize schedule (?P<digest>[0-9a-f]{64})")


def _zone(name: str) -> str:
    if name != "UTC":  # which needs no table of zones
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError):
            known = "write one such as Europe/Berlin; they come with the system's package tzdata"
            raise ValueError(f"there is no time zone {name!r} here; {known}") from None
    return name


Zone = Annotated[str, AfterValidator(_zone)]


class Schedule(Section):
    """An entry of schedules.yaml."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,50}[a-z0-9])?$")]
    cron: str
    time_zone: Zone
    data: Annotated[str, Field(pattern=rf"^({LATEST}|[0-9a-f]{{32}}\.dir)$")]
    recipe: str = ""
    overrides: Annotated[tuple[str, ...], Field(alias="set", strict=False)] = ()
    concurrency: Annotated[int, Field(ge=1, le=10)] = 1
    catch_up: bool = False
    enabled: bool = False


class Schedules(Section):
    """schedules.yaml.

    Attributes:
        cluster_time_zone: What the cluster's Kubeflow Pipelines reads every cron in.
        schedules: The recurring runs; each name once.
    """

    cluster_time_zone: Zone
    schedules: list[Schedule]

    @model_validator(mode="after")
    def _each_name_once(self) -> Self:
        names = [schedule.name for schedule in self.schedules]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"schedules: {name} is given twice")
        for schedule in self.schedules:
            try:
                cron.translate(schedule.cron, schedule.time_zone, self.cluster_time_zone)
            except ValueError as error:
                raise ValueError(f"{schedule.name}: cron: {error}") from None
        return self


@dataclass(frozen=True)
class Wanted:
    """A recurring run as it should be: what `create_recurring_run` takes, but for what the server names."""

    name: str
    enabled: bool
    options: dict[str, Any]
    digest: str


@dataclass(frozen=True)
class Change:
    """What has to be done for one name: create, replace, enable, pause or delete.

    Attributes:
        verb: As above.
        name: Of the schedule.
        wanted: To create.
        old: Ids of those that go, or of the one that is enabled or paused.
    """

    verb: Literal["create", "replace", "enable", "pause", "delete"]
    name: str
    wanted: Wanted | None
    old: tuple[str, ...]


def load(path: Path) -> Schedules:
    """Reads schedules.yaml.

    Raises:
        UserError: the file is missing or no YAML, a key is unknown, a value is out of range.
    """
    return check(Schedules, read_yaml(path), str(path), home="docs/operate/schedules.md")


def wanted(declared: Schedules, package: Package, place: Place) -> list[Wanted]:
    """What the cluster should have."""
    found = []
    for entry in declared.schedules:
        arguments = cluster_arguments(Variants.load("", entry.recipe, entry.overrides), place, entry.data)
        options = {
            "cron_expression": cron.translate(entry.cron, entry.time_zone, declared.cluster_time_zone),
            "max_concurrency": entry.concurrency,
            "no_catchup": not entry.catch_up,
            "params": arguments,
            "service_account": place.service_account,
        }
        found.append(Wanted(entry.name, entry.enabled, options, _digest(options, package, place)))
    return found


def _digest(options: dict[str, Any], package: Package, place: Place) -> str:
    """Of all that matters: a commit that changes neither graph nor code nor configuration does not."""
    tags = {name: value for name, value in options["params"]["tags"].items() if name != "git_commit"}
    listed = [options | {"params": options["params"] | {"tags": tags}}, package.digest, place.experiment]
    return hashlib.sha256(json.dumps(listed, sort_keys=True).encode()).hexdigest()


def changes(declared: Sequence[Wanted], there: Sequence[V2beta1RecurringRun]) -> list[Change]:
    """What makes the cluster match, in the order of schedules.yaml; deletions last."""
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
        if others:  # left behind when a replacement was interrupted
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
