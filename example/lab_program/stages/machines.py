"""machines: the project that holds the lab's machines as code, and the runner's machine made from it, once, from here.

GitLab is up by now and keeps the state, but there is no runner yet that could run the project's pipeline. From then on
the pipeline makes changes; this stage only looks whether the runner's machine is there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from ..clients.proxmox import Proxmox, ProxmoxError
from ..clients.tofu import Lock, Plan, Tofu, TofuError
from ..errors import Failure
from ..lab import Lab
from ..patience import TimedOutError
from ..secret import Secret
from ..settings import Settings
from . import proxmox_checks, tofu_run
from .base import Stage
from .findings import Finding, Good, Problem
from .iac_project import IacProject
from .machine_secrets import PASSPHRASE_ENTRY, STATE, TOKEN_ENTRY, TOKEN_FILE, MachineSecrets
from .machines_aws import AwsPlace, credentials
from .proxmox_checks import TokenRefused
from .tofu_run import proxmox_http, public_keys, tofu_on, variables

T = TypeVar("T")
RUNNER = "proxmox_virtual_environment_vm.runner"
LOCK_FILE = ".terraform.lock.hcl"
# In the copy of this run alone; with it OpenTofu takes over a machine that its state does not know.
TAKE_OVER = "lab_take_over.tf"
# Everything of Proxmox's API wants a log-in.
UNAUTHORIZED = 401


class Next(Enum):
    """What follows from a plan for the runner's machine."""

    NOTHING = "it is as the project says"
    MAKE = "it comes into the state: made, or taken over"
    LEAVE = "it changes, which is the pipeline's to do"


def next_for(plan: Plan) -> Next:
    """Return what to do. What is there already is never changed from here, and nothing is destroyed."""
    if plan.is_empty:
        return Next.NOTHING
    return Next.MAKE if plan.makes(RUNNER) and not plan.removed else Next.LEAVE


def makes_machine(settings: Settings) -> bool:
    """Say whether the lab makes the runner's machine."""
    return settings.runner_machine == "proxmox"


def uses_aws(settings: Settings) -> bool:
    """Say whether the lab has something at AWS."""
    return bool(settings.aws_login)


def needs_tofu(settings: Settings) -> bool:
    """Say whether a run needs OpenTofu on this machine."""
    return makes_machine(settings) or uses_aws(settings)


class Machines(Stage):
    name = "machines"
    purpose = "the runner's machine, made on Proxmox, and the project that holds it as code"
    looks_at = ("Proxmox's API", "the project for infrastructure, and its state in GitLab")
    changes = (
        "the project: the lab's iac/, variables, a merge request",
        "the runner's machine on Proxmox: after a yes",
        "Secret flux-system/lab-machines",
    )

    @classmethod
    def programs(cls, settings: Settings) -> set[str]:
        more = {"git"} if settings.iac_project else set()
        return (
            super().programs(settings)
            | more
            | ({"tofu"} if needs_tofu(settings) else set())
            | ({"ssh"} if makes_machine(settings) else set())
        )

    def run(self) -> None:
        settings = self.settings
        if not settings.iac_project:
            self.console.skip("this lab makes no machines")
            return
        if self.lab.dry_run:
            self._tell()
            return
        # Before anything is looked at: without GitLab there is nothing to fix.
        _ = self.lab.gitlab
        makes = makes_machine(settings)
        token = self._checked_token() if makes else Secret("")
        self.project.ensure()
        self.project.carry()
        passphrase = self.secrets.passphrase()
        keep = {PASSPHRASE_ENTRY: passphrase, TOKEN_ENTRY: token}
        self.patience.settle(f"set the variables of {settings.iac_project}", lambda: self.secrets.keep(keep))
        self.secrets.give_owner(passphrase)
        if makes:
            self._ensure_machine(token, passphrase)
        if uses_aws(settings):
            self._ensure_aws(passphrase)

    def _tell(self) -> None:
        settings, would = self.settings, self.console.would
        would(f"make sure that GitLab has the project {settings.iac_project} (private), with the lab's iac/")
        would("propose there by a merge request what has changed in iac/ since")
        if uses_aws(settings):
            would(f"make {settings.aws_bucket} and the jobs' log-in at AWS with your credentials, after a yes")
        if makes_machine(settings):
            would(f"ask for Proxmox's API token, if it is not known, and check what {settings.proxmox_node} has")
            would(f"show OpenTofu's plan for {settings.runner_host}, and apply it after a yes")

    @cached_property
    def secrets(self) -> MachineSecrets:
        return MachineSecrets(self.lab)

    @cached_property
    def project(self) -> IacProject:
        return IacProject(self.lab)

    # Proxmox

    def _checked_token(self) -> Secret:
        """Return the token, once Proxmox has all that it is needed for.

        Raises:
            Failure: something is missing there; everything that is, each with its fix.
        """
        known = self.secrets.token
        if known:
            refused = self._check(known)
            if refused is None:
                return known
            if not (self.console.terminal or self.lab.environment.get(TOKEN_FILE)):
                raise Failure(f"{capital(refused.what)}.", "", refused.fix)
            self.console.warn(refused.what)
        given = self.secrets.ask_token()
        refused = self._check(given)
        if refused is not None:
            raise Failure(f"{capital(refused.what)}.", "", refused.fix)
        return given

    def _check(self, token: Secret) -> TokenRefused | None:
        """Look at Proxmox; return the problem if it does not take the token.

        Raises:
            Failure: there is any other.
        """
        findings = list(proxmox_checks.look(proxmox_of(self.lab, token), self.settings, public_keys(self.lab)))
        refused = [one for one in findings if isinstance(one, TokenRefused)]
        if refused:
            return refused[0]
        problems = [one for one in findings if isinstance(one, Problem)]
        skipped = [one for one in problems if one.check in self.lab.limits.skip]
        for one in findings:
            if isinstance(one, Good):
                self.console.have(one.what)
            elif isinstance(one, Problem) and one not in skipped:
                self.console.bad(one.check, one.what, one.fix)
            elif isinstance(one, Problem):
                self.console.warn(f"[{one.check}] {one.what} (skipped)")
        if len(problems) > len(skipped):
            what = (
                f"{len(problems) - len(skipped)} thing(s) to fix before the machine can be made; each is listed above."
            )
            raise Failure(what, "", "fix them, then run ./lab up --from machines")
        return None

    # OpenTofu

    def _ensure_aws(self, passphrase: Secret) -> None:
        """Make what the lab has at AWS, or find it as the project says."""
        folder, tofu = self._prepared(Secret(""), passphrase)
        AwsPlace(self.lab, self._must).ensure(folder, tofu)

    def _ensure_machine(self, token: Secret, passphrase: Secret) -> None:
        """Make the runner's machine, or find it as the project says."""
        folder, tofu = self._prepared(token, passphrase)
        plan = self._plan(tofu)
        if plan.actions.get(RUNNER) == ("create",) and self._is_there(token):
            self.console.warn(
                f"Proxmox has {self.settings.runner_host} already, and OpenTofu does not know it: it is taken over.\n"
                "If no guest agent answers in it, that takes 15 minutes."
            )
            place = f"{self.settings.proxmox_node}/{self.settings.runner_vm_id}"
            (folder / TAKE_OVER).write_text(f'import {{\n  to = {RUNNER}\n  id = "{place}"\n}}\n')
            plan = self._plan(tofu)
        self._follow(next_for(plan), plan, tofu, token)

    def _prepared(self, token: Secret, passphrase: Secret) -> tuple[Path, Tofu]:
        """Return a copy of the project's main, and OpenTofu on it, with its providers."""
        found = self.lab.gitlab.project(self.settings.iac_project)
        if found is None:
            raise Failure(f"GitLab has no project {self.settings.iac_project}.", "", "./lab up --only machines")
        folder = self.project.check_out()
        own = credentials(self.lab.environment) if uses_aws(self.settings) else {}
        tofu = tofu_on(self.lab, folder, variables(self.lab, found.id, token, passphrase) | own)
        self.console.doing("OpenTofu fetches its providers, and compares (the first time this takes some minutes)")
        self._must("prepare the project", lambda: _init(tofu))
        self.project.add_to_main([LOCK_FILE], "Which providers OpenTofu has verified")
        return folder, tofu

    def _follow(self, following: Next, plan: Plan, tofu: Tofu, token: Secret) -> None:
        settings, console = self.settings, self.console
        if following is Next.LEAVE:
            pipelines = f"{settings.gitlab_url}/{settings.iac_project}/-/pipelines"
            what = ", ".join(sorted(plan.actions))
            console.warn(f"Changes wait in {settings.iac_project} ({what}). Apply them there, from main: {pipelines}")
        if following is not Next.MAKE:
            console.have(f"{settings.runner_host} is in OpenTofu's state")
            self._know_host(is_new=False)
            return
        console.print(f"\n{tofu.shown()}\n")
        question = f"Do this on {settings.proxmox_endpoint}?"
        if not console.ask_yes(question, "call it with --yes if the machine may be made"):
            raise Failure(
                f"{settings.runner_host} was not made; nothing was changed on Proxmox.",
                f"{settings.gitlab_url}/{settings.iac_project}",
            )
        console.doing("making the machine (Proxmox downloads the image the first time)")
        self._must("make the machine", tofu.apply)
        node, number = settings.proxmox_node, settings.runner_vm_id
        try:
            address = proxmox_of(self.lab, token).hardware_address(node, number) or "none"
        except ProxmoxError as error:
            address = f"not told ({error})"
        console.did(f"{settings.runner_host}: number {number} on {node}, hardware address {address}")
        self._know_host(is_new=True)

    def _plan(self, tofu: Tofu) -> Plan:
        return self._must("plan the machine", lambda: tofu.plan(RUNNER))

    def _must(self, what: str, do: Callable[[], T]) -> T:
        """Do something by OpenTofu; once more where the owner releases a lock that was in the way.

        Raises:
            Failure: it was not done.
        """
        try:
            return do()
        except TofuError as error:
            lock = error.lock
            if lock is None:
                raise self._failure(what, error) from error
            self._release(lock)
        try:
            return do()
        except TofuError as error:
            raise self._failure(what, error) from error

    def _release(self, lock: Lock) -> None:
        """Release a lock that nobody needs any more, as the owner says.

        Raises:
            Failure: there is nobody to say so, or it is needed.
        """
        settings = self.settings
        states = f"{settings.gitlab_url}/{settings.iac_project}/-/terraform"
        what = f"The state of {settings.iac_project} is locked: {lock}."
        by_hand = (
            f"a pipeline of {settings.iac_project}, or another ./lab, may be at work: wait for its end. If nothing\n"
            f"is, and a run was cut off: {states}, Actions, Unlock; then run ./lab up --from machines"
        )
        if not self.console.terminal or not lock.id:
            raise Failure(what, f"{settings.gitlab_url}/{settings.iac_project}/-/pipelines", by_hand)
        asked = f"{what}\nWas it left by a run that was cut off, with nothing at work now? Yes releases it."
        if not self.console.ask_yes(asked, "", in_person=True):
            raise Failure(what, f"{settings.gitlab_url}/{settings.iac_project}/-/pipelines", by_hand)
        if not self.lab.gitlab.release_state(settings.iac_project, STATE, lock.id):
            raise Failure(f"{what} Another lock has taken its place meanwhile.", states, by_hand)
        self.console.did("the lock is released")

    def _failure(self, what: str, error: TofuError) -> Failure:
        lock = error.lock
        if lock is not None:
            return Failure(f"The state of {self.settings.iac_project} is locked: {lock}.")
        return Failure(
            f"OpenTofu could not {what}:\n{error.words[:3000]}",
            f"{self.settings.gitlab_url}/{self.settings.iac_project}; iac/README.md",
            "fix that, then run ./lab up --from machines: it goes on where it stopped",
        )

    def _is_there(self, token: Secret) -> bool:
        """Say whether Proxmox has the machine already: a run was cut off, or the state is lost."""
        try:
            guest = proxmox_of(self.lab, token).guest(self.settings.runner_vm_id)
        except ProxmoxError as error:
            problem = proxmox_checks.reach_problem(error, self.settings)
            raise Failure(f"{capital(problem.what)}.", "", problem.fix) from error
        return proxmox_checks.is_ours(guest, self.settings)

    # The machine

    def _know_host(self, *, is_new: bool) -> None:
        """Wait until the machine lets the owner in, and keep its host key where ssh keeps those of others.

        A machine that was made just now is taken by the key that it shows. Of one that was there before ssh may know
        the key already; otherwise the owner is asked.
        """
        machine, settings = self.lab.machine, self.settings
        if not is_new:
            done = machine.run("true")
            if done.status == 0 or not re.search("[Hh]ost key verification failed", done.err):
                # Whether it can be reached is the next stage's to say.
                return
            asked = f"ssh does not know the host key of {settings.runner_host} yet. Take the one that it shows now?"
            if not self.console.ask_yes(asked, "call it with --yes if it may be taken"):
                raise Failure(f"The host key of {settings.runner_host} was not taken.", f"ssh {machine.address}")
        minutes = self.lab.limits.wait_runner_minutes
        try:
            self.patience.wait(minutes, f"SSH on {settings.runner_host}", lambda: machine.greet() or None)
        except TimedOutError as late:
            raise Failure(
                f"{settings.runner_host} does not let {settings.runner_user} in within {minutes} minutes: {late}",
                f"its console in Proxmox ({settings.runner_vm_id} > Console); ssh {machine.address}",
                f"with dhcp, {settings.runner_host} has to lead to its address: reserve it in the router;\n"
                "then run ./lab up --from machines",
            ) from late
        self.console.did(f"{settings.runner_host} answers, and its SSH host key is in your known_hosts")


def proxmox(lab: Lab, *, cluster_answers: bool) -> Iterator[Finding]:
    """Preflight: Proxmox answers, and its certificate is trusted; with a token that is known, all that it needs."""
    token = MachineSecrets(lab).token if cluster_answers else Secret("")
    try:
        tofu_run.trusted(lab)
    except Failure as failure:
        yield Problem(proxmox_checks.CHECK, failure.what.rstrip("."), failure.then)
        return
    if token:
        yield from proxmox_checks.look(proxmox_of(lab, token), lab.settings, public_keys(lab))
        return
    try:
        proxmox_of(lab, token).version()
    except ProxmoxError as error:
        if error.status != UNAUTHORIZED:
            yield proxmox_checks.reach_problem(error, lab.settings)
            return
    yield Good(f"Proxmox answers at {lab.settings.proxmox_endpoint}; the stage machines asks for its API token")


def proxmox_of(lab: Lab, token: Secret) -> Proxmox:
    """Return Proxmox's API, with a token or with none."""
    return Proxmox(proxmox_http(lab), lab.patience, lab.settings.proxmox_endpoint, token)


def capital(text: str) -> str:
    """Return a text as a sentence begins."""
    return text[:1].upper() + text[1:]


def _init(tofu: Tofu) -> None:
    """Fetch providers. A lock file that is older than the code's own versions is brought up to date."""
    try:
        tofu.init()
    except TofuError as error:
        if not error.wants_upgrade:
            raise
        tofu.init(upgrade=True)
