"""The files of one application, in the shape that the template gives the sample application."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..settings import Settings

# What YAML reads as text without quotes, and words that it does not (YAML 1.1, which kustomize and Helm read).
_PLAIN = re.compile(r"[a-z/][a-zA-Z0-9./:_-]*(?<!:)")
_WORDS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}
# docs/sign-in.md says what the application learns of who is there.
SIGN_IN = "      signIn:\n        enabled: true\n"
# MiB that are set aside for an application, unless it may take less.
REQUEST = 64
CERTIFICATES = """\
    # So are the definitions of certificates. The release waits for no certificate.
    - name: cert-manager
      readyExpr: has(dep.status.lastAppliedRevision)
"""


@dataclass(frozen=True)
class Application:
    """What its owner has said of an application, or the defaults.

    Attributes:
        secret: the Secret whose values its environment has; none if this is empty.
        sign_in: whether its visitors have to log in at GitLab.
    """

    name: str
    project: str
    host: str
    port: str
    health: str
    memory: str
    secret: str = ""
    sign_in: bool = False

    def image(self, settings: Settings) -> str:
        """Return its image without a tag. GitLab lowers a project's path for it."""
        return f"{settings.registry_address}/{self.project.lower()}"

    @property
    def request(self) -> str:
        """What is set aside for it, which may not be more than the most that it may take."""
        small = self.memory.endswith("Mi") and int(self.memory[:-2]) < REQUEST
        return self.memory if small else f"{REQUEST}Mi"

    def kustomization(self, settings: Settings) -> str:
        return f"""\
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: {yaml(settings.app_namespace)}
resources:
  - helmrelease.yaml
{"components:" + chr(10) + "  - secrets" + chr(10) if self.secret else ""}"""

    def flux_kustomization(self, settings: Settings) -> str:
        return f"""\
# {self.name}, built by {self.project}. With GitLab down it keeps running. Flux applies its release and does not wait for it here: an
# application that is not ready must hold up nobody else.
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata:
  name: {yaml(self.name)}
  namespace: flux-system
spec:
  dependsOn:
    - name: infrastructure
      # Once it was applied at all: what it holds is there. Flux's own check waits for this very commit.
      readyExpr: has(dep.status.lastAppliedRevision)
{CERTIFICATES if settings.installs_cert_manager else ""}  interval: 10m
  retryInterval: 20s
  timeout: 2m
  path: ./apps/{self.name}
  prune: true
  sourceRef:
    kind: GitRepository
    name: flux-system
"""

    def helm_release(self, settings: Settings) -> str:
        return f"""\
# {self.name}, built by {self.project}. Flux scans the registry for its image and writes each new version into the
# line with the tag.
# 0.0.0 means none yet: nothing runs before the first image. automation/image-updates.yaml says how to hold it, pin
# it and go back.
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata:
  name: {yaml(self.name)}
spec:
  # What somebody changes in the cluster by hand is put back within this time.
  interval: 1m
  timeout: 5m
  releaseName: {yaml(self.name)}
  chart:
    spec:
      chart: ./charts/app
      reconcileStrategy: ChartVersion
      sourceRef:
        kind: GitRepository
        name: flux-system
        namespace: flux-system
  # The release is done when its objects are in the cluster. Waiting for them would keep out the image that fixes a broken
  # one, and an image policy is not ready before the first image. What runs: kubectl get deployments -A
  install:
    disableWait: true
    strategy:
      name: RetryOnFailure
      retryInterval: 1m
  upgrade:
    disableWait: true
    strategy:
      name: RetryOnFailure
      retryInterval: 1m
  driftDetection:
    mode: enabled
  values:
{self._values(settings)}"""

    def _values(self, settings: Settings) -> str:
        return f"""\
    image:
      repository: {yaml(self.image(settings))}
      tag: 0.0.0 # {{"$imagepolicy": "flux-system:{self.name}:tag"}}
      registrySecret: regcred
      imagePolicy: true
    imagePolicy:
      interval: {settings.scan_interval}
{"      caSecret: lab-ca" + chr(10) if settings.private_ca else ""}\
{self._environment()}\
    services:
      - name: http
        servicePort: 80
        targetPort: {self.port}
    ingress:
      enabled: true
      ssl: true
{_tls(settings)}{SIGN_IN if self.sign_in else ""}\
      hosts:
        - name: {yaml(self.host)}
          servicePort: 80
    probes:
      readiness:
{self._readiness()}\
    resources:
      requests:
        cpu: 10m
        memory: {self.request}
      limits:
        memory: {self.memory}
{_SECURITY}{_network(settings)}"""

    def _environment(self) -> str:
        """Return what the release takes from its Secret, whose change replaces its pods."""
        return f"    envFrom:\n      - secretRef:\n          name: {yaml(self.secret)}\n" if self.secret else ""

    def _readiness(self) -> str:
        if self.health:
            return f"        httpGet:\n          path: {self.health}\n          port: http\n"
        return "        tcpSocket:\n          port: http\n"


# What Pod Security "restricted" asks for, and more.
_SECURITY = """\
    # The USER of its image has to be a number other than 0; otherwise name one here, as runAsUser.
    podSecurityContext:
      runAsNonRoot: true
      seccompProfile:
        type: RuntimeDefault
    securityContext:
      allowPrivilegeEscalation: false
      # It may write to /tmp alone. An image that writes elsewhere gets a volume there, as below, or false here.
      readOnlyRootFilesystem: true
      capabilities:
        drop:
          - ALL
    volumes:
      items:
        tmp:
          emptyDir:
            sizeLimit: 1Gi
          mountPath: /tmp
"""


def _network(settings: Settings) -> str:
    """Return who may call it, and what it may call."""
    text = """\
    # Traefik may call it, and it may call DNS and the internet. charts/app/README.md says how to open more.
    networkPolicy:
      enabled: true
"""
    if settings.traefik_kind == "other":
        text += '      traefik:\n        namespace: ""\n'
    if settings.own_public_networks:
        text += "      to:\n        notInternet:\n"
        text += "".join(f"          - {quoted(one)}\n" for one in settings.own_public_networks.split())
    return text


def _tls(settings: Settings) -> str:
    """Return what the ingress says of ports and certificates."""
    text = f"      httpsPort: {settings.https_port}\n" if settings.https_port != 443 else ""
    if settings.cluster_issuer:
        text += f"      tls:\n        issuer: {yaml(settings.cluster_issuer)}\n"
    if settings.tls_source == "secret":
        text += f"      tls:\n        secretName: {yaml(settings.tls_secret_name)}\n"
    return text


def yaml(word: str) -> str:
    """Return *word* as YAML reads it back, as text."""
    return word if _PLAIN.fullmatch(word) and word not in _WORDS else quoted(word)


def quoted(word: str) -> str:
    """Return *word* in quotes; none of those that come here holds one."""
    return f'"{word}"'
