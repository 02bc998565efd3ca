"""certificates: cert-manager, the ClusterIssuer that signs, and what both need that is in no file here.

GitLab's release holds a Certificate, so cert-manager comes before GitLab, and before Flux follows the repository. Flux'
controllers run already: they install the chart of apps/cert-manager, which is applied from this working tree. From the
first push on Flux keeps both folders.
"""

from __future__ import annotations

import re
from pathlib import Path

from .. import lab_authority, sealed
from ..clients.kubectl import KubectlError
from ..clients.objects import NOTHING
from ..errors import Failure
from ..lab_authority import NAMESPACE
from ..patience import TimedOutError
from ..probes import FLUX, HELM_RELEASE, KUSTOMIZATION
from ..secret import Secret
from ..settings import Settings
from ..value_lines import read_values
from .asking import how_to_give
from .base import Stage
from .early_secrets import bring
from .flux import FIELD_MANAGER

CERT_MANAGER, ISSUER = "apps/cert-manager", "apps/cert-issuer"
CLUSTER_ISSUER = "clusterissuers.cert-manager.io"
DNS_NAME = "acme-dns"
SEALED = Path(ISSUER) / sealed.FOLDER / f"{DNS_NAME}{sealed.SUFFIX}"
VARIABLE = "LAB_ACME_DNS_FILE"
_SEALED_DOCUMENT = re.compile(r"^sops:", re.MULTILINE)


class Certificates(Stage):
    name = "certificates"
    purpose = "cert-manager and the issuer of the lab's certificates, if the lab makes them"
    looks_at = ("cert-manager's release and ClusterIssuer", "the Secret for DNS-01", "ca.crt")
    changes = (
        "apps/cert-manager and apps/cert-issuer, until Flux keeps them",
        "the Secret cert-manager/acme-dns, with DNS-01",
        "ca.crt in the lab's folder, with an authority that the lab makes",
    )

    def run(self) -> None:
        settings = self.settings
        if not settings.makes_issuer:
            self.console.skip(f"nothing to do: tls_source is {settings.tls_source}")
            return
        if settings.installs_cert_manager:
            self._install()
        if settings.dns_secret:
            self._ensure_dns_secret()
        self._make_issuer()
        if settings.makes_authority:
            lab_authority.write_certificate(self.lab)

    @classmethod
    def programs(cls, settings: Settings) -> set[str]:
        return super().programs(settings) | ({"sops"} if settings.dns_secret and settings.age_recipients else set())

    def _install(self) -> None:
        self.cluster.ensure_namespace(NAMESPACE)
        if self.cluster.find(KUSTOMIZATION, "cert-manager", FLUX):
            self.console.have("cert-manager is managed by Flux")
        else:
            self.cluster.apply_folder("cert-manager", self.lab.folder, CERT_MANAGER)
        self._wait("cert-manager", HELM_RELEASE, "cert-manager", NAMESPACE)

    def _make_issuer(self) -> None:
        """Apply the ClusterIssuer, without a Secret that only Flux can decrypt."""
        name = self.settings.cluster_issuer
        if self.cluster.find(KUSTOMIZATION, "cert-issuer", FLUX):
            self.console.have("the ClusterIssuer is managed by Flux")
        elif self.lab.dry_run:
            self.console.would(f"make the ClusterIssuer {name} from {ISSUER}/")
        else:
            try:
                built = self.cluster.kustomize(self.lab.folder / ISSUER)
            except KubectlError as error:
                raise Failure(f"{ISSUER} cannot be built: {error.words}", f"kubectl kustomize {ISSUER}") from error
            documents = re.split(r"^---\n", built, flags=re.MULTILINE)
            plain = "".join(f"---\n{one}" for one in documents if one.strip() and not _SEALED_DOCUMENT.search(one))
            self.cluster.apply_text(f"the ClusterIssuer {name}", plain, FIELD_MANAGER)
            self.console.did(f"ClusterIssuer {name}, from {ISSUER}/")
        self._wait(f"the ClusterIssuer {name}", CLUSTER_ISSUER, name, "")

    def _wait(self, what: str, kind: str, name: str, namespace: str) -> None:
        if self.lab.dry_run:
            return

        def probe() -> str | None:
            found = self.cluster.find(kind, name, namespace)
            if found is None:
                return "it is not there yet"
            return None if found.ready.is_true and found.is_seen else found.ready.message

        try:
            self.patience.wait(self.lab.limits.wait_flux_minutes, what, probe)
        except TimedOutError as late:
            where = f" -n {namespace}" if namespace else ""
            look = f"kubectl describe {kind.partition('.')[0]} {name}{where}"
            look += f"; kubectl logs deploy/cert-manager -n {NAMESPACE}"
            raise Failure(f"{what[0].upper()}{what[1:]} did not become ready: {late}", look) from late
        self.console.have(f"{what} is ready")

    # DNS-01

    def _ensure_dns_secret(self) -> None:
        """Bring what cert-manager proves to the DNS provider with: from its encrypted file, else from the owner."""
        self.cluster.ensure_namespace(NAMESPACE)
        wanted = dict(one.split("=", 1) for one in self.settings.dns_secret)
        there = self.cluster.find("secret", DNS_NAME, NAMESPACE) or NOTHING
        if (self.lab.folder / SEALED).is_file() and self.settings.age_recipients:
            bring(self.lab, SEALED.parent, "cert-issuer", NAMESPACE)
            return
        if all(there.secret(key) for key in wanted):
            self.console.have(f"Secret {NAMESPACE}/{DNS_NAME}")
            return
        if self.lab.dry_run:
            self.console.would(f"ask for {' and '.join(wanted.values())}, and keep it in Secret {NAMESPACE}/{DNS_NAME}")
            return
        self.cluster.put_secret(NAMESPACE, DNS_NAME, dict(self._ask(wanted)))

    def _ask(self, wanted: dict[str, str]) -> dict[str, Secret]:
        file = self.lab.environment.get(VARIABLE, "")
        if file:
            values = read_values(file)
            _refuse_lacking(wanted, values, f"{VARIABLE}={file}", "write a line NAME=value for each")
            return {key: values[key] for key in wanted}
        then = how_to_give(self.lab, VARIABLE, "\n".join(f"{key}=…" for key in wanted), "cert-issuer/acme-dns")
        if not self.console.terminal:
            raise Failure("There is no terminal to ask for the DNS provider's token.", "", then)
        values = {
            key: self.console.ask_secret(f"The DNS provider's {what} (not shown):") for key, what in wanted.items()
        }
        _refuse_lacking(wanted, values, "What was typed", then)
        return values


def _refuse_lacking(wanted: dict[str, str], values: dict[str, Secret], where: str, then: str) -> None:
    """End the run if a value is missing or empty."""
    lacking = [key for key in wanted if not (key in values and values[key].reveal().strip())]
    if lacking:
        raise Failure(f"{where} lacks {' and '.join(lacking)}.", "", then)
