"""runner: the lab's runners (runners.py), made through GitLab's API. A token is shown once and goes straight to where
the runner reads it: .env on the runner's machine (0600), or a Secret."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from .. import runner_machine, runners
from ..clients.gitlab_runners import RunnerManager
from ..clients.kubectl import FIELD_MANAGER
from ..clients.machine import quoted
from ..clients.objects import NOTHING, KubeObject
from ..errors import Failure
from ..patience import TimedOutError
from ..runners import Wanted
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
    changes = (
        "the runner, its token and its files",
        "its container or pod, which starts again",
        "the runner's machine, if it lacks Docker: after a yes",
    )

    @classmethod
    def programs(cls, settings: Settings) -> set[str]:
        return super().programs(settings) | ({"ssh"} if settings.runner_kind == "docker" else set())

    def run(self) -> None:
        settings = self.settings
        kind, wanted = settings.runner_kind, runners.wanted(settings)
        if kind == "none":
            self._without()
            return
        if self.lab.dry_run:
            names = ", ".join(one.name for one in wanted)
            self.console.would(f"make sure that GitLab has the runners {names}, their tokens only where they are read")
            if kind == "docker":
                self.console.would(f"set up {settings.runner_host} if it lacks Docker ({runner_machine.SCRIPT})")
            self.console.would(f"start the runner ({kind})")
            return
        # Before anything is looked at: without GitLab there is nothing to fix.
        _ = self.lab.gitlab
        if kind == "docker":
            runner_machine.prepare(self.lab)
        self.tokens = self._read_tokens()
        numbers = [self.patience.settle(f"make the runner {one.name}", partial(self._ensure, one)) for one in wanted]
        self._drop_tokens(wanted)
        if kind == "docker":
            self._start_container()
            self._forget_authority()
        else:
            self._refresh_pod()
        for one, number in zip(wanted, numbers, strict=True):
            try:
                minutes = self.lab.limits.wait_runner_minutes
                self.patience.wait(minutes, f"runner {one.name}", partial(self._online, number))
            except TimedOutError as late:
                raise self._missing(one.name, str(late)) from late
            self.console.have(f"runner {one.name} is online")
        self._delete_others(numbers)
        for one in wanted:
            if one.is_protected:
                lead = partial(self._lead_protected, one.owner)
                self.patience.settle("lead the jobs of protected branches to their runner", lead)

    def _without(self) -> None:
        """Let the lab's jobs ask for no runner of the program's: one that the owner brings has not its tag."""
        settings = self.settings
        self.console.skip("this lab has no runner; nothing builds until you add one")
        projects = [settings.lab_project] if settings.self_hosted else []
        projects += [settings.iac_project] if settings.iac_project else []
        for project in projects if not self.lab.dry_run else []:
            key = runners.PROTECTED_VARIABLE
            if self.lab.gitlab.project_variable(project, key):
                self.lab.gitlab.delete_project_variable(project, key)
                self.console.did(f"{key} of {project} removed: its jobs take any runner")

    def _ensure(self, wanted: Wanted) -> int:
        """Make a runner whose token is in the right place; return its number.

        A runner whose token is lost is replaced, never doubled.
        """
        gitlab = self.lab.gitlab
        token = self.tokens.get(wanted.variable)
        # A glrt- token is verified for one machine; GitLab forgets that of this name by itself.
        number = gitlab.verify_runner(token, TOKEN_CHECK) if token else None
        same = [one for one in gitlab.runners() if wanted.is_in(one)]
        if number not in [one.id for one in same]:
            number = None
        gitlab.delete_runners([one for one in same if one.id != number])
        if number is not None:
            self.console.have(f"runner {wanted.name}, its token in {self._place()}")
            return number
        made = gitlab.make_runner(wanted.name, wanted.kind, self._belonging(wanted))
        self._write_token(wanted.variable, made.token)
        self.console.did(f"runner {wanted.name}, its token in {self._place()}")
        return made.id

    def _belonging(self, wanted: Wanted) -> Mapping[str, Any]:
        """Return to whom a runner belongs, and which jobs it takes."""
        if wanted.kind == runners.INSTANCE:
            return {}
        found = self.lab.gitlab.group(wanted.owner) if wanted.kind == runners.GROUP else None
        project = self.lab.gitlab.project(wanted.owner) if wanted.kind == runners.PROJECT else None
        if found is not None:
            return {"group_id": found.id}
        if project is not None:
            only = {"access_level": "ref_protected", "run_untagged": False, "tag_list": [runners.PROTECTED_TAG]}
            return {"project_id": project.id, "locked": True, **only}
        raise Failure(f"GitLab has no {wanted.owner} for the runner {wanted.name}.", "", "./lab up --only groups")

    def _delete_others(self, kept: Sequence[int]) -> None:
        """Delete the runners that the program made for another answer, now that their jobs have another one."""
        gitlab = self.lab.gitlab
        others = [one for one in gitlab.runners() if one.id not in kept and runners.is_ours(self.settings, one)]
        gitlab.delete_runners(others)
        for one in others:
            self.console.did(f"runner {one.description} deleted: your answers ask for others now")

    def _lead_protected(self, project: str) -> None:
        """Tell the jobs of a project's protected branches, and no others, which runner they ask for."""
        key = runners.PROTECTED_VARIABLE
        if self.lab.gitlab.project_variable(project, key):
            self.console.have(f"jobs of {project}'s protected branches ask for the protected runner")
            return
        self.lab.gitlab.make_protected_variable(project, key, runners.PROTECTED_TAG)
        self.console.did(f"jobs of {project}'s protected branches ask for the protected runner")

    def _place(self) -> str:
        settings = self.settings
        if settings.runner_kind == "docker":
            return f"{settings.runner_host}:{settings.runner_home}/.env"
        return f"Secret {settings.runner_namespace}/{SECRET}"

    def _read_tokens(self) -> dict[str, Secret]:
        """Return the tokens that the runner has, by their variables."""
        if self.settings.runner_kind == "kubernetes":
            found = self.cluster.find("secret", SECRET, self.settings.runner_namespace) or NOTHING
            return {name: found.secret(name) for name in found.content.get("data") or {} if runners.is_token(name)}
        self.there = self.lab.machine.files(
            self.settings.runner_home, list(dict.fromkeys([".env", "ca.crt", *self._files()]))
        )
        lines = [line.partition("=") for line in self.there.get(".env", "").splitlines()]
        return {name: Secret(value.strip()) for name, _, value in lines if runners.is_token(name) and value.strip()}

    def _write_token(self, variable: str, token: Secret) -> None:
        """Hand a token to the runner, beside those that it has."""
        self.tokens[variable] = token
        if self.settings.runner_kind == "kubernetes":
            self.cluster.put_secret(self.settings.runner_namespace, SECRET, self.tokens)
        else:
            self._write_env([variable], f"{variable}={token.reveal()}\n")

    def _drop_tokens(self, wanted: Sequence[Wanted]) -> None:
        """Take away the tokens of runners that the lab no longer has."""
        variables = {one.variable for one in wanted}
        stale = [name for name in self.tokens if runners.is_token(name) and name not in variables]
        if not stale:
            return
        if self.settings.runner_kind == "kubernetes":
            kept = {name: token for name, token in self.tokens.items() if name not in stale}
            self.cluster.put_secret(self.settings.runner_namespace, SECRET, kept)
        else:
            self._write_env(stale, "")
        self.console.did(f"{', '.join(stale)} removed from {self._place()}")

    def _write_env(self, without: Sequence[str], line: str) -> None:
        """Write .env on the runner's machine: without some variables, and with another line.

        Other lines of .env are the owner's (a proxy, for example) and stay. The new file is complete before it takes
        the old one's place, and never readable by others. A container that runs keeps the tokens it was started with,
        hence the mark.
        """
        env, mark = self._file(".env"), self._file(NOT_STARTED)
        pattern = quoted(f"^({'|'.join(map(re.escape, without))})=")
        command = (
            f"umask 077; touch {mark}\n"
            f"{{ if test -f {env}; then grep -v -E {pattern} {env}; fi; cat; }} >{env}.new"
            f" && chmod 600 {env}.new && mv -f {env}.new {env}"
        )
        self.lab.machine.must("write the runner's .env", command, line.encode())

    def _files(self) -> list[str]:
        """Return the files of runner/ that belong on the machine."""
        cache, authority = self.settings.machine_cache_file, ["ca.crt"] if self.settings.private_ca else []
        return ["compose.yaml", "config.toml", *([cache] if cache else []), *authority]

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
            "Nodes and the runner's machine trust the former authority until you remove it:\n"
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

    def _missing(self, name: str, why: str) -> Failure:
        settings, minutes = self.settings, self.lab.limits.wait_runner_minutes
        look = f"kubectl get pods -n {settings.runner_namespace}; flux get helmreleases -n {settings.runner_namespace}"
        if settings.runner_kind == "docker":
            look = (
                f"ssh {self.lab.machine.address}, then: cd {settings.runner_home} && docker compose logs --tail=50\n"
                f"whether that machine knows {settings.gitlab_host} and trusts its certificate: curl -v "
                f"{settings.gitlab_url}"
            )
        return Failure(f"The runner {name} has not reported to GitLab within {minutes} minutes: {why}.", look)


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
