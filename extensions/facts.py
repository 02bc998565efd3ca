"""What follows from the answers: addresses, names and sizes that several files of the lab share, each derived once."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any, cast

from .answers import Answers
from .images import pinned

# Versions that the lab pins and no question asks for. Renovate proposes newer ones in the lab itself. With a new version
# comes its digest, in images.py.
FLUX_VERSION = "2.9.4"
# The owner's own tools (.mise.toml); kubectl is as new as the image below, flux as Flux.
HELM_VERSION = "4.2.4"
SOPS_VERSION = "3.11.0"
AGE_VERSION = "1.2.1"
KUBECTL_IMAGE = "registry.k8s.io/kubectl:v1.36.4"
BUILDKIT_IMAGE = "moby/buildkit:v0.33.0-rootless"
JOB_IMAGE = "alpine:3.22"
PYTHON_IMAGE = "python:3.13-slim"
CERT_MANAGER_VERSION = "v1.21.2"
# OpenTofu with a shell, in the jobs of the project for infrastructure.
TOFU_IMAGE = "ghcr.io/opentofu/opentofu:1.12.6"
# What asks visitors of an application to log in at GitLab. The newest whose digest two owners publish.
SIGN_IN_IMAGE = "quay.io/oauth2-proxy/oauth2-proxy:v7.15.5"
# What moves backups to another place.
RCLONE_IMAGE = "rclone/rclone:1.75.1"
# What keeps Docker Hub's images in the house: CNCF Distribution, as a pull-through cache.
DOCKER_HUB_CACHE_IMAGE = "docker.io/library/registry:3.1.1"
PROXMOX_PROVIDER = "~> 0.111.1"
AWS_PROVIDER = "~> 6.62"
HTTP_PROVIDER = "~> 3.5"
# The newest that is known: a new lab gets it, and messages name it. 19.3.2 fixes what is critical in 19.3.0 and 19.3.1.
DEFAULT_GITLAB_VERSION = "19.3.2"
DEFAULT_DOCKER_VERSION = "29.8.1"
# Debian 13's cloud image of one date. Two owners who have nothing to do with one another publish this checksum of it.
DEFAULT_VM_IMAGE = {
    "url": "https://cloud.debian.org/images/cloud/trixie/20260914-2601/debian-13-genericcloud-amd64-20260914-2601.qcow2",
    "checksum": "95e110dfcdbd0ed8a82a75ed9579802f9950cabf51a810dcc6388e81bc778188713878b9f28d583a0ea602fbf48b35996ae9ad37f584166d8fbd6489df248f53",
}

# Secrets that the bootstrap makes, and the manifests refer to. None of them is ever in Git.
SECRETS = {
    "git": "flux-system",
    "registry": "regcred",
    "ca": "lab-ca",
    "root": "gitlab-root",
    "owner": "gitlab-owner",
    "receiver": "receiver-token",
    "status": "gitlab-status",
    "registry_webhook": "registry-webhook",
    "runner": "gitlab-runner-token",
    # The owner's private key, with which Flux decrypts what SOPS encrypted.
    "age": "sops-age",
    # What cert-manager proves to the DNS provider with, in its namespace.
    "acme_dns": "acme-dns",
    # GitLab's OAuth application for the sign-in, and the key of its cookies.
    "sign_in": "sign-in",
    # What GitLab itself logs people in with, at a provider of the owner's.
    "login": "gitlab-login",
    # The owner's, and optional: what gitlab.rb may read as ENV['…'].
    "gitlab_env": "gitlab-env",
    # The owner's, and optional: an account of Docker Hub, as which the cache pulls.
    "docker_hub": "docker-hub-account",
    # The alarm's: the token or webhook of its channel, and its token for GitLab's API.
    "alerts": "alerts",
    "alerts_gitlab": "alerts-gitlab",
    # The access key of the place that backups are sent to, and the public key that they are encrypted for.
    "backup_target": "backup-target",
}
# What the alarm's Secret holds for each answer to `alerts`; mail goes by GitLab's own settings.
ALERTS_SECRETS = {"ntfy": "token", "gotify": "token", "matrix": "token", "discord": "url", "slack": "url"}
# GitLab's sshd listens here inside the pod; Traefik's extra entry point listens here inside its own.
SSHD_PORT = 22
TRAEFIK_SSH_PORT = 2222
# What GitLab's own services take inside the pod (docs.gitlab.com/administration/package_information/defaults/).
POD_PORTS = {
    22: "sshd",
    5000: "the registry",
    5001: "the registry's debug page",
    6379: "Redis",
    5432: "PostgreSQL",
    8060: "NGINX's status page",
    8080: "Puma",
    8082: "Sidekiq's metrics",
    8092: "Sidekiq's health check",
    8150: "KAS",
    8151: "KAS",
    8153: "KAS",
    8154: "KAS",
    8155: "KAS",
    9168: "GitLab's exporter",
    9229: "Workhorse's metrics",
    9236: "Gitaly's metrics",
}
RUNNER_NAMESPACE = "gitlab-runner"
# Answers to `tls_source` with which the lab makes a ClusterIssuer, and its name.
ISSUERS = {
    "letsencrypt-http": "lab-letsencrypt",
    "letsencrypt-dns": "lab-letsencrypt",
    "lab-authority": "lab-authority",
}
ACME_SOURCES = frozenset({"letsencrypt-http", "letsencrypt-dns"})
# Let's Encrypt's directories (letsencrypt.org/docs/acme-protocol-updates/, letsencrypt.org/docs/staging-environment/).
ACME_DIRECTORIES = {
    "production": "https://acme-v02.api.letsencrypt.org/directory",
    "staging": "https://acme-staging-v02.api.letsencrypt.org/directory",
}
# What the Secret of each provider holds (cert-manager.io/docs/configuration/acme/dns01/), by what the owner is asked for.
DNS_SECRETS = {
    "cloudflare": {"api-token": "API token, with Zone.DNS:Edit and Zone.Zone:Read"},
    "route53": {"access-key-id": "access key ID", "secret-access-key": "secret access key"},
    "rfc2136": {"tsig-secret": "TSIG secret"},
}
# Where cert-manager looks for the Secrets of ClusterIssuers.
CERT_MANAGER_NAMESPACE = "cert-manager"
# What each answer to `sign_up` sets in GitLab (docs.gitlab.com/administration/settings/sign_up_restrictions/); `as-set` sets nothing.
SIGN_UP = {
    "closed": {"signup_enabled": False},
    "approval": {"signup_enabled": True, "require_admin_approval_after_user_signup": True},
    "open": {"signup_enabled": True, "require_admin_approval_after_user_signup": False},
    "as-set": {},
}
# The sample application: its project below the main group, its host below the base domain, its release.
SAMPLE_NAME = "demo"
# The sign-in's release, and its host below the base domain.
SIGN_IN_NAME = "sign-in"
# The project for infrastructure, beside the lab's own project.
IAC_NAME = "iac"
# What may run privileged beside a job: Docker's own image, as pipelines spell it, with or without a digest.
PRIVILEGED_SERVICES = [
    f"{name}:*-dind{digest}" for name in ("docker", "docker.io/library/docker") for digest in ("", "@sha256:*")
]
# What Docker and its daemon beside the job share.
DOCKER_CERTIFICATES = "/certs/client"
# Where a job finds the certificate of the lab's own authority.
JOB_CA_FOLDER = "/usr/local/share/ca-certificates/lab"
# Where GitLab's pod finds it, before it is copied to the certificates that GitLab trusts.
GITLAB_CA_FOLDER = "/etc/gitlab-ca"
# What tells a job's own builder to ask the cache first, by what builds: its file, and where the builder looks for it
# (docs.docker.com/reference/cli/dockerd/, github.com/moby/buildkit/blob/master/docs/buildkitd.toml.md).
CACHE_FILES = {
    "dind": ("daemon.json", "/etc/docker/daemon.json"),
    "buildkit": ("buildkitd.toml", "/home/user/.config/buildkit/buildkitd.toml"),
}
# What no host on the internet has (RFC 1918, RFC 4193, RFC 4291).
PRIVATE_NETWORKS = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fe80::/10")
# The deploy token that pushes images where `pipeline_auth` is `group-variable` has this user name.
REGISTRY_PUSH_USER = "lab-push"


def top_groups(groups: list[str]) -> list[str]:
    """Return the groups, each once, that lie below none of the others: a group's runner serves all below it."""
    known = {one.lower(): one for one in reversed(groups)}
    below = {one for one in known for other in known if one.startswith(f"{other}/")}
    return [one for one in dict.fromkeys(known[each.lower()] for each in groups) if one.lower() not in below]


def parts_of(image: str) -> dict[str, str]:
    """Return an image, its tag and its digest apart, as charts/app takes them."""
    name, _, digest = pinned(image).partition("@")
    repository, _, tag = name.rpartition(":")
    return {"repository": repository, "tag": tag, "digest": digest}


def token_variable(group: str) -> str:
    """Return the variable for the token of a group's runner: another one for each path, however GitLab spells its capitals."""
    escaped = "".join(
        one.upper() if one.isalnum() else "__" if one == "_" else f"_{ord(one):02X}" for one in group.lower()
    )
    return f"RUNNER_TOKEN_OF_{escaped}"


class Lab:
    """The facts of one lab, computed when a template asks for one.

    Args:
        answers: the answers so far, by question; a fact needs only those that it is made of.
    """

    flux_version = FLUX_VERSION
    helm_version = HELM_VERSION
    sops_version = SOPS_VERSION
    age_version = AGE_VERSION
    kubectl_version = KUBECTL_IMAGE.rpartition(":v")[2]
    kubectl_image = pinned(KUBECTL_IMAGE)
    # What copies files in a pod.
    shell_image = pinned(JOB_IMAGE)
    buildkit_image = pinned(BUILDKIT_IMAGE)
    python_image = pinned(PYTHON_IMAGE)
    rclone_image = pinned(RCLONE_IMAGE)
    proxmox_provider = PROXMOX_PROVIDER
    aws_provider = AWS_PROVIDER
    http_provider = HTTP_PROVIDER
    tofu_image = pinned(TOFU_IMAGE)
    tofu_version = TOFU_IMAGE.rpartition(":")[2]
    job_ca_folder = JOB_CA_FOLDER
    gitlab_ca_folder = GITLAB_CA_FOLDER
    registry_push_user = REGISTRY_PUSH_USER
    secret = SECRETS
    privileged_services = PRIVILEGED_SERVICES
    runner_namespace = RUNNER_NAMESPACE
    sshd_port = SSHD_PORT
    cert_manager_version = CERT_MANAGER_VERSION
    cert_manager_namespace = CERT_MANAGER_NAMESPACE
    traefik_ssh_port = TRAEFIK_SSH_PORT

    def __init__(self, answers: Answers) -> None:
        self._answers = answers

    def _(self, name: str) -> Any:
        """Return an answer whose question's name is made, or not known to mypy yet."""
        return cast("Mapping[str, Any]", self._answers)[name]

    @cached_property
    def port_suffix(self) -> str:
        """`:8443` where https is not on its usual port, otherwise nothing."""
        return "" if self._answers["https_port"] == 443 else f":{self._answers['https_port']}"

    @cached_property
    def gitlab_url(self) -> str:
        return f"https://{self._answers['gitlab_host']}{self.port_suffix}"

    @cached_property
    def registry_address(self) -> str:
        """The registry as image names spell it: host, and port where it is not 443."""
        return f"{self._answers['registry_host']}{self.port_suffix}"

    @cached_property
    def registry_url(self) -> str:
        return f"https://{self.registry_address}"

    @cached_property
    def makes_issuer(self) -> bool:
        """Whether the lab makes the ClusterIssuer that signs its certificates."""
        return self._answers["tls_source"] in ISSUERS

    @cached_property
    def installs_cert_manager(self) -> bool:
        return self.makes_issuer and self._answers["cert_manager"] == "lab"

    @cached_property
    def cluster_issuer(self) -> str:
        """The ClusterIssuer that signs the lab's certificates; nothing if something else makes them."""
        source = self._answers["tls_source"]
        return self._answers["cluster_issuer"] if source == "cert-manager" else ISSUERS.get(source, "")

    @cached_property
    def acme_directory(self) -> str:
        return ACME_DIRECTORIES[self._answers["acme_server"]]

    @cached_property
    def acme_dns_server(self) -> str:
        """The server for RFC 2136 as cert-manager takes it: an IPv6 address in brackets, with a port."""
        server = self._answers["acme_dns_server"]
        if server.count(":") > 1 and not server.startswith("["):
            server = f"[{server}]"
        return server if re.search(r"[^\]:]:[0-9]+$|\]:[0-9]+$", server) else f"{server}:53"

    @cached_property
    def dns_secret(self) -> list[str]:
        """What cert-manager needs for DNS-01: the keys of its Secret, each with what it is; none without DNS-01."""
        found = (
            DNS_SECRETS[self._answers["acme_dns_provider"]] if self._answers["tls_source"] == "letsencrypt-dns" else {}
        )
        return [f"{key}={what}" for key, what in found.items()]

    @cached_property
    def main_group(self) -> str:
        """The group that holds the sample application."""
        return self._answers["groups"][0]

    @cached_property
    def project(self) -> str:
        return f"{self._answers['lab_group']}/{self._answers['lab_name']}"

    @cached_property
    def sample_project(self) -> str:
        return f"{self.main_group}/{SAMPLE_NAME}"

    @cached_property
    def sample_image(self) -> str:
        """Docker knows lower-case names only; GitLab lowers the group's path in the same way."""
        return f"{self.registry_address}/{self.sample_project.lower()}"

    @cached_property
    def sample_host(self) -> str:
        return f"{SAMPLE_NAME}.{self._answers['base_domain']}"

    @cached_property
    def signs_in(self) -> bool:
        """Whether the lab runs a sign-in for its applications."""
        return self._answers["sign_in"] == "gitlab"

    @cached_property
    def sign_in_host(self) -> str:
        """Where people come back to from GitLab; nothing without a sign-in."""
        return f"{SIGN_IN_NAME}.{self._answers['base_domain']}" if self.signs_in else ""

    @cached_property
    def sign_in_url(self) -> str:
        return f"https://{self.sign_in_host}{self.port_suffix}" if self.signs_in else ""

    sign_in_image = parts_of(SIGN_IN_IMAGE)
    docker_hub_cache_image = parts_of(DOCKER_HUB_CACHE_IMAGE)

    @cached_property
    def docker_hub_cache_address(self) -> str:
        """The cache of Docker Hub: host, and port where it is not 443; nothing without one."""
        return (
            f"{self._answers['docker_hub_cache_host']}{self.port_suffix}" if self._answers["docker_hub_cache"] else ""
        )

    @cached_property
    def docker_hub_cache_url(self) -> str:
        return f"https://{self.docker_hub_cache_address}" if self._answers["docker_hub_cache"] else ""

    @cached_property
    def docker_hub_cache_networks(self) -> list[str]:
        """Who may use the cache: private addresses, and what the owner names; the rest of the internet may not."""
        named = [*self._answers["trusted_proxies"], *self._answers["node_networks"]]
        private: list[Any] = [ipaddress.ip_network(one) for one in PRIVATE_NETWORKS]
        parsed = [(one, ipaddress.ip_network(one)) for one in dict.fromkeys(named)]
        return [
            *PRIVATE_NETWORKS,
            *(
                name
                for name, one in parsed
                if not any(one.version == all_.version and one.subnet_of(all_) for all_ in private)
            ),
        ]

    @cached_property
    def cache_file(self) -> str:
        """The runner's file that leads a job's own builder to the cache; nothing without a cache or a runner."""
        used = self._answers["docker_hub_cache"] and self._answers["runner_kind"] != "none"
        return CACHE_FILES[self._answers["build_method"]][0] if used else ""

    @cached_property
    def cache_file_path(self) -> str:
        """Where the builder looks for that file."""
        return CACHE_FILES[self._answers["build_method"]][1] if self.cache_file else ""

    @cached_property
    def machine_cache_file(self) -> str:
        """That file if the runner has a machine, where it lies beside the runner's other files."""
        return self.cache_file if self._answers["runner_kind"] == "docker" else ""

    @cached_property
    def login_callback(self) -> str:
        """Where the owner's provider sends people back to GitLab (docs.gitlab.com/administration/auth/oidc/)."""
        return f"{self.gitlab_url}/users/auth/openid_connect/callback"

    @cached_property
    def git_service_host(self) -> str:
        """GitLab's SSH Service as the cluster's own DNS knows it: no outside DNS, certificate or router is needed."""
        return f"gitlab-ssh.{self._answers['gitlab_namespace']}.svc.cluster.local"

    @cached_property
    def gitops_url(self) -> str:
        """The repository that Flux follows and writes image tags to."""
        if self._answers["gitops_source"] == "external":
            return self._answers["gitops_url"]
        return f"ssh://git@{self.git_service_host}:{self._answers['ssh_port']}/{self.project}.git"

    @cached_property
    def ssh_clone_prefix(self) -> str:
        return f"ssh://git@{self._answers['gitlab_host']}:{self._answers['ssh_port']}"

    @cached_property
    def repository_url(self) -> str:
        """The repository as the owner's own machine reaches it."""
        return (
            self._answers["gitops_url"]
            if self._answers["gitops_source"] == "external"
            else f"{self.ssh_clone_prefix}/{self.project}.git"
        )

    @cached_property
    def backends(self) -> dict[str, str]:
        """Where each of GitLab's three directories lives."""
        storage, data = self._answers["storage_backend"], self._answers["data_backend"]
        return {"config": storage, "logs": storage, "data": data}

    @cached_property
    def uses_nfs(self) -> bool:
        return "nfs" in self.backends.values()

    @cached_property
    def nfs_capacity(self) -> str:
        """What the volume on the storage server is said to hold; NFS itself enforces nothing."""
        return self._answers["data_size"] if self._answers["data_backend"] == "nfs" else self._answers["logs_size"]

    @cached_property
    def gitlab_root(self) -> str:
        return f"{self._answers['storage_root']}/gitlab"

    @cached_property
    def claim_sizes(self) -> dict[str, str]:
        """The claims that the GitLab release makes itself, with their sizes."""
        return {name: self._(f"{name}_size") for name, backend in self.backends.items() if backend == "storage-class"}

    @cached_property
    def resources(self) -> dict[str, dict[str, str]]:
        """Requests and limits of GitLab's pod: small is seen at 2.4 GiB at rest, standard follows GitLab's 8 GB."""
        if self._answers["gitlab_size"] == "small":
            return {"requests": {"cpu": "500m", "memory": "3Gi"}, "limits": {"memory": "5Gi"}}
        return {"requests": {"cpu": "1", "memory": "6Gi"}, "limits": {"memory": "10Gi"}}

    @cached_property
    def owns_app_namespace(self) -> bool:
        """Whether nothing but the lab's applications is in their namespace; `default` is there before the lab."""
        return self._answers["app_namespace"] != "default"

    @cached_property
    def isolates_app_namespace(self) -> bool:
        """Whether what runs there is held to the limits of the lab by Kubernetes itself."""
        return self._answers["app_security"] == "enforced" and self.owns_app_namespace

    @cached_property
    def namespaces(self) -> list[dict[str, Any]]:
        """The namespaces that the lab makes, or labels. Docker-in-Docker needs a privileged one.

        Levels and modes: https://kubernetes.io/docs/concepts/security/pod-security-admission/
        """
        modes = ("enforce", "audit", "warn") if self.isolates_app_namespace else ("audit", "warn")
        found: list[dict[str, Any]] = [
            {"name": self._answers["gitlab_namespace"], "labels": {}},
            {
                "name": self._answers["app_namespace"],
                "labels": {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in modes},
            },
        ]
        if self.installs_cert_manager:
            found.append({"name": CERT_MANAGER_NAMESPACE, "labels": {}})
        if self._answers["runner_kind"] == "kubernetes":
            found.append({"name": RUNNER_NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "privileged"}})
        return found

    @cached_property
    def makes_runner(self) -> bool:
        """Whether the lab makes the runner's machine itself."""
        return self._answers["runner_kind"] == "docker" and self._answers["runner_machine"] == "proxmox"

    @cached_property
    def has_iac(self) -> bool:
        """Whether the lab has a project for infrastructure, and so the folder iac/."""
        return self.makes_runner or self.uses_aws

    @cached_property
    def uses_aws(self) -> bool:
        """Whether the lab has something at AWS."""
        return self._answers["aws"] != "none"

    @cached_property
    def aws_login(self) -> str:
        """How jobs log in to AWS; nothing if the lab does not use it."""
        return self._answers["aws_login"] if self.uses_aws else ""

    @cached_property
    def publishes_issuer(self) -> bool:
        """Whether GitLab's public keys lie in a bucket, as AWS cannot ask GitLab for them."""
        return self.aws_login == "oidc" and self._answers["aws_issuer_bucket"] != ""

    @cached_property
    def token_issuer(self) -> str:
        """Who signs jobs' tokens, as the tokens say it: GitLab's own address, or the bucket's."""
        if not self.publishes_issuer:
            return self.gitlab_url
        return f"https://{self._answers['aws_issuer_bucket']}.s3.{self._answers['aws_region']}.amazonaws.com"

    @cached_property
    def uploads_backups(self) -> bool:
        """Whether GitLab's backups go to the bucket at AWS as well."""
        return self.uses_aws and self._answers["backups"]

    @cached_property
    def iac_project(self) -> str:
        """The GitLab project for infrastructure; nothing if there is none."""
        if not self.has_iac:
            return ""
        # Whoever maintains the lab's own project administers the lab anyway. With another Git server it is not in GitLab.
        group = (
            self._answers["lab_group"]
            if self._answers["gitops_source"] == "self"
            else f"{self._answers['lab_name']}-ops"
        )
        return f"{group}/{IAC_NAME}"

    @cached_property
    def runner_name(self) -> str:
        return f"lab-{self._answers['lab_name']}"

    @cached_property
    def runners(self) -> list[dict[str, Any]]:
        """The runners of GitLab's that one process on the machine, or in the cluster, serves; each has a token of its own.

        A runner belongs to the whole instance, to one group with all below it, or to projects
        (docs.gitlab.com/ci/runners/runners_scope/). The lab's program makes them: lab_program/runners.py has the same list.
        """
        cache = (
            [f"{self._answers['runner_home']}/{self.cache_file}:{self.cache_file_path}:ro"]
            if self.machine_cache_file
            else []
        )
        building = {"image": self.job_image, "volumes": [*self.runner_volumes, *cache], "protected": False}
        if self._answers["runner_scope"] == "instance":
            found = [{"name": self.runner_name, "variable": "RUNNER_TOKEN", **building}]
        else:
            own = [self.project.rpartition("/")[0]] if self._answers["gitops_source"] == "self" else []
            served = top_groups([*self._answers["groups"], *own])
            found = [
                {"name": f"{self.runner_name} of {one}", "variable": token_variable(one), **building} for one in served
            ]
        volumes = [volume for volume in self.runner_volumes if volume != DOCKER_CERTIFICATES]
        protected = {"image": pinned(JOB_IMAGE), "volumes": volumes, "protected": True}
        if self._answers["gitops_source"] == "self":
            of = "the lab's own project alone: its jobs hold what may change the lab"
            own_name = {"name": f"{self.runner_name} protected", "variable": "RUNNER_TOKEN_PROTECTED"}
            found.append({**own_name, **protected, "of": of})
        if self.iac_project:
            of = "the project for machines alone: its jobs hold what makes and destroys them"
            own_name = {"name": f"{self.runner_name} machines", "variable": "RUNNER_TOKEN_MACHINES"}
            found.append({**own_name, **protected, "of": of})
        return found

    @cached_property
    def runner_tag(self) -> str:
        """The runner goes with GitLab's major and minor version (docs.gitlab.com/runner/#gitlab-runner-versions)."""
        major, minor, _ = self._answers["gitlab_version"].split(".")
        return f"alpine-v{major}.{minor}.0"

    @cached_property
    def runner_image(self) -> str:
        return pinned(f"gitlab/gitlab-runner:{self.runner_tag}")

    @cached_property
    def runner_volumes(self) -> list[str]:
        """What every job mounts: a cache, Docker-in-Docker's certificates, and the certificate of an own authority."""
        volumes = [DOCKER_CERTIFICATES, "/cache"] if self._answers["build_method"] == "dind" else ["/cache"]
        if self._answers["private_ca"]:
            volumes.append(f"{self._answers['runner_home']}/ca.crt:{JOB_CA_FOLDER}/ca.crt:ro")
        return volumes

    @cached_property
    def job_environment(self) -> list[str]:
        """What makes every Go program in a job (Docker, BuildKit) trust the own authority beside the public ones."""
        return [f"SSL_CERT_DIR=/etc/ssl/certs:{JOB_CA_FOLDER}"] if self._answers["private_ca"] else []

    @cached_property
    def job_image(self) -> str:
        """What a job runs in where its pipeline names no image."""
        return self.docker_client_image if self._answers["build_method"] == "dind" else pinned(JOB_IMAGE)

    @cached_property
    def docker_client_image(self) -> str:
        """Docker's client: in the version that was answered, where jobs have a daemon of it beside them."""
        version = self._answers["docker_version"] if self._answers["build_method"] == "dind" else DEFAULT_DOCKER_VERSION
        return pinned(f"docker:{version}-cli")

    @cached_property
    def docker_daemon_image(self) -> str:
        return pinned(f"docker:{self._answers['docker_version']}-dind")

    @cached_property
    def pods_use_ipv6(self) -> bool:
        """Whether Traefik may call GitLab over IPv6, on which its NGINX does not listen by itself."""
        return any(":" in network for network in self._answers["trusted_proxies"])

    @cached_property
    def sign_up_settings(self) -> dict[str, bool]:
        """The settings of GitLab's that say who may make an account; none if GitLab keeps what it has."""
        return SIGN_UP[self._answers["sign_up"]]

    @cached_property
    def alerts_entry(self) -> str:
        """What the Secret of the alarm holds: `token` or `url`; nothing if it needs none."""
        return ALERTS_SECRETS.get(self._("alerts"), "")

    @cached_property
    def backup_keep_seconds(self) -> int:
        return self._answers["backup_keep_days"] * 86400

    @cached_property
    def sends_backups(self) -> bool:
        """Whether each backup is sent to another place as well."""
        return self._answers["backups"] and self._answers["backup_target"] != "none"

    @cached_property
    def backup_place(self) -> str:
        """Where backups are sent to, for people; nothing if they are not."""
        if not self.sends_backups:
            return ""
        if self._answers["backup_target"] == "s3":
            return f"s3://{self._answers['backup_bucket']}/{self._answers['backup_prefix']}"
        server = self._answers["backup_nfs_server"]
        return f"{server}:{self._answers['backup_folder']}" if server else self._answers["backup_folder"]

    @cached_property
    def backup_entries(self) -> list[str]:
        """What the Secret for the place of the backups holds: an access key for S3, and a public key if the lab has none of its own."""
        if not self.sends_backups:
            return []
        keys = ["access-key-id", "secret-access-key"] if self._answers["backup_target"] == "s3" else []
        return [*keys, *([] if self._answers["age_recipients"] else ["recipients"])]

    @cached_property
    def unbanned_networks(self) -> list[str]:
        """Who may never be banned: GitLab's pod itself, and what the owner names. The pods' network is no part: applications are in it."""
        return ["127.0.0.1", *self._answers["node_networks"]]

    @cached_property
    def own_public_networks(self) -> list[str]:
        """The networks of the lab that have public addresses, so that an application does not take them for the internet."""
        named = [*self._answers["trusted_proxies"], *self._answers["node_networks"]]
        return [one for one in named if ipaddress.ip_network(one).is_global]
