"""gitlab: GitLab, installed and healthy.

self: from this working tree, with the very values that Flux will use, so that Flux later takes the release over as it
is. external: Flux itself installs it from the external repository.
"""

from __future__ import annotations

import hashlib

from .. import node_addresses, versions
from ..clients.helm import GITLAB
from ..clients.kubectl import KubectlError
from ..clients.objects import NOTHING, KubeObject
from ..errors import Failure
from ..gitlab_check import GitLabCheck
from ..helm_records import drop_unfinished, install
from ..installed_gitlab import version_of_data
from ..lab import Lab
from ..probes import FLUX, GIT_REPOSITORY, HELM_RELEASE, KUSTOMIZATION, revision
from ..secret import Secret, hidden_address, random_secret
from ..settings import Settings
from .base import Stage
from .credential import certificate
from .early_secrets import bring_gitlabs
from .following import Following
from .login_secret import ensure_login_secret

WEBHOOK_RECEIVER = "http://webhook-receiver.flux-system.svc.cluster.local"


class InstallGitLab(Stage):
    name = "gitlab"
    purpose = "GitLab installed and healthy, its root password in a Secret"
    looks_at = ("GitLab's Deployment and Helm release", "the Secrets that it needs", "Flux's objects")
    changes = (
        "namespaces and Secrets",
        "the ConfigMap with the nodes' addresses",
        "infrastructure/ and GitLab's release, until Flux keeps them",
    )

    @classmethod
    def programs(cls, settings: Settings) -> set[str]:
        return super().programs(settings) | ({"helm"} if settings.self_hosted else Following.programs(settings))

    def run(self) -> None:
        settings = self.settings
        self._refuse_forbidden_upgrade()
        self.cluster.ensure_namespace(settings.gitlab_namespace)
        self.cluster.ensure_namespace(settings.app_namespace)
        self._look()
        ensure_ca(self.lab, settings.gitlab_namespace, self.gitlab_secrets.get("lab-ca", NOTHING))
        ensure_ca(self.lab, FLUX, self.flux_secrets.get("lab-ca", NOTHING))
        self._ensure_tls_copy()
        self._ensure_root_password()
        self._ensure_webhook_secrets()
        self._ensure_nodes_are_known()
        bring_gitlabs(self.lab)
        ensure_login_secret(self.lab)
        if settings.self_hosted:
            self._install_infrastructure()
            self._install_gitlab()
        else:
            Following(self.lab).follow_external_repository()
        self.probes.wait_for_gitlab()

    def _look(self) -> None:
        """Read the Secrets that GitLab needs, with one look a namespace."""
        names = ["lab-ca", "gitlab-root", "registry-webhook"]
        self.gitlab_secrets = self.cluster.find_several("secret", names, self.settings.gitlab_namespace)
        self.flux_secrets = self.cluster.find_several("secret", ["lab-ca", "receiver-token"], FLUX)

    def _refuse_forbidden_upgrade(self) -> None:
        """End the run where the lab's version cannot be reached in one step from what is installed."""
        installed = version_of_data(self.cluster, self.lab.gitlab_at_start)
        problem = versions.upgrade_problem(installed, self.lab.gitlab_version)
        if problem:
            raise Failure(
                problem,
                "https://docs.gitlab.com/update/upgrade_paths/",
                versions.way_from(installed, self.lab.gitlab_version),
            )

    def _ensure_tls_copy(self) -> None:
        """Copy the owner's certificate to where the applications run; renewed there when it is renewed."""
        settings = self.settings
        name, source, target = settings.tls_secret_name, settings.gitlab_namespace, settings.app_namespace
        if settings.tls_source != "secret" or source == target:
            return
        original = self.cluster.find("secret", name, source)
        if original is None:
            create = f"kubectl create secret tls {name} -n {source} --cert=CERTIFICATE --key=KEY"
            raise Failure(f"The Secret {source}/{name} is missing.", "", f"{create}\nthen run ./lab up --from gitlab")
        copy = self.cluster.find("secret", name, target)
        if copy is not None and copy.content.get("data") == original.content.get("data"):
            self.console.have(f"Secret {target}/{name}")
            return
        kept = {key: original.content[key] for key in ("apiVersion", "kind", "type", "data")}
        self.cluster.apply(f"Secret {target}/{name}, a copy", {**kept, "metadata": {"name": name, "namespace": target}})

    def _ensure_root_password(self) -> None:
        """Make root's password. GitLab reads it at its very first start, and never again."""
        namespace = self.settings.gitlab_namespace
        if "gitlab-root" in self.gitlab_secrets:
            self.console.have(f"Secret {namespace}/gitlab-root")
            return
        if self.cluster.find("deployment", "gitlab", namespace):
            self.console.warn(
                f"GitLab was set up without the Secret {namespace}/gitlab-root. The one made now holds a password "
                f"that is\n"
                "not root's. To set root's:\n"
                f"kubectl exec -it deploy/gitlab -n {namespace} -- gitlab-rake 'gitlab:password:reset[root]'"
            )
        self.cluster.put_secret(namespace, "gitlab-root", {"password": random_secret()})

    def _ensure_webhook_secrets(self) -> None:
        """Make the token that GitLab and Flux share, and the address that GitLab's registry tells of pushes.

        The address follows from the token, so GitLab can have it from its first start.
        """
        namespace = self.settings.gitlab_namespace
        token = self.flux_secrets.get("receiver-token", NOTHING).secret("token")
        if token:
            self.console.have("Secret flux-system/receiver-token")
        else:
            token = random_secret()
            self.cluster.put_secret(FLUX, "receiver-token", {"token": token})
        url = webhook_url(token, "registry")
        old = self.gitlab_secrets.get("registry-webhook", NOTHING).secret("url")
        if old == url:
            self.console.have(f"Secret {namespace}/registry-webhook")
        elif self.lab.dry_run and old:
            self.console.would(f"renew Secret {namespace}/registry-webhook")
        else:
            tell_registry(self.lab, url, was_told=bool(old))

    def _ensure_nodes_are_known(self) -> None:
        """Tell GitLab the nodes' addresses, which it must not ban. It reads them when it starts."""
        if not self.settings.rack_attack:
            return
        name, key, namespace = node_addresses.CONFIG_MAP, node_addresses.KEY, self.settings.gitlab_namespace
        try:
            wanted = node_addresses.of_all(self.cluster.nodes())
        except KubectlError as error:
            raise error.failure("list the nodes") from error
        there = self.cluster.find("configmap", name, namespace)
        known = (there.content.get("data") or {}).get(key) if there else None
        if known == wanted:
            self.console.have(f"GitLab knows the nodes' addresses, which it must not ban: {wanted}")
            return
        metadata = {"name": name, "namespace": namespace}
        manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {key: wanted}}
        self.cluster.apply(f"ConfigMap {namespace}/{name}, the nodes' addresses, which GitLab must not ban", manifest)
        if known is not None:
            self.console.warn(
                "GitLab knows the old addresses of the nodes until its next start:\n"
                f"kubectl rollout restart deploy/gitlab -n {namespace}"
            )

    def _install_infrastructure(self) -> None:
        """Apply namespaces, storage, Traefik's entry points; Flux keeps them once it follows the repository."""
        if self.cluster.find(KUSTOMIZATION, "infrastructure", FLUX):
            self.console.have("infrastructure/ is managed by Flux")
            return
        self.cluster.apply_folder("namespaces, storage, Traefik, network rules", self.lab.folder, "infrastructure")

    def _install_gitlab(self) -> None:
        """Install GitLab by Helm, unless Flux keeps the release already, or nothing would change."""
        settings = self.settings
        release = self.cluster.find(HELM_RELEASE, "gitlab", settings.gitlab_namespace)
        if release is not None and not self.lab.rescuing:
            self._leave_it_to_flux(release)
            return
        drop_unfinished(self.lab, GITLAB)
        installed = self.lab.helm.release()
        if installed and installed.status == "deployed" and installed.manifest == self.lab.helm.rendered():
            self.console.have("GitLab's release is installed as this working tree has it")
            return
        if self.lab.dry_run:
            self.console.would(f"install GitLab {self.lab.gitlab_version} with Helm, from charts/app and apps/gitlab/")
            return
        GitLabCheck(self.lab).run()
        self.console.doing(f"installing GitLab {self.lab.gitlab_version} with Helm")
        install(self.lab, self.lab.helm, "GitLab")
        self.console.did("GitLab is installed; now it sets itself up")

    def _leave_it_to_flux(self, release: KubeObject) -> None:
        """Say that Flux keeps GitLab, and end the run at once where that cannot bring it back.

        A GitLab that does not run cannot take the commit that fixes it.
        """
        if release.spec.get("suspend"):
            raise Failure(
                "GitLab's HelmRelease is suspended, so Flux does not manage it.",
                "flux get kustomizations; flux get helmreleases -A",
                "./lab rescue installs GitLab from this working tree, and gives it back to Flux",
            )
        problem = self.probes.gitlab_healthy()
        if problem is None:
            self.console.have("GitLab's release is managed by Flux")
            return
        source = self.cluster.find(GIT_REPOSITORY, FLUX, FLUX) or NOTHING
        if not self.lab.git.holds_head(revision(source)):
            raise Failure(
                f"GitLab does not run ({problem}), and Flux has another commit than this working tree.\n"
                "It cannot be pushed to a GitLab that does not run.",
                f"kubectl get pods -n {self.settings.gitlab_namespace}; git log -3",
                "wait if GitLab is only starting; otherwise ./lab rescue installs GitLab from this working tree",
            )
        self.console.warn(
            f"GitLab does not run yet: {problem}. Flux keeps it.\n"
            f"If that lasts longer than a start does: {self.probes.way_out()}"
        )


def ensure_ca(lab: Lab, namespace: str, there: KubeObject) -> None:
    """Keep the lab's own certificate authority as Secret lab-ca; ca.crt in the lab's folder is the source.

    Args:
        there: the Secret as it is.
    """
    if not lab.settings.private_ca:
        return
    if lab.dry_run and lab.settings.makes_authority and not lab.ca_file.is_file():
        lab.console.would(f"put the authority's certificate into Secret {namespace}/lab-ca")
        return
    wanted = certificate(lab)
    if there.value("ca.crt") == wanted:
        lab.console.have(f"Secret {namespace}/lab-ca")
        return
    lab.cluster.put_secret(namespace, "lab-ca", {"ca.crt": wanted})


def tell_registry(lab: Lab, url: Secret, *, was_told: bool) -> None:
    """Give GitLab's registry an address of Flux's. GitLab reads it when it starts, so a new one waits for its next
    start."""
    namespace = lab.settings.gitlab_namespace
    lab.cluster.put_secret(namespace, "registry-webhook", {"url": url})
    if was_told:
        lab.console.warn(
            f"GitLab's registry knows another address of Flux's until its next start:\n"
            f"kubectl rollout restart deploy/gitlab -n {namespace}"
        )


def webhook_url(token: Secret, receiver: str) -> Secret:
    """Return the address under which Flux's notification controller answers for a Receiver in flux-system.

    It is known before Flux has seen the Receiver, which saves GitLab a restart.
    https://fluxcd.io/flux/components/notification/receivers/#webhook-path
    """
    digest = hashlib.sha256(f"{token.reveal()}{receiver}{FLUX}".encode()).hexdigest()
    return hidden_address(f"{WEBHOOK_RECEIVER}/hook/{digest}")
