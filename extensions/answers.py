"""The answers by question, with their types: docs/tools/answers_type.py writes this file from questions/.

A rule sees the answers of the questions before its own, so any of them may be missing.
"""

from __future__ import annotations

from typing import TypedDict


class Answers(TypedDict, total=False):
    """What the owner has answered."""

    setup_level: str
    lab_name: str
    cluster_name: str
    timezone: str
    base_domain: str
    admin_email: str
    gitlab_host: str
    registry_host: str
    tls_source: str
    cert_manager: str
    acme_server: str
    acme_email: str
    acme_dns_provider: str
    acme_dns_region: str
    acme_dns_server: str
    acme_tsig_key: str
    private_ca: bool
    cluster_issuer: str
    tls_secret_name: str
    traefik_kind: str
    https_port: int
    ssh_exposure: str
    ssh_port: int
    http_port: int
    registry_port: int
    trusted_proxies: list[str]
    node_networks: list[str]
    storage_backend: str
    data_backend: str
    nfs_server: str
    storage_root: str
    storage_class: str
    config_size: str
    logs_size: str
    data_size: str
    gitlab_version: str
    gitlab_size: str
    gitlab_namespace: str
    sign_up: str
    smtp_enabled: bool
    smtp_host: str
    smtp_port: int
    smtp_security: str
    smtp_verify: bool
    smtp_authentication: str
    email_from: str
    email_display_name: str
    email_reply_to: str
    rack_attack: bool
    groups: list[str]
    group_visibility: str
    pipeline_auth: str
    deployers: str
    app_namespace: str
    app_security: str
    registry_cleanup: str
    sign_in: str
    sign_in_groups: list[str]
    gitlab_login: str
    login_issuer: str
    login_client_id: str
    login_label: str
    login_link: bool
    runner_kind: str
    runner_host: str
    runner_user: str
    runner_home: str
    runner_concurrent: int
    runner_scope: str
    build_method: str
    docker_version: str
    docker_hub_cache: bool
    docker_hub_cache_host: str
    docker_hub_cache_size: str
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
    runner_dns: list[str]
    runner_cores: int
    runner_memory: int
    runner_disk: int
    runner_ssh_keys: list[str]
    vm_image_url: str
    vm_image_checksum: str
    aws: str
    aws_region: str
    aws_account: str
    aws_login: str
    aws_bucket: str
    aws_backup_days: int
    aws_issuer_bucket: str
    gitops_source: str
    lab_group: str
    gitops_url: str
    gitops_branch: str
    sync_interval: str
    scan_interval: str
    job_token_push: bool
    owner_username: str
    owner_email: str
    owner_ssh_keys: list[str]
    sample_app: bool
    age_recipients: list[str]
    backups: bool
    backup_schedule: str
    backup_keep_days: int
    backup_registry: bool
    alerts: str
    alerts_url: str
    alerts_topic: str
    alerts_room: str
    alerts_mail_to: list[str]
