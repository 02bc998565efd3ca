"""The alarm in a lab on a real cluster: the CronJob's own command, with its account's token, against the API server and Flux.

Each fault is made, told once, and told once more when it is over.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.alerts.support.services import TOKEN, Services
from tests.cluster.api import condition
from tests.cluster.conftest import Worlds
from tests.cluster.kubelet import Kubelet
from tests.cluster.node_agent import FAIL, NEVER_READY
from tests.cluster.world import World
from tests.gitlab.support.authority import Authority
from tests.gitlab.support.mail_server import MailServer
from tests.support.http_server import Handler, HttpServer
from tests.support.loopback import free_port

pytestmark = [
    pytest.mark.xdist_group("alerts"),
    pytest.mark.world,
    pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS"),
]
PORT, CHECK = free_port(), free_port()
ACCOUNT = "system:serviceaccount:gitlab:alerts"
FLUX = "flux-system"


class VersionCheck:
    """GitLab's version check, as far as its answer is published; it counts who asks."""

    def __init__(self) -> None:
        self.severity, self.asked = "success", 0

    def __enter__(self) -> VersionCheck:
        check = self

        class Check(Handler):
            def do_GET(self) -> None:
                check.asked += 1
                self.reply_json(200, {"severity": check.severity, "latest_stable_versions": ["19.9.9"]})

        self.server = HttpServer(Check, CHECK)
        return self

    def __exit__(self, *_: object) -> None:
        self.server.stop()


class Alarm:
    """The alarm of a lab, with what it asks beside the cluster."""

    def __init__(self, world: World, kubelet: Kubelet, check: VersionCheck, services: Services) -> None:
        self.world, self.kubelet, self.check, self.services = world, kubelet, check, services
        self.runs = 0

    def run(self, status: str = "Complete") -> list[str]:
        """Let the CronJob's Job run once, and return the messages that it sent."""
        held = self.world.api.get("cronjobs", "alerts", "gitlab") or {}
        assert held["spec"].get("suspend"), "the CronJob would run beside, and remove this Job when it ends"
        self.runs += 1
        name, before = f"alerts-{self.runs}", len(self.services.got)
        self.world.plane.kubectl("create", "job", name, "--from=cronjob/alerts", "-n", "gitlab")
        ended = self.world.wait(f"the Job {name}", lambda: self.ended(name))
        assert ended == status, self.log(name)
        return [text for _, text in self.services.got[before:]]

    def ended(self, name: str) -> str:
        job = self.world.api.get("jobs", name, "gitlab")
        return next((kind for kind in ("Complete", "Failed") if condition(job, kind)[0] == "True"), "")

    def log(self, name: str) -> str:
        pods = self.world.api.list("pods", "gitlab", labelSelector=f"batch.kubernetes.io/job-name={name}")
        return json.dumps([pod.get("status", {}).get("containerStatuses") for pod in pods]) + json.dumps(self.state())

    def state(self) -> dict[str, Any]:
        held = self.world.api.get("configmaps", "alerts-state", "gitlab") or {}
        return dict(json.loads((held.get("data") or {}).get("state.json", "{}")))

    def change(self, **more: Any) -> None:
        """Change the state as time would: what was sent, or asked, is long ago."""
        text = json.dumps(self.state() | more)
        self.world.api.patch("configmaps", "alerts-state", "gitlab", {"data": {"state.json": text}})

    def an_hour_passes(self) -> None:
        self.change(sent=[], gathering=False)

    def tells(
        self, title: str, make: Callable[[], Any], fix: Callable[[], Any], *, settled: Callable[[], Any] = lambda: True
    ) -> str:
        """Make a fault, see it told once and its end once, and return what was told."""
        self.an_hour_passes()
        make()
        self.world.wait(f"{title} to be there", settled)
        told = self.run()
        assert len(told) == 1 and title in told[0] and "FAULT" in told[0], (told, self.state())
        assert self.run() == [], "it was told already"
        self.an_hour_passes()
        fix()
        over = self.run()
        assert len(over) == 1 and title in over[0] and "OVER" in over[0], (over, self.state())
        assert title not in json.dumps(self.state()["faults"])
        return told[0]


@pytest.fixture(scope="module")
def alarm(worlds: Worlds) -> Iterator[Alarm]:
    """Return a lab whose alarm goes to Gotify, built; its limits of time are 0, so that a test need not wait."""
    world = worlds.get("defaults", alerts="gotify", alerts_url=f"http://127.0.0.1:{PORT}")
    secret = world.home / "alerts"
    secret.write_text(f"token={TOKEN}\n", encoding="utf-8")
    secret.chmod(0o600)
    services = Services()
    services.port = PORT
    with VersionCheck() as check, services:
        world.bootstrap(LAB_ALERTS_FILE=str(secret))
        world.is_built = True
        file = world.lab / "apps" / "alerts" / "settings.json"
        settings = json.loads(file.read_text(encoding="utf-8"))
        settings["limits"] |= {"gitlab_minutes": 0, "flux_minutes": 0}
        settings["version_check"] = f"http://127.0.0.1:{CHECK}/check.json"
        file.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
        suspend(world)
        commit = world.push("The alarm waits for nothing, and looks only when a test asks for it")
        world.wait(
            "the alarm",
            lambda: (
                commit
                in str(
                    (world.api.get("kustomizations", "alerts", FLUX) or {}).get("status", {}).get("lastAppliedRevision")
                )
            ),
        )
        for one in world.api.list("jobs", "gitlab"):
            if one["metadata"]["name"].startswith("alerts-"):
                world.plane.kubectl("delete", "job", one["metadata"]["name"], "-n", "gitlab")
        node = world.api.list("nodes")[0]["metadata"]["name"]
        for certificate in json.loads(world.plane.kubectl("get", "certificates", "-A", "-o", "json"))["items"]:
            certified(world, certificate["metadata"], 60)
        with Kubelet(world.api, world.plane.pki, node) as kubelet:
            made = Alarm(world, kubelet, check, services)
            first = made.run()
            # What a new lab lacks is no concern of these tests.
            made.change(pending=[], outgoing=None)
            assert not made.state()["unread"], (first, made.state())
            yield made


def suspend(world: World) -> None:
    """Let the lab's CronJob start nothing: in the lab's files, for Flux would take a change of the object back."""
    file = world.lab / "apps" / "alerts" / "cronjob.yaml"
    text = file.read_text(encoding="utf-8")
    assert text.count("\nspec:\n") == 1, text
    file.write_text(text.replace("\nspec:\n", "\nspec:\n  suspend: true\n"), encoding="utf-8")


def certified(world: World, meta: dict[str, Any], days: float) -> None:
    """Let a certificate end in some days, as cert-manager would say it: none of its controllers runs here."""

    def iso(later: float) -> str:
        at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=later)
        return at.strftime("%Y-%m-%dT%H:%M:%SZ")

    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "Ready",
        "message": "up to date",
        "lastTransitionTime": iso(-1),
    }
    patch = json.dumps({"status": {"conditions": [ready], "notBefore": iso(days - 90), "notAfter": iso(days)}})
    world.plane.kubectl(
        "patch",
        "certificate",
        meta["name"],
        "-n",
        meta["namespace"],
        "--subresource=status",
        "--type=merge",
        "--patch",
        patch,
    )


def test_the_account_may_look_at_what_it_judges_and_do_nothing_else(alarm: Alarm) -> None:
    kubectl = alarm.world.plane.kubectl

    def may(*words: str) -> bool:
        return kubectl("auth", "can-i", *words, f"--as={ACCOUNT}", check=False).strip() == "yes"

    allowed = [
        ("get", "configmap/alerts-state", "-n", "gitlab"),
        ("patch", "configmap/alerts-state", "-n", "gitlab"),
        ("get", "deployment/gitlab", "-n", "gitlab"),
        ("get", "cronjob/gitlab-backup", "-n", "gitlab"),
        ("list", "jobs", "-n", "gitlab"),
        ("list", "nodes"),
        ("get", "nodes", "--subresource=stats"),
        ("list", "kustomizations", "-A"),
        ("list", "helmreleases", "-A"),
        ("list", "gitrepositories", "-A"),
        ("list", "imageupdateautomations", "-A"),
        ("list", "certificates", "-A"),
    ]
    assert [words for words in allowed if not may(*words)] == []
    refused = [
        ("get", "secrets", "-n", "gitlab"),
        ("list", "secrets", "-n", "gitlab"),
        ("get", "secret/alerts", "-n", "gitlab"),
        ("create", "pods", "-n", "gitlab"),
        ("create", "pods", "-n", "gitlab", "--subresource=exec"),
        ("get", "pods", "-n", "gitlab", "--subresource=exec"),
        ("get", "pods", "-n", "gitlab"),
        ("get", "nodes", "--subresource=proxy"),
        ("get", "nodes", "--subresource=metrics"),
        ("create", "jobs", "-n", "gitlab"),
        ("patch", "configmap/gitlab-values", "-n", "gitlab"),
        ("create", "configmaps", "-n", "gitlab"),
        ("list", "configmaps", "-n", "gitlab"),
        ("patch", "kustomizations", "-n", FLUX),
        ("get", "configmap/alerts-state", "-n", FLUX),
        ("patch", "deployment/gitlab", "-n", "gitlab"),
        ("create", "serviceaccounts", "-n", "gitlab", "--subresource=token"),
        ("list", "jobs", "-n", FLUX),
        ("update", "cronjob/gitlab-backup", "-n", "gitlab"),
    ]
    assert [words for words in refused if may(*words)] == []
    assert not alarm.kubelet.refused


def test_a_kubelet_that_does_not_let_the_account_in_is_told_as_what_cannot_be_looked_at(alarm: Alarm) -> None:
    kubectl = alarm.world.plane.kubectl
    kubectl(
        "patch",
        "clusterrole",
        "lab-alerts",
        "--type=json",
        "--patch",
        '[{"op": "test", "path": "/rules/1/resources/0", "value": "nodes/stats"}, {"op": "remove", "path": "/rules/1"}]',
    )
    alarm.world.wait("the right to be gone", lambda: not alarm.kubelet.may(token_of(alarm.world), "stats"))
    alarm.run()
    assert "HTTP 403" in alarm.state()["unread"]["volume"] and alarm.kubelet.refused
    alarm.world.ask_flux("kustomization", "alerts")
    alarm.world.wait("the right to be back", lambda: alarm.kubelet.may(token_of(alarm.world), "stats"))
    alarm.run()
    assert "volume" not in alarm.state()["unread"]


def token_of(world: World) -> str:
    return world.plane.kubectl("create", "token", "alerts", "-n", "gitlab").strip()


BROKEN = {
    "GitRepository": (
        "source.toolkit.fluxcd.io/v1",
        {"interval": "1m", "url": "https://gitlab.lab.example.com/no/such.git"},
    ),
    "Kustomization": (
        "kustomize.toolkit.fluxcd.io/v1",
        {
            "interval": "1m",
            "path": "./no/such/folder",
            "prune": True,
            "sourceRef": {"kind": "GitRepository", "name": FLUX},
        },
    ),
    "HelmRelease": (
        "helm.toolkit.fluxcd.io/v2",
        {
            "interval": "1m",
            "chart": {"spec": {"chart": "./no/such/chart", "sourceRef": {"kind": "GitRepository", "name": FLUX}}},
        },
    ),
    "ImageUpdateAutomation": (
        "image.toolkit.fluxcd.io/v1",
        {
            "interval": "1m",
            "sourceRef": {"kind": "GitRepository", "name": "no-such"},
            "git": {"commit": {"author": {"email": "a@b.c", "name": "a"}}},
            "update": {"path": "./apps", "strategy": "Setters"},
        },
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_flux_cannot_apply_is_told_once_and_its_end_once(alarm: Alarm, kind: str) -> None:
    version, spec = BROKEN[kind]
    thing = {"apiVersion": version, "kind": kind, "metadata": {"name": "broken", "namespace": FLUX}, "spec": spec}
    kubectl, plural = alarm.world.plane.kubectl, f"{kind.lower()[:-1]}ies" if kind.endswith("y") else f"{kind.lower()}s"
    told = alarm.tells(
        f"Flux: {kind} flux-system/broken fails",
        lambda: alarm.world.plane.apply(json.dumps(thing)),
        lambda: kubectl("delete", plural, "broken", "-n", FLUX),
        settled=lambda: condition(alarm.world.api.get(plural, "broken", FLUX))[0] == "False",
    )
    assert ": " in told.partition("fails")[2], "Flux's own words are there"


def test_a_full_volume_is_told(alarm: Alarm) -> None:
    told = alarm.tells(
        "The volume gitlab/data is nearly full",
        lambda: alarm.kubelet.used.update(data=86),
        lambda: alarm.kubelet.used.update(data=60),
    )
    assert "86 % of" in told
    alarm.tells(
        "The disk of node", lambda: alarm.kubelet.used.update({"": 97}), lambda: alarm.kubelet.used.update({"": 20})
    )


def test_a_certificate_within_two_weeks_of_its_end_is_told(alarm: Alarm) -> None:
    meta = {
        "name": json.loads(alarm.world.plane.kubectl("get", "certificates", "-n", "gitlab", "-o", "json"))["items"][0][
            "metadata"
        ]["name"],
        "namespace": "gitlab",
    }
    alarm.tells(
        f"The certificate gitlab/{meta['name']} expires soon",
        lambda: certified(alarm.world, meta, 13),
        lambda: certified(alarm.world, meta, 89),
    )


def test_a_token_within_two_weeks_of_its_end_is_told(alarm: Alarm) -> None:
    gitlab = alarm.world.gitlab
    today = datetime.datetime.now(datetime.timezone.utc).date()

    def ends(days: int) -> None:
        with gitlab.lock:
            token = next(one for one in gitlab.gitlab.project_tokens if one["name"] == "flux-status")
            token["expires_at"] = (today + datetime.timedelta(days=days)).isoformat()

    alarm.tells("The access token flux-status of", lambda: ends(13), lambda: ends(300))


def test_the_token_of_the_alarm_reads_and_changes_nothing(alarm: Alarm) -> None:
    gitlab = alarm.world.gitlab.gitlab
    (own,) = [one for one in gitlab.project_tokens if one["name"] == "lab-alerts"]
    assert own["scopes"] == ["read_api"] and own["expires_at"]
    project = alarm.world.facts.project.replace("/", "%2F")
    assert gitlab.answer("GET", f"/projects/{project}/access_tokens", {}, {}, own["token"])[0] == 200
    assert gitlab.answer("POST", f"/projects/{project}/hooks", {}, {"url": "https://a"}, own["token"])[0] == 403
    assert gitlab.answer("GET", "/runners/all", {}, {}, own["token"])[0] in (403, 404)


def test_a_runner_that_is_offline_is_told(alarm: Alarm) -> None:
    world = alarm.world
    text = world.container.read_text(encoding="utf-8")

    def is_online() -> bool:
        with world.gitlab.lock:
            return all(one["status"] == "online" for one in world.gitlab.gitlab.runners)

    def back() -> None:
        world.container.write_text(text, encoding="utf-8")
        world.wait("the runner", is_online)

    world.wait("the runner", is_online)
    alarm.run()
    alarm.tells("is offline", world.container.unlink, back, settled=lambda: not is_online())


def backup(world: World, name: str, fate: str) -> None:
    world.agent.fate_of = lambda pod: fate if pod["metadata"]["name"].startswith(name) else ""
    job = json.loads(
        world.plane.kubectl(
            "create", "job", name, "--from=cronjob/gitlab-backup", "-n", "gitlab", "--dry-run=server", "-o", "json"
        )
    )
    job["spec"]["backoffLimit"] = 0
    meta = {key: job["metadata"][key] for key in ("name", "namespace", "ownerReferences", "annotations")}
    spec = {**job["spec"], "selector": None, "manualSelector": None}
    spec["template"]["metadata"] = {}
    made = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": meta,
        "spec": {key: value for key, value in spec.items() if value is not None},
    }
    world.plane.kubectl("create", "--filename", "-", text=json.dumps(made))
    kind = "Failed" if fate == FAIL else "Complete"
    world.wait(f"the backup {name}", lambda: condition(world.api.get("jobs", name, "gitlab"), kind)[0] == "True")
    world.agent.fate_of = lambda pod: ""


def test_a_backup_that_failed_is_told_until_one_succeeds(alarm: Alarm) -> None:
    world = alarm.world
    told = alarm.tells(
        "The last backup failed", lambda: backup(world, "night-1", FAIL), lambda: backup(world, "night-2", "")
    )
    assert "kubectl logs job/night-1" in told


def test_a_backup_that_is_too_old_is_told_until_there_is_a_new_one(alarm: Alarm) -> None:
    world, kubectl = alarm.world, alarm.world.plane.kubectl

    def grow_old() -> None:
        kubectl("delete", "jobs", "--all", "-n", "gitlab")
        kubectl(
            "patch",
            "cronjob",
            "gitlab-backup",
            "-n",
            "gitlab",
            "--subresource=status",
            "--type=merge",
            "--patch",
            '{"status": {"lastSuccessfulTime": "2026-01-02T03:04:05Z"}}',
        )

    def fresh() -> None:
        backup(world, "night-3", "")

        def found() -> str:
            made = json.loads(kubectl("get", "cronjob", "gitlab-backup", "-n", "gitlab", "-o", "json"))
            return str(made["status"]["lastSuccessfulTime"])

        world.wait("the CronJob to know", lambda: not found().startswith("2026-01-02"))

    told = alarm.tells("The newest backup is too old", grow_old, fresh)
    assert "2026-01-02" in told


def test_a_security_release_is_told_and_asked_for_once_a_day(alarm: Alarm) -> None:
    def answers(severity: str) -> None:
        alarm.check.severity = severity
        alarm.change(security=alarm.state()["security"] | {"asked": 0})

    before = alarm.check.asked
    told = alarm.tells("A security release of GitLab is out", lambda: answers("danger"), lambda: answers("success"))
    assert "./lab upgrade 19.9.9" in told and alarm.check.asked == before + 2
    alarm.run()
    assert alarm.check.asked == before + 2


def test_gitlab_that_is_not_ready_is_told_and_what_follows_from_it_is_not(alarm: Alarm) -> None:
    world = alarm.world

    def pods(fate: str) -> None:
        world.agent.fate_of = lambda pod: (
            fate if pod["metadata"]["labels"].get("app.kubernetes.io/instance") == "gitlab" else ""
        )
        world.plane.kubectl("delete", "pods", "-n", "gitlab", "-l", "app.kubernetes.io/instance=gitlab")

    def is_ready() -> bool:
        return bool((world.api.get("deployments", "gitlab", "gitlab") or {})["status"].get("readyReplicas"))

    def up() -> None:
        pods("")
        world.wait("GitLab", is_ready)

    told = alarm.tells("GitLab is not ready", lambda: pods(NEVER_READY), up, settled=lambda: not is_ready())
    assert told.count("FAULT") == 1


def test_fifty_faults_at_once_are_one_message_and_their_end_another(alarm: Alarm) -> None:
    version, spec = BROKEN["Kustomization"]
    things = [
        {
            "apiVersion": version,
            "kind": "Kustomization",
            "metadata": {"name": f"broken-{one}", "namespace": FLUX},
            "spec": spec,
        }
        for one in range(50)
    ]
    alarm.an_hour_passes()
    alarm.world.plane.apply("\n---\n".join(map(json.dumps, things)))

    def all_fail() -> bool:
        found = [
            one for one in alarm.world.api.list("kustomizations", FLUX) if one["metadata"]["name"].startswith("broken-")
        ]
        return len(found) == 50 and all(condition(one)[0] == "False" for one in found)

    alarm.world.wait("fifty faults", all_fail, 90)
    told = [*alarm.run(), *alarm.run(), *alarm.run()]
    assert len(told) == 1 and "50 faults" in told[0]
    alarm.world.plane.kubectl("delete", "kustomizations", "-n", FLUX, *(one["metadata"]["name"] for one in things))
    over = [*alarm.run(), *alarm.run()]
    assert len(over) == 1 and "50 over" in over[0], (over, alarm.state())


def test_a_message_that_gotify_refuses_waits_and_is_in_the_status_until_it_is_sent(alarm: Alarm) -> None:
    alarm.an_hour_passes()
    alarm.services.broken = (503, "gone fishing")
    alarm.kubelet.used["data"] = 99
    assert alarm.run("Failed") == []
    status = alarm.world.run("./lab", "status")
    assert (
        status.status == 1
        and "its message was not sent: HTTP 503: gone fishing" in status.text
        and "1 open fault: The volume gitlab/data" in status.text
    )
    alarm.services.broken = None
    assert len(alarm.run()) == 1
    listed = alarm.world.run("./lab", "alerts")
    assert listed.status == 1 and "99 % of" in listed.text and TOKEN not in listed.text + status.text
    alarm.kubelet.used["data"] = 10
    assert len(alarm.run()) == 1
    assert "no fault is open" in alarm.world.run("./lab", "alerts").text


def test_lab_alerts_test_says_what_the_server_answered(alarm: Alarm) -> None:
    before = len(alarm.services.got)
    sent = alarm.world.run("./lab", "alerts", "test", "--yes")
    assert sent.status == 0 and "the message was taken by gotify: HTTP 200" in sent.text, sent.text
    assert [text.split("\n")[0] for _, text in alarm.services.got[before:]] == [
        f"{alarm.world.answers['lab_name']}: a test"
    ]
    alarm.services.broken = (401, "you need to provide a valid access token")
    refused = alarm.world.run("./lab", "alerts", "test", "--yes")
    alarm.services.broken = None
    assert (
        refused.status == 1
        and "HTTP 401: you need to provide a valid access token" in refused.text
        and "docs/alerts.md" in refused.text
    )


def test_flux_keeps_the_state_and_the_stage_has_nothing_to_do_again(alarm: Alarm) -> None:
    before = alarm.state()
    alarm.world.ask_flux("kustomization", "alerts")
    at = alarm.world.api.get("kustomizations", "alerts", FLUX)["metadata"]["annotations"][
        "reconcile.fluxcd.io/requestedAt"
    ]
    alarm.world.wait(
        "Flux",
        lambda: (
            (alarm.world.api.get("kustomizations", "alerts", FLUX) or {})["status"].get("lastHandledReconcileAt") == at
        ),
    )
    assert alarm.state() == before and before["looked"]
    alarm.kubelet.is_nodes()
    again = alarm.world.run("./lab", "up", "--yes", "--only", "alerts")
    alarm.kubelet.is_nodes(alarm.kubelet.server.server_port)
    assert again.status == 0 and "done" not in again.text and TOKEN not in again.text, again.text


def mail_password(world: World, password: str) -> None:
    """Let GitLab's own Secret hold a login at the mail server, and no other."""
    secret, login = ("gitlab-env", "-n", "gitlab"), {"SMTP_USER_NAME": "alarm", "SMTP_PASSWORD": password}
    world.plane.kubectl("delete", "secret", *secret, "--ignore-not-found")
    literals = (f"--from-literal={name}={value}" for name, value in login.items())
    world.plane.kubectl("create", "secret", "generic", *secret, *literals)


def test_mail_goes_out_by_gitlabs_own_settings_while_gitlab_is_down(alarm: Alarm, lab_of: Any, tmp_path: Path) -> None:
    """The lab's alarm becomes one by mail, as an update would bring it; GitLab is scaled to nothing."""
    world = alarm.world
    host = "registry-1.docker.io"  # a name that leads to this machine
    authority = Authority(tmp_path / "mail")
    world.surroundings.trust(
        authority.crt.read_text(encoding="utf-8") + (world.folder / "authority" / "ca.crt").read_text(encoding="utf-8")
    )
    with MailServer("starttls", authority.sign("mail", host), ("alarm", "password of the alarm")) as server:
        changes = {
            "smtp_enabled": True,
            "smtp_host": host,
            "smtp_port": server.port,
            "smtp_security": "starttls",
            "smtp_authentication": "plain",
        }
        made = lab_of("defaults", alerts="email", alerts_mail_to=["me@lab.example.com"], **changes)
        for name in ("settings.json", "cronjob.yaml"):
            (world.lab / "apps" / "alerts" / name).write_text(
                (made / "apps" / "alerts" / name).read_text(encoding="utf-8"), encoding="utf-8"
            )
        suspend(world)
        commit = world.push("The alarm by mail")
        world.wait(
            "the alarm",
            lambda: (
                commit
                in str(
                    (world.api.get("kustomizations", "alerts", FLUX) or {}).get("status", {}).get("lastAppliedRevision")
                )
            ),
        )
        mail_password(world, "wrong")
        refused = world.run("./lab", "alerts", "test", "--yes")
        assert refused.status == 1 and "535" in refused.text and not server.received, refused.text
        mail_password(world, "password of the alarm")
        world.agent.fate_of = lambda pod: (
            NEVER_READY if pod["metadata"]["labels"].get("app.kubernetes.io/instance") == "gitlab" else ""
        )
        world.plane.kubectl("delete", "pods", "-n", "gitlab", "-l", "app.kubernetes.io/instance=gitlab")
        world.wait(
            "GitLab to be down",
            lambda: not (world.api.get("deployments", "gitlab", "gitlab") or {})["status"].get("readyReplicas"),
        )
        sent = world.run("./lab", "alerts", "test", "--yes")
        world.agent.fate_of = lambda pod: ""
    assert sent.status == 0 and "250" in sent.text and "password of the alarm" not in sent.text, sent.text
    (received,) = server.received
    assert (
        received.encrypted
        and (received.user, received.mechanism) == ("alarm", "PLAIN")
        and received.recipients == ("me@lab.example.com",)
    )
