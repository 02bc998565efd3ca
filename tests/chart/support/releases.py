"""Values that several tests use: the article's, the lab's hardest application, the least there is, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

Values = dict[str, Any]


def merged(*parts: Values) -> Values:
    """Return the parts merged as Helm merges values: maps deeply, everything else replaced."""
    result: Values = {}
    for part in parts:
        for key, value in part.items():
            both = isinstance(value, dict) and isinstance(result.get(key), dict)
            result[key] = merged(result[key], value) if both else value
    return result


# The article's values, as its readers have them: they must install as they stand.
ARTICLE: Values = yaml.safe_load(
    """
    image: {repository: registry.lab/groupname/appimage, tag: 1.0.0, registrySecret: regcred, imagePolicy: true}
    env: [{name: GITLAB_OMNIBUS_CONFIG, value: "external_url 'http://gitlab.example.com'"}]
    volumes:
      enabled: true
      nfs: {server: storage.lan, path: /storage/gitlab}
      mountPath: [config:/etc/gitlab, logs:/var/log/gitlab, data:/var/opt/gitlab]
    services:
      - {name: http, type: ClusterIP, servicePort: 80, targetPort: 80}
      - {name: ssh, type: LoadBalancer, servicePort: 2223, targetPort: 22}
    ingress:
      enabled: true
      ssl: true
      hosts: [{name: gitlab.lab, servicePort: 80}, {name: registry.lab, servicePort: 5050}]
    """
)

# The least that a release has to say.
LEAST: Values = {"image": {"repository": "registry.lab/homelab/demo", "tag": "1.0.0"}}
HTTP = {"name": "http", "servicePort": 80}

# The hardest application of a lab.
GITLAB: Values = yaml.safe_load(
    """
    image: {repository: docker.io/gitlab/gitlab-ce, tag: 19.2.4-ce.0}
    strategy: Recreate
    terminationGracePeriodSeconds: 180
    env:
      TZ: Europe/Warsaw
      GITLAB_OMNIBUS_CONFIG: from_file('/etc/gitlab-lab/gitlab.rb')
      GITLAB_ROOT_PASSWORD: {valueFrom: {secretKeyRef: {name: gitlab-root-password, key: password}}}
    volumes:
      items:
        files:
          existingClaim: gitlab-nfs
          mountPath: [config:/etc/gitlab, logs:/var/log/gitlab]
        data:
          claim: {size: 50Gi, storageClass: local-path}
          mountPath: /var/opt/gitlab
        shm:
          emptyDir: {medium: Memory, sizeLimit: 256Mi}
          mountPath: [/dev/shm]
        ca:
          configMap: {name: lab-ca}
          mountPath: [ca.crt:/etc/gitlab/trusted-certs/lab-ca.crt]
          readOnly: true
    configMaps:
      config:
        mountPath: /etc/gitlab-lab
        data:
          gitlab.rb: |
            external_url 'https://gitlab.lab'
    services:
      - {name: http, servicePort: 80}
      - {name: registry, servicePort: 5050}
      - {name: ssh, type: LoadBalancer, servicePort: 2223, targetPort: 22, externalTrafficPolicy: Local}
    ingress:
      enabled: true
      kind: IngressRoute
      tls: {issuer: letsencrypt}
      hosts:
        - {name: gitlab.lab, servicePort: 80}
        - {name: registry.lab, servicePort: 5050}
    tcpRoutes:
      - {name: ssh, entryPoint: ssh, servicePort: 2223}
    probes:
      startup:
        exec: {command: [sh, -c, test -e /opt/gitlab/etc/gitlab-healthcheck-rc && /opt/gitlab/bin/gitlab-healthcheck --fail]}
        periodSeconds: 10
        failureThreshold: 120
      readiness:
        exec: {command: [/opt/gitlab/bin/gitlab-healthcheck, --fail]}
    resources:
      requests: {cpu: 500m, memory: 4Gi}
    """
)

STATEFUL: Values = merged(
    LEAST, {"kind": "StatefulSet", "volumes": {"items": {"data": {"claim": {"size": "1Gi"}, "mountPath": "/data"}}}}
)

# What is wrong, and with it: the values, the value that the message names, what it says to do.
TABLE = yaml.safe_load((Path(__file__).resolve().parents[1] / "refused.yaml").read_text(encoding="utf-8"))
REFUSED: dict[str, tuple[Any, str, str]] = {row["what"]: (row["values"], row["names"], row["fix"]) for row in TABLE}
REFUSED["a configuration of more than a mebibyte"] = (
    {"configMaps": {"big": {"data": {"x": "y" * 2**20}}}},
    "configMaps.big",
    "1 MiB",
)
