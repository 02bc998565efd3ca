"""The lab's program, imported from the template, for tests of what it decides without a process."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

from .rendering import ROOT

sys.path.insert(0, str(ROOT / "template"))

from lab_program import (
    age,
    background_migrations,
    backup_target,
    backups,
    certificates,
    cli,
    dns_records,
    environment,
    errors,
    fresh_backup,
    gitlab_check,
    gitlab_image,
    inside,
    installed_gitlab,
    kept_tags,
    key_file,
    lab_authority,
    mail,
    node_addresses,
    node_status,
    node_volumes,
    patience,
    probes,
    programs,
    registry_use,
    runner_machine,
    runners,
    sealed,
    secret,
    upgrade_path,
    upgrading,
    version_files,
    versions,
    workloads,
    workspace,
)
from lab_program import console as console_module
from lab_program import lab as lab_module
from lab_program import settings as settings_module
from lab_program.clients import (
    git,
    gitlab,
    gitlab_applications,
    gitlab_cleanup,
    gitlab_migrations,
    gitlab_runners,
    gitlab_transport,
    helm,
    http,
    image_registry,
    kubectl,
    machine,
    objects,
    outbound,
    pod,
    proxmox,
    sops,
    tofu,
)
from lab_program.commands import (
    COMMANDS,
    editing,
    new_app,
    propose,
    rescue,
    restore,
    sealing,
    ssh_config,
    trust,
    update,
    upgrade,
)
from lab_program.commands.base import Invocation
from lab_program.commands.up import NAMES
from lab_program.stages import backups as backups_stage
from lab_program.stages import (
    cleanup,
    credential,
    deployers,
    findings,
    flux,
    iac_project,
    inside_check,
    loop,
    machine_secrets,
    machines,
    preflight_cluster,
    preflight_here,
    proxmox_checks,
    registry,
    runner,
    sign_in,
    storage,
    sync,
    tofu_run,
    tokens,
)
from lab_program.stages import gitlab as gitlab_stage

__all__ = [
    "COMMANDS",
    "NAMES",
    "Invocation",
    "age",
    "background_migrations",
    "backup_target",
    "backups",
    "backups_stage",
    "certificates",
    "cleanup",
    "cli",
    "console_module",
    "credential",
    "deployers",
    "dns_records",
    "editing",
    "environment",
    "errors",
    "findings",
    "flux",
    "fresh_backup",
    "git",
    "gitlab",
    "gitlab_applications",
    "gitlab_check",
    "gitlab_cleanup",
    "gitlab_image",
    "gitlab_migrations",
    "gitlab_runners",
    "gitlab_stage",
    "gitlab_transport",
    "helm",
    "http",
    "iac_project",
    "image_registry",
    "inside",
    "inside_check",
    "installed_gitlab",
    "kept_tags",
    "key_file",
    "kubectl",
    "lab_authority",
    "lab_module",
    "loop",
    "machine",
    "machine_secrets",
    "machines",
    "mail",
    "new_app",
    "node_addresses",
    "node_status",
    "node_volumes",
    "objects",
    "outbound",
    "patience",
    "pod",
    "preflight_cluster",
    "preflight_here",
    "probes",
    "programs",
    "propose",
    "proxmox",
    "proxmox_checks",
    "registry",
    "registry_use",
    "rescue",
    "restore",
    "runner",
    "runner_machine",
    "runners",
    "sealed",
    "sealing",
    "secret",
    "sign_in",
    "sops",
    "ssh_config",
    "storage",
    "sync",
    "tofu",
    "tofu_run",
    "tokens",
    "trust",
    "update",
    "upgrade",
    "upgrade_path",
    "upgrading",
    "version_files",
    "versions",
    "workloads",
    "workspace",
]

PACKAGE = ROOT / "template" / "lab_program"


def settings_of(lab: Path) -> settings_module.Settings:
    """Return the settings of a rendered lab."""
    return settings_module.Settings.load(lab)


def settings(**changes: Any) -> settings_module.Settings:
    """Return the settings of the example, with changes."""
    content = settings_of(ROOT / "example").__dict__ | changes
    known = settings_module.Settings.__dataclass_fields__
    return settings_module.Settings(**{name: content[name] for name in known})


def console(**options: Any) -> console_module.Console:
    """Return a console that prints to memory."""
    return console_module.Console({}, out=io.StringIO(), err=io.StringIO(), source=io.StringIO(), **options)
