"""The lab's settings: one typed object, read from settings.json, which Copier writes from the answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from .errors import Failure

FILE = "lab_program/settings.json"
# Lists that mean something without an item: this is off, or is found elsewhere.
MAY_BE_EMPTY = frozenset(
    {"age_recipients", "backup_entries", "dns_secret", "owner_ssh_keys", "runner_dns", "runner_ssh_keys"}
)
# What makes the lab's certificates, if the lab has cert-manager's ClusterIssuer made.
MADE_ISSUERS = frozenset({"letsencrypt-http", "letsencrypt-dns", "lab-authority"})
LAB_AUTHORITY = "lab-authority"


@dataclass(frozen=True)
class Settings:
    """The answers that the program needs, under the names of their questions, and what the template derives from them.

    An answer that does not apply (the runner's host in a lab without one, say) is empty.
    """

    lab_name: str
    cluster_name: str
    admin_email: str
    owner_username: str
    owner_email: str
    owner_ssh_keys: tuple[str, ...]
    smtp_enabled: bool
    base_domain: str
    gitlab_host: str
    registry_host: str
    https_port: int
    gitlab_url: str
    registry_address: str
    ssh_port: int
    ssh_exposure: str
    traefik_kind: str
    tls_source: str
    cluster_issuer: str
    installs_cert_manager: bool
    dns_secret: tuple[str, ...]
    tls_secret_name: str
    private_ca: bool
    rack_attack: bool
    unbanned_networks: tuple[str, ...]
    storage_backend: str
    data_backend: str
    storage_root: str
    nfs_server: str
    storage_class: str
    gitlab_version: str
    gitlab_size: str
    gitlab_namespace: str
    app_namespace: str
    own_public_networks: str
    groups: tuple[str, ...]
    group_visibility: str
    pipeline_auth: str
    registry_push_user: str
    lab_project: str
    sample_app: bool
    sample_project: str
    sample_host: str
    sign_in: str
    sign_in_host: str
    sign_in_url: str
    docker_hub_cache: bool
    docker_hub_cache_host: str
    docker_hub_cache_address: str
    machine_cache_file: str
    gitlab_login: str
    runner_kind: str
    runner_host: str
    runner_user: str
    runner_home: str
    runner_scope: str
    runner_namespace: str
    runner_machine: str
    proxmox_endpoint: str
    proxmox_node: str
    proxmox_image_store: str
    proxmox_disk_store: str
    proxmox_bridge: str
    proxmox_vlan: int
    runner_vm_id: int
    runner_address: str
    runner_gateway: str
    runner_dns: tuple[str, ...]
    runner_cores: int
    runner_memory: int
    runner_disk: int
    runner_ssh_keys: tuple[str, ...]
    vm_image_url: str
    vm_image_checksum: str
    aws: str
    aws_region: str
    aws_account: str
    aws_login: str
    aws_bucket: str
    aws_backup_days: int
    aws_issuer_bucket: str
    iac_project: str
    gitops_source: str
    gitops_url: str
    gitops_branch: str
    job_token_push: bool
    deployers: str
    registry_cleanup: str
    scan_interval: str
    backup_place: str
    backup_entries: tuple[str, ...]
    alerts: str
    alerts_entry: str
    age_recipients: tuple[str, ...]
    flux_version: str

    @classmethod
    def load(cls, lab: Path) -> Settings:
        """Read a lab's settings.

        Raises:
            Failure: they are missing, are no JSON, or are not those that this program reads.
        """
        fix = "git checkout HEAD -- " + FILE + "\n./lab update writes it anew from your answers, too"
        try:
            content = json.loads((lab / FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise Failure(f"The lab's settings, {FILE}, cannot be read: {error}", "", fix) from error
        if not isinstance(content, dict):
            raise Failure(f"The lab's settings, {FILE}, are no JSON object.", "", fix)
        return cls.made_from(content, fix)

    @classmethod
    def made_from(cls, content: Mapping[str, Any], fix: str = "") -> Settings:
        """Make settings of what the file holds; `_…` is for people. See load."""
        kinds = {field.name: str(field.type) for field in fields(cls)}
        given = {name: value for name, value in content.items() if not name.startswith("_")}
        wrong = [f"{name} is missing" for name in kinds.keys() - given.keys()]
        wrong += [f"{name} is not known" for name in given.keys() - kinds.keys()]
        wrong += [
            f"{name} is {given[name]!r}"
            for name in kinds.keys() & given.keys()
            if not (_fits(kinds[name], given[name]) or (name in MAY_BE_EMPTY and given[name] == []))
        ]
        if wrong:
            raise Failure(f"{FILE} does not fit this program: {'; '.join(sorted(wrong))}.", "", fix)
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in given.items()
        }
        return cls(**values)

    # What follows from the answers

    @property
    def self_hosted(self) -> bool:
        """Whether the lab's own GitLab hosts the lab's repository."""
        return self.gitops_source == "self"

    @property
    def makes_issuer(self) -> bool:
        """Whether the lab makes the ClusterIssuer that signs its certificates."""
        return self.tls_source in MADE_ISSUERS

    @property
    def makes_authority(self) -> bool:
        """Whether the authority itself is the lab's: its certificate comes from the cluster."""
        return self.tls_source == LAB_AUTHORITY

    @property
    def external_over_https(self) -> bool:
        """Whether Flux needs a user name and a password, not a key."""
        return not self.self_hosted and self.gitops_url.startswith("https://")

    @property
    def runner_name(self) -> str:
        return f"lab-{self.lab_name}"

    @property
    def lab_project_url(self) -> str:
        """Where the lab's repository is pushed to over https."""
        return f"{self.gitlab_url}/{self.lab_project}.git"

    @property
    def sample_url(self) -> str:
        return self.gitlab_url.replace(self.gitlab_host, self.sample_host, 1)

    @cached_property
    def hosts(self) -> tuple[str, ...]:
        """The hosts that DNS has to know."""
        sample = [self.sample_host] if self.sample_app else []
        others = [one for one in (self.sign_in_host, self.docker_hub_cache_host) if one]
        return (self.gitlab_host, self.registry_host, *sample, *others)

    @property
    def trusted_registries(self) -> tuple[str, ...]:
        """The registries that nodes and Docker reach by the lab's certificates, as image names spell them."""
        return (self.registry_address, *([self.docker_hub_cache_address] if self.docker_hub_cache else []))

    @cached_property
    def cluster_folder(self) -> str:
        return f"clusters/{self.cluster_name}"


def _fits(kind: str, value: object) -> bool:
    if kind.startswith("tuple"):
        return isinstance(value, list) and bool(value) and all(isinstance(item, str) for item in value)
    wanted: dict[str, type] = {"str": str, "int": int, "bool": bool}
    return type(value) is wanted[kind]
