"""`./lab alerts`: which faults are open; and a message by the alarm's own way, from the cluster to the owner."""

from __future__ import annotations

import argparse
import copy
import datetime
import json
import secrets
from collections.abc import Mapping
from typing import Any

from .. import alarm
from ..clients.objects import RUNNING, pod_reason
from ..errors import ExitCode, Failure, WrongCall
from ..lab import Lab
from ..patience import TimedOutError
from .base import Command
from .up import YES

NOTES = """\
Without an argument it lists the open faults, as the alarm saw them at its last look, and what it could not look at.

test     sends one message from the cluster, as the alarm would, and says what the server answered.

Exit status: 0 no fault is open, or the message was taken; 1 otherwise; 2 wrong call.
"""


class Alerts(Command):
    name = "alerts"
    purpose = "list the open faults; test: send one message, and say what the server answered"
    example = "./lab alerts test"
    notes = NOTES

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("action", metavar="test", nargs="?", help="send one message")
        parser.add_argument("--yes", "-y", action="store_true", help=YES)

    def run(self) -> int:
        if self.options.action not in (None, "test"):
            raise WrongCall(f'"{self.options.action}" is no argument; the only one is test')
        if self.settings.alerts == "none":
            then = "./lab update --data alerts=ntfy, or email, gotify, discord, slack, matrix"
            raise Failure("This lab has no alarm: alerts is none.", "docs/alerts.md", then)
        self.require({"kubectl"})
        with self.lab(alone=False) as lab:
            return self._test(lab) if self.options.action else self._list(lab)

    def _list(self, lab: Lab) -> int:
        found = alarm.read(lab)
        if found is None or not found.looked:
            raise Failure("The alarm has not looked yet.", *_not_there(lab))
        what, problem = alarm.line(found, datetime.datetime.now(datetime.timezone.utc).timestamp())
        for fault in found.faults:
            since = datetime.datetime.fromtimestamp(fault.since, datetime.timezone.utc)
            told = "" if fault.told else "; not told yet, as it may pass"
            self.console.warn(
                f"{fault.title}\n{fault.text or 'nothing more is known'}\nsince {since:%Y-%m-%d %H:%M} UTC{told}"
            )
        for source, why in found.unread.items():
            self.console.warn(f"not looked at: {source}: {why}")
        if found.not_sent:
            self.console.warn(f"Its message was not sent, and is tried again: {found.not_sent}")
        if problem is None:
            self.console.have(f"{what}: no fault is open")
        return ExitCode.DONE if problem is None else ExitCode.FAILED

    def _test(self, lab: Lab) -> int:
        """Run the CronJob's own pod with another word, and read what it wrote beside the state."""
        template = alarm.cronjob(lab)
        if template is None:
            raise Failure("The alarm is not in the cluster yet.", *_not_there(lab))
        number = secrets.token_hex(6)
        job = test_job(template, lab.settings.gitlab_namespace, number)
        name = job["metadata"]["name"]
        lab.cluster.apply(f"Job {lab.settings.gitlab_namespace}/{name}, which sends a message", job)
        outcome: dict[str, Any] = {}

        def probe() -> str | None:
            outcome.update(_outcome(lab, number))
            return None if outcome else self._waits_for(lab, name)

        try:
            lab.patience.wait(lab.limits.wait_flux_minutes, "the message", probe)
        except TimedOutError as late:
            look = f"kubectl describe job/{name} -n {lab.settings.gitlab_namespace}"
            raise Failure(f"The message was not sent: {late}", look, "./lab alerts test") from late
        if not outcome["well"]:
            then = f"fix it as docs/alerts.md says, then ./lab alerts test; another token or webhook: kubectl delete secret alerts -n {lab.settings.gitlab_namespace}, then ./lab up --only alerts"
            raise Failure(f"The server did not take the message: {outcome['words']}", "docs/alerts.md", then)
        self.console.did(f"the message was taken by {lab.settings.alerts}: {outcome['words']}")
        return ExitCode.DONE

    @staticmethod
    def _waits_for(lab: Lab, name: str) -> str:
        """Return what the test's pod waits for.

        Raises:
            Failure: it ended without a word.
        """
        namespace = lab.settings.gitlab_namespace
        job = lab.cluster.find("job", name, namespace)
        if job is not None and job.condition("Failed").is_true:
            said = (lab.cluster.logs(f"job/{name}", namespace, 5) or "").strip()
            look = f"kubectl logs job/{name} -n {namespace}"
            raise Failure(f"The test ended without a result: {said or job.condition('Failed').message}", look)
        reason = pod_reason(lab.cluster.list_of("pods", namespace, f"batch.kubernetes.io/job-name={name}"))
        return "the pod runs" if reason == RUNNING else reason


def test_job(template: Mapping[str, Any], namespace: str, number: str) -> dict[str, Any]:
    """Return a Job like those of the alarm's CronJob, that sends a test."""
    spec = copy.deepcopy(dict(template["spec"]))
    spec["ttlSecondsAfterFinished"] = 600
    spec["template"]["spec"]["containers"][0]["args"] = ["test", number]
    metadata = {"name": f"alerts-test-{number}", "namespace": namespace}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


def _outcome(lab: Lab, number: str) -> dict[str, Any]:
    """Return what a test wrote, or nothing if it has not yet."""
    held = lab.cluster.find("configmap", alarm.STATE, lab.settings.gitlab_namespace)
    try:
        found = json.loads(((held.content.get("data") or {}) if held else {}).get("test.json", ""))
    except ValueError:
        return {}
    return found if isinstance(found, dict) and found.get("number") == number else {}


def _not_there(lab: Lab) -> tuple[str, str]:
    look = (
        f"kubectl get kustomization alerts -n flux-system; kubectl get cronjob,jobs -n {lab.settings.gitlab_namespace}"
    )
    return look, "commit and push this lab, and wait until Flux has applied it; it looks every five minutes"
