"""One lab as the stages and commands see it: its settings, its clients, and what a run may do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from . import gitlab_image, sealed
from .clients.flux import Flux
from .clients.git import Git, WithPassword
from .clients.gitlab import GitLab
from .clients.gitlab_transport import Transport
from .clients.helm import Helm
from .clients.http import Http
from .clients.kubectl import Cluster, KubectlError
from .clients.machine import Machine
from .clients.objects import KubeObject
from .clients.pod import Pod, Session
from .clients.sops import Sops
from .console import Console
from .environment import Limits
from .errors import Failure
from .patience import Patience
from .programs import Programs
from .settings import Settings
from .workspace import place


class Consent:
    """The owner's consent to change the cluster: asked for once in a run, before the first change.

    Attributes:
        given: whether it was given.
    """

    def __init__(self, lab: Lab) -> None:
        self._lab, self.given = lab, False

    def __call__(self) -> None:
        """Ask, unless it was given.

        Raises:
            Failure: the owner does not consent, or there is no terminal to ask.
        """
        lab = self._lab
        if self.given or lab.console.assume_yes:
            return
        question = f'This changes a cluster for the lab "{lab.settings.lab_name}".\n{self.cluster_in_words()}\nGo on?'
        if not lab.console.ask_yes(question, "call it with --yes if this is the right cluster"):
            raise Failure(
                "The cluster was not confirmed; nothing was changed.",
                "kubectl config get-contexts",
                "choose another: kubectl config use-context NAME, or KUBECONFIG; then run it again",
            )
        self.given = True

    def cluster_in_words(self) -> str:
        """Return which cluster the owner's kubeconfig leads to: context, server and nodes, a line each."""
        context, server = self._lab.cluster.context()
        try:
            names = [node.name for node in self._lab.cluster.nodes(tries=2)]
        except KubectlError:
            names = []
        nodes = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        return f"context  {context or 'the default one'}\nserver   {server or 'unknown'}\nnodes    {nodes or 'unknown'}"


@dataclass
class Lab:
    """The lab in a folder.

    Attributes:
        folder: the lab's, with its repository.
        private: a folder that lives for this run, for what a tool takes only from a file.
        environment: what every program sees.
        dry_run: whether changes are only told.
        rescuing: whether Flux's hand is off GitLab, so that Helm may install what Flux would keep.
        upgrading: whether GitLab is on its way to another version.
    """

    folder: Path
    settings: Settings
    limits: Limits
    console: Console
    programs: Programs
    private: Path
    environment: Mapping[str, str]
    dry_run: bool = False
    rescuing: bool = False
    upgrading: bool = False

    @property
    def gitlab_version(self) -> str:
        """The version of GitLab that this working tree installs; an upgrade changes it."""
        return gitlab_image.version(self.folder, self.settings.gitlab_version)

    @cached_property
    def patience(self) -> Patience:
        return Patience(self.limits, self.console)

    @cached_property
    def consent(self) -> Consent:
        return Consent(self)

    @cached_property
    def cluster(self) -> Cluster:
        return Cluster(self.programs, self.patience, self.console, dry_run=self.dry_run, before_change=self.consent)

    @cached_property
    def gitlab_at_start(self) -> KubeObject | None:
        """GitLab's Deployment as the run found it, read once; None if GitLab was not installed.

        Raises:
            Failure: the cluster refuses, or cannot be reached.
        """
        return self.cluster.find("deployment", "gitlab", self.settings.gitlab_namespace)

    @cached_property
    def helm(self) -> Helm:
        noted = sealed.pod_annotations(self.folder / "apps" / "gitlab") if self.settings.age_recipients else {}
        extra = [f"podAnnotations.{name}={changed}" for name, changed in noted.items()]
        return Helm(self.programs, self.folder, self.settings.gitlab_namespace, self.consent, extra=extra)

    @cached_property
    def sops(self) -> Sops:
        return Sops(self.programs, self.folder, self.environment)

    @cached_property
    def flux(self) -> Flux:
        return Flux(self.programs, self.consent)

    @cached_property
    def git(self) -> Git:
        return Git(self.programs, self.patience, self.folder)

    @cached_property
    def pod(self) -> Pod:
        return Pod(self.programs, self.patience, self.settings.gitlab_namespace, self.consent)

    @cached_property
    def machine(self) -> Machine:
        settings = self.settings
        return Machine(self.programs, self.patience, self.console, settings.runner_user, settings.runner_host)

    @cached_property
    def http(self) -> Http:
        return Http(self.authority, self.environment)

    @cached_property
    def public_http(self) -> Http:
        """For hosts of others: the system's authorities are trusted there, not the lab's own."""
        return Http(None, self.environment)

    @cached_property
    def transport(self) -> Transport:
        return Transport(self.http, self.patience, self.settings)

    @cached_property
    def session(self) -> Session:
        return Session(self.pod, self.transport, self.console, self.settings, place(self.folder))

    @cached_property
    def gitlab(self) -> GitLab:
        """GitLab's API, with this run's token."""
        self.session.begin()
        return GitLab(self.transport)

    @property
    def ca_file(self) -> Path:
        return self.folder / "ca.crt"

    @property
    def authority(self) -> Path | None:
        """The certificate of the lab's own authority; none where a public one signs."""
        return self.ca_file if self.settings.private_ca else None

    @property
    def as_root(self) -> WithPassword:
        """Git at the lab's own GitLab, with this run's token."""
        return WithPassword("root", self.session.begin(), self.settings.gitlab_url, self.authority)
