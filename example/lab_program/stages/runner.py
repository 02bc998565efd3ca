"""runner: one instance runner, made through GitLab's API. Its token is shown once and goes straight to where the runner
reads it: .env on the runner's machine (0600), or a Secret."""

from __future__ import annotations

from collections.abc import Sequence

from ..clients.gitlab import RunnerManager
from ..clients.kubectl import FIELD_MANAGER
from ..clients.machine import quoted
from ..clients.objects import NOTHING, KubeObject
from ..errors import Failure
from ..patience import TimedOutError
from ..secret import Secret
from ..settings import Settings
from .base import Stage
from .gitlab import ensure_ca

# As which machine the stage itself speaks to GitLab with the runner's token.
TOKEN_CHECK = "lab-bootstrap"  # noqa: S105 - a name
# In the runner's folder: its files are newer than its container.
NOT_STARTED = ".not-started"
SECRET = "gitlab-runner-token"  # noqa: S105 - its name


class Runner(Stage):
    name = "runner"
    purpose = "a runner that takes jobs"
    looks_at = ("GitLab's runners", "the runner's machine, or its pod")
    changes = ("the runner, its token and its files", "its container or pod, which starts again")

    @classmethod
    def programs(cls, settings: Settings) -> set[str]:
        return super().programs(settings) | ({"ssh"} if settings.runner_kind == "docker" else set())

    def run(self) -> None:
        kind, name = self.settings.runner_kind, self.settings.runner_name
        if kind == "none":
            self.console.skip("this lab has no runner; nothing builds until you add one")
            return
        if self.lab.dry_run:
            self.console.would(f"make sure that GitLab has the runner {name}, its token only where the runner reads it")
            self.console.would(f"start the runner ({kind})")
            return
        # Before anything is looked at: without GitLab there is nothing to mend.
        _ = self.lab.gitlab
        number = self.patience.settle(f"make the runner {name}", self._ensure_runner)
        if kind == "docker":
            self._start_container()
            self._forget_authority()
        else:
            self._refresh_pod()
        try:
            self.patience.wait(self.lab.limits.wait_runner_minutes, f"runner {name}", lambda: self._online(number))
        except TimedOutError as late:
            raise self._missing(str(late)) from late
        self.console.have(f"runner {name} is online")

    def _ensure_runner(self) -> int:
        """Make a runner whose token is in the right place; return its number.

        A runner whose token is lost is replaced, never doubled.
        """
        name, gitlab = self.settings.runner_name, self.lab.gitlab
        token = self._read_token()
        # A glrt- token is verified for one machine; GitLab forgets that of this name by itself.
        number = gitlab.verify_runner(token, TOKEN_CHECK) if token else None
        gitlab.delete_runners([one for one in gitlab.runners(name) if one.id != number])
        if number is not None:
            self.console.have(f"runner {name}, its token in {self._place()}")
            return number
        made = gitlab.make_runner(name)
        self._write_token(made.token)
        self.console.did(f"runner {name}, its token in {self._place()}")
        return made.id

    def _place(self) -> str:
        settings = self.settings
        if settings.runner_kind == "docker":
            return f"{settings.runner_host}:{settings.runner_home}/.env"
        return f"Secret {settings.runner_namespace}/{SECRET}"

    def _read_token(self) -> Secret:
        """Return what the runner has; an empty token where it has none."""
        if self.settings.runner_kind == "kubernetes":
            return (self.cluster.find("secret", SECRET, self.settings.runner_namespace) or NOTHING).secret(
                "RUNNER_TOKEN"
            )
        self.there = self.lab.machine.files(
            self.settings.runner_home, list(dict.fromkeys([".env", "ca.crt", *self._files()]))
        )
        said = self.there.get(".env", "")
        lines = [line.removeprefix("RUNNER_TOKEN=") for line in said.splitlines() if line.startswith("RUNNER_TOKEN=")]
        return Secret(lines[-1].strip() if lines else "")

    def _write_token(self, token: Secret) -> None:
        """Hand the token to the runner.

        Other lines of .env are the owner's (a proxy, for example) and stay. The new file is complete before it takes
        the old one's place, and never readable by others. A container that runs keeps the token it was started with,
        hence the mark.
        """
        if self.settings.runner_kind == "kubernetes":
            self.cluster.put_secret(self.settings.runner_namespace, SECRET, {"RUNNER_TOKEN": token})
            return
        env, mark = self._file(".env"), self._file(NOT_STARTED)
        command = (
            f"umask 077; touch {mark}\n"
            f"{{ if test -f {env}; then grep -v '^RUNNER_TOKEN=' {env}; fi; cat; }} >{env}.new"
            f" && chmod 600 {env}.new && mv -f {env}.new {env}"
        )
        self.lab.machine.must("write the runner's .env", command, f"RUNNER_TOKEN={token.reveal()}\n".encode())

    def _files(self) -> list[str]:
        """Return the files of runner/ that belong on the machine."""
        return ["compose.yaml", "config.toml", *(["ca.crt"] if self.settings.private_ca else [])]

    def _file(self, name: str) -> str:
        return quoted(f"{self.settings.runner_home}/{name}")

    def _start_container(self) -> None:
        """Put the files of runner/ on the machine, and the container up."""
        host, folder = self.settings.runner_host, quoted(self.settings.runner_home)
        for name in self._files():
            self._copy(name)
        look = (
            f"cd {folder} && chmod 600 .env"
            f" && if test ! -e {NOT_STARTED}; then docker compose ps --status running --quiet gitlab-runner; fi"
        )
        if self.lab.machine.must("see whether the runner runs", look).strip():
            self.console.have(f"the runner's container runs on {host}")
            return
        self.console.doing(f"starting the runner on {host} (its image is pulled the first time)")
        start = "docker compose up --detach --quiet-pull --force-recreate --remove-orphans"
        self.lab.machine.must("start the runner", f"cd {folder} && {start} 2>&1 && rm -f {NOT_STARTED}")
        self.console.did(f"the runner's container runs on {host}")

    def _forget_authority(self) -> None:
        """Take away the certificate of an authority that this lab no longer has; say how the machine forgets it."""
        if self.settings.private_ca or "ca.crt" not in self.there:
            return
        self.lab.machine.must("remove ca.crt", f"rm -f {self._file('ca.crt')}")
        self.console.did(f"removed ca.crt on {self.settings.runner_host}: private_ca is false")
        self.console.warn(
            "Nodes and the runner's machine trust the authority of before until you say otherwise:\n"
            "./lab trust --remove --runner; for each node: ./lab trust --remove root@<node>"
        )

    def _copy(self, name: str) -> None:
        """Copy a file to the machine, where it is missing there or another one.

        The mark comes before it: a run that is stopped between a file and the start would otherwise leave a container
        that knows nothing of the file.
        """
        source = self.lab.ca_file if name == "ca.crt" else self.lab.folder / "runner" / name
        try:
            wanted = source.read_bytes()
        except OSError as error:
            raise Failure(f"{source.relative_to(self.lab.folder)} is missing in the lab.", "git status") from error
        target = self._file(name)
        there = self.there.get(name)
        if there is not None and there.rstrip("\n") == wanted.decode("utf-8", "replace").rstrip("\n"):
            return
        folder = quoted(self.settings.runner_home)
        command = f"umask 022; cd {folder} && touch {NOT_STARTED} && cat >{target}.new && mv -f {target}.new {target}"
        self.lab.machine.must(f"write {name}", command, wanted)
        self.console.did(f"{name} on {self.settings.runner_host}")

    def _refresh_pod(self) -> None:
        """Delete a pod that is older than its token; its Deployment makes the next, which reads the new one."""
        namespace = self.settings.runner_namespace
        ensure_ca(self.lab, namespace, self.cluster.find("secret", "lab-ca", namespace) or NOTHING)
        secret = self.cluster.find("secret", SECRET, namespace, managed_fields=True) or NOTHING
        pods = self.cluster.list_of("pods", namespace, "app.kubernetes.io/instance=gitlab-runner")
        for pod in outdated(pods, secret.managers.get(FIELD_MANAGER, "")):
            self.cluster.delete("pod", pod.name, namespace, "restart the runner's pod", wait=False)
            self.console.did("the runner starts again, with its new token")

    def _online(self, number: int) -> str | None:
        status = runner_status(self.lab.gitlab.runner_managers(number))
        return None if status == "online" else f"GitLab calls it {status}"

    def _missing(self, why: str) -> Failure:
        settings, minutes = self.settings, self.lab.limits.wait_runner_minutes
        look = f"kubectl get pods -n {settings.runner_namespace}; flux get helmreleases -n {settings.runner_namespace}"
        if settings.runner_kind == "docker":
            look = (
                f"ssh {self.lab.machine.address}, then: cd {settings.runner_home} && docker compose logs --tail=50\n"
                f"whether that machine knows {settings.gitlab_host} and trusts its certificate: curl -v "
                f"{settings.gitlab_url}"
            )
        return Failure(f"The runner has not reported to GitLab within {minutes} minutes: {why}.", look)


def outdated(pods: Sequence[KubeObject], written: str) -> list[KubeObject]:
    """Return the pods that run since before a time: they have another token than the one that was written then."""

    def runs(pod: KubeObject) -> bool:
        states = [one.get("state") or {} for one in pod.status.get("containerStatuses") or []]
        return any("running" in state for state in states)

    return [pod for pod in pods if not pod.is_leaving and pod.created < written and runs(pod)]


def runner_status(managers: Sequence[RunnerManager]) -> str:
    """Return what GitLab calls the machine on which the runner runs.

    It calls the runner itself online for two hours after anybody has shown its token, and the check of the token
    counts as that.
    """
    found = [one.status for one in managers if one.system_id != TOKEN_CHECK]
    return "online" if "online" in found else next(iter(found), "never_contacted")
