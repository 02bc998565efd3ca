"""The lab's alarm as the cluster has it: what it found at its last look, and what it could not send."""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .clients.objects import NOTHING
from .lab import Lab

NAME, STATE = "alerts", "alerts-state"
# The CronJob looks every five minutes; a run may take four.
QUIET = 20 * 60


@dataclass(frozen=True)
class Fault:
    """A fault that is open.

    Attributes:
        since: when it began, in seconds since 1970.
        told: whether the owner was told, or is about to be.
    """

    title: str
    text: str
    since: float
    told: bool


@dataclass(frozen=True)
class Alarm:
    """What the alarm wrote down at its last look.

    Attributes:
        looked: when that was, in seconds since 1970; 0 for never.
        not_sent: why its last message was not sent; empty if it was.
        unread: what it could not look at, and why.
    """

    looked: float
    faults: tuple[Fault, ...]
    not_sent: str
    unread: Mapping[str, str]


def read(lab: Lab) -> Alarm | None:
    """Return what the alarm wrote; None if Flux has not made it yet.

    Raises:
        Failure: the cluster cannot be asked.
    """
    held = lab.cluster.find("configmap", STATE, lab.settings.gitlab_namespace)
    return None if held is None else alarm_of((held.content.get("data") or {}).get("state.json", ""))


def alarm_of(text: str) -> Alarm:
    """Return what a state says; one that cannot be read says nothing."""
    try:
        state = json.loads(text) if text else {}
    except ValueError:
        state = {}
    faults = [
        Fault(str(one["title"]), str(one["text"]), float(one["since"]), bool(one["told"]))
        for one in (state.get("faults") or {}).values()
    ]
    ordered = tuple(sorted(faults, key=lambda fault: fault.since))
    return Alarm(float(state.get("looked") or 0), ordered, str(state.get("not_sent") or ""), state.get("unread") or {})


def status(lab: Lab) -> Iterator[tuple[str, str | None]]:
    """Yield the alarm's line of `./lab status`, and what is wrong, or None. A lab without one has no line."""
    if lab.settings.alerts == "none":
        return
    found = read(lab)
    yield line(found, time.time())


def line(found: Alarm | None, now: float) -> tuple[str, str | None]:
    """Return the alarm's line, and what is wrong, or None."""
    if found is None or not found.looked:
        return "alarm", "it has not looked yet"
    at = datetime.datetime.fromtimestamp(found.looked, datetime.timezone.utc)
    what = f"alarm, last look {at:%Y-%m-%d %H:%M} UTC"
    if now - found.looked > QUIET:
        return what, "it has not looked since: kubectl get jobs,pods -A -l app.kubernetes.io/name=alerts"
    wrong = [f"its message was not sent: {found.not_sent}"] if found.not_sent else []
    told = [one.title for one in found.faults if one.told]
    if told:
        more = f" and {len(told) - 3} more" if len(told) > 3 else ""
        wrong.append(f"{len(told)} open fault{'s' * (len(told) != 1)}: {'; '.join(told[:3])}{more} (./lab alerts)")
    return what, ". ".join(wrong) or None


def cronjob(lab: Lab) -> Mapping[str, Any] | None:
    """Return what the alarm's CronJob makes Jobs of; None if there is no CronJob."""
    found = lab.cluster.find("cronjob", NAME, lab.settings.gitlab_namespace) or NOTHING
    template = found.spec.get("jobTemplate")
    return template if isinstance(template, Mapping) else None
