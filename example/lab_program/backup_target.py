"""The place that backups are sent to: what lies there, seen by a pod in the cluster, which alone can reach it."""

from __future__ import annotations

import contextlib
import copy
import datetime
import json
import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .clients.objects import NOTHING, RUNNING, pod_reason
from .errors import Failure
from .lab import Lab
from .patience import TimedOutError
from .pipeline import Poured, pour

CRON_JOB, DRILL, STATE = "gitlab-backup", "gitlab-backup-drill", "backups-state"
DRILL_KEY, MANAGER = "drill.json", "lab-drill"
DATA, CONFIG = "data.tar.age", "config.tar.age"
COMPLETE = "complete"
# What the pod of an earlier version of the lab prints, until Flux has brought this one.
EARLIER = {"whole": COMPLETE, "half": "incomplete"}
# The pod that looks ends by itself, even if this program was killed.
POD_SECONDS = 6 * 3600
# Two nights that were missed are told; so is a check that was.
LATE, UNCHECKED = 3 * 86400, 15 * 86400


@dataclass(frozen=True)
class Part:
    """One encrypted file of a set, as its manifest says."""

    name: str
    of: str
    size: int
    sha256: str
    plain_size: int


@dataclass(frozen=True)
class Stored:
    """A set at the target.

    Attributes:
        state: complete, incomplete, broken or foreign.
        made: when GitLab began the backup, in seconds since 1970.
        why: what is wrong with it; empty for a complete one.
        version: GitLab's; empty if no manifest says it.
        recipients: the public keys that it is encrypted for.
    """

    name: str
    state: str
    made: int
    size: int
    why: str
    version: str
    recipients: tuple[str, ...]
    parts: tuple[Part, ...]
    registry: bool


def stored(content: Mapping[str, Any]) -> Stored:
    """Return a set of the list that the pod prints."""
    manifest = content.get("manifest") or {}
    parts = tuple(
        Part(one["name"], one["of"], one["size"], one["sha256"], one["plain_size"])
        for one in manifest.get("parts") or []
    )
    return Stored(
        content["name"],
        EARLIER.get(content["state"], content["state"]),
        content["made"],
        content["size"],
        content["why"],
        manifest.get("version", ""),
        tuple(manifest.get("recipients") or ()),
        parts,
        bool(manifest.get("registry")),
    )


class Target:
    """The target, as a pod of the cluster sees it while this is open; see opened."""

    def __init__(self, lab: Lab, pod: str) -> None:
        self.lab, self.pod, self.namespace = lab, pod, lab.settings.gitlab_namespace
        self._exec = ["kubectl", "exec", "--namespace", self.namespace, pod, "--container", "drill", "--"]
        self._program = [*self._exec, "python3", "-B", "-m", "lab_backups"]

    def sets(self) -> list[Stored]:
        """Return all sets, the newest first.

        Raises:
            Failure: the target cannot be read.
        """
        return [stored(one) for one in json.loads(self._run("list"))]

    def check(self, name: str) -> None:
        """Read a complete set there, and compare it with its manifest.

        Raises:
            Failure: it is not complete.
        """
        self._run("check", name)

    def pour(self, name: str, part: Part, *steps: list[str]) -> None:
        """Let an encrypted part pass through programs, the first of which decrypts it.

        Raises:
            Failure: it did not arrive as its manifest says, or a program failed.
        """
        done: Poured = pour(self.lab.programs, [*self._program, "cat", name, part.name], *steps)
        if done.problem:
            raise Failure(f"{name}: {part.name} could not be read: {done.problem}", f"./lab backup check {name}")
        if (done.size, done.sha256) != (part.size, part.sha256):
            what = f"{name} did not arrive complete: {part.name} has another checksum here than its manifest says"
            raise Failure(f"{what}.", f"./lab backup check {name}", "call it again, if the check finds it complete")

    def _run(self, *words: str) -> str:
        done = self.lab.programs.run([*self._program, *words])
        if done.status:
            lines = [line for line in done.err.splitlines() if not line.startswith(("Defaulted", "command terminated"))]
            said = lines[-1] if lines else done.words
            raise Failure(f"{said[:1].upper()}{said[1:]}.".replace("..", "."), "./lab backup list", "docs/backups.md")
        return done.out


def find(sets: list[Stored], name: str, place: str) -> Stored:
    """Return the complete set of a name, or the newest one if none is named.

    Raises:
        Failure: there is none, or it is incomplete, broken or foreign.
    """
    if not name:
        newest = next((one for one in sets if one.state == COMPLETE), None)
        if newest is None:
            raise Failure(f"There is no complete backup at {place}.", "./lab backup list", "./lab backup makes one")
        return newest
    found = next((one for one in sets if one.name == name), None)
    if found is None:
        raise Failure(f"There is no backup {name} at {place}.", "./lab backup list")
    if found.state != COMPLETE:
        raise Failure(f"The backup {name} is {found.state}: {found.why}.", "./lab backup list", "choose a complete one")
    return found


@contextlib.contextmanager
def opened(lab: Lab) -> Iterator[Target]:
    """Run a pod that reaches the target, and remove it at the end.

    Raises:
        Failure: the lab sends no backups, or the pod does not start.
    """
    settings = lab.settings
    if not settings.backup_place:
        then = "./lab update --data backup_target=s3, or folder: docs/backups.md"
        raise Failure("This lab sends its backups nowhere: backup_target is none.", "docs/backups.md", then)
    namespace, name = settings.gitlab_namespace, f"backups-reader-{secrets.token_hex(4)}"
    found = lab.cluster.find("cronjob", DRILL, namespace) or NOTHING
    template = (found.spec.get("jobTemplate") or {}).get("spec", {}).get("template")
    if not isinstance(template, Mapping):
        look = f"kubectl get kustomization backups -n flux-system; kubectl get cronjob -n {namespace}"
        raise Failure(
            "What looks at the target is not in the cluster yet.", look, "commit and push this lab; Flux brings it"
        )
    try:
        with _without_asking(lab):
            lab.cluster.apply(f"Pod {namespace}/{name}, which reads the target", reader(template, name, namespace))
        _wait(lab, name)
        yield Target(lab, name)
    finally:
        with contextlib.suppress(Failure), _without_asking(lab):
            lab.cluster.delete("pod", name, namespace, f"remove the pod {name}", wait=False)


@contextlib.contextmanager
def _without_asking(lab: Lab) -> Iterator[None]:
    """Look at the target, and note what was seen, without asking: that changes nothing else in the cluster."""
    given, lab.consent.given = lab.consent.given, True
    try:
        yield
    finally:
        lab.consent.given = given


def reader(template: Mapping[str, Any], name: str, namespace: str) -> dict[str, Any]:
    """Return a pod like those of the drill's CronJob that waits for commands, and ends by itself."""
    spec = copy.deepcopy(dict(template["spec"]))
    spec |= {"activeDeadlineSeconds": POD_SECONDS, "terminationGracePeriodSeconds": 1}
    spec["containers"][0]["command"] = ["sleep", str(POD_SECONDS)]
    spec["containers"][0].pop("args", None)
    metadata = {"name": name, "namespace": namespace, "labels": {"app.kubernetes.io/name": "backups-reader"}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _wait(lab: Lab, name: str) -> None:
    namespace = lab.settings.gitlab_namespace

    def probe() -> str | None:
        pod = lab.cluster.find("pod", name, namespace)
        if pod is None:
            raise Failure(f"The pod {namespace}/{name} is gone; somebody has deleted it.")
        if pod.condition("Ready").is_true:
            return None
        reason = pod_reason([pod])
        return "it starts" if reason == RUNNING else reason

    try:
        lab.patience.wait(lab.limits.wait_flux_minutes, "a pod that reaches the target", probe)
    except TimedOutError as late:
        look = f"kubectl describe pod {name} -n {namespace}"
        raise Failure(f"The pod that reads the target does not start: {late}", look, "docs/backups.md") from late


# What is known without asking the target


@dataclass(frozen=True)
class Known:
    """What the CronJobs and `./lab backup drill` wrote.

    Attributes:
        looked: when the target was looked at last, in seconds since 1970; 0 for never.
        complete, made: the newest set that was complete then, and when GitLab began it; empty and 0 if there was none.
        checked, checked_at, problem: the set whose checksums were compared last, when, and what was wrong.
        opened, opened_at: the set that was decrypted last, and when.
    """

    looked: float
    complete: str
    made: float
    checked: str
    checked_at: float
    problem: str
    opened: str
    opened_at: float


def known(data: Mapping[str, str]) -> Known:
    """Return what the ConfigMap says; one that cannot be read says nothing."""
    state, drilled = _json(data.get("state.json", "")), _json(data.get(DRILL_KEY, ""))
    # Labs have written it under this name from the beginning.
    complete, checked = state.get("whole") or {}, state.get("checked") or {}
    return Known(
        float(state.get("looked") or 0),
        str(complete.get("name") or ""),
        float(complete.get("made") or 0),
        str(checked.get("name") or ""),
        float(checked.get("at") or 0),
        str(checked.get("problem") or ""),
        str(drilled.get("name") or ""),
        float(drilled.get("at") or 0),
    )


def read_known(lab: Lab) -> Known | None:
    """Return what the cluster knows of the target; None if Flux has not made it yet."""
    held = lab.cluster.find("configmap", STATE, lab.settings.gitlab_namespace)
    return None if held is None else known(held.content.get("data") or {})


def remember_drill(lab: Lab, name: str) -> None:
    """Write down that a set was decrypted and is complete."""
    text = json.dumps({"name": name, "at": int(time.time())})
    metadata = {"name": STATE, "namespace": lab.settings.gitlab_namespace}
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {DRILL_KEY: text}}
    with _without_asking(lab):
        lab.cluster.apply_text("what the drill found", json.dumps(manifest), MANAGER)


def status(lab: Lab) -> Iterator[tuple[str, str | None]]:
    """Yield the line of `./lab status`, and what is wrong, or None. A lab that sends no backups has none."""
    if lab.settings.backup_place:
        yield line(read_known(lab), lab.settings.backup_place, time.time())


def line(found: Known | None, place: str, now: float) -> tuple[str, str | None]:
    """Return the last backup that is known to be complete, and what is wrong, or None."""
    if found is None or not found.looked:
        return f"backups at {place}", "none was sent yet: ./lab backup"
    if not found.complete:
        return f"backups at {place}", "no complete one was there at the last look: ./lab backup list"
    how = []
    if found.checked == found.complete and not found.problem:
        how.append(f"checksums compared {day(found.checked_at)}")
    if found.opened:
        which = "" if found.opened == found.complete else f"{found.opened} "
        how.append(f"{which}decrypted {day(found.opened_at)}")
    detail = f" ({', '.join(how)})" if how else ""
    what = f"the last backup that is known to be complete: {found.complete} of {day(found.made)} at {place}{detail}"
    if found.problem:
        return what, f"its check failed {day(found.checked_at)}: {found.problem}"
    if now - found.made > LATE:
        return what, f"none came for {int((now - found.made) // 86400)} days: kubectl get jobs -A | grep {CRON_JOB}"
    if found.checked_at and now - found.checked_at > UNCHECKED:
        return what, f"none was checked since {day(found.checked_at)}: kubectl get jobs -A | grep {DRILL}"
    return what, None


def day(seconds: float) -> str:
    """Return a time, to the minute."""
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")


def _json(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text) if text else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
