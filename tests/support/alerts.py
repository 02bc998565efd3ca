"""The program of the lab's alarm, imported from the template, for tests of what it decides and sends."""

from __future__ import annotations

from typing import Any

from lab_alerts import __main__ as program
from lab_alerts import channels, cluster, cron, facts, judge, looking, mail, web

from .rendering import ROOT

FOLDER = next((ROOT / "template" / "apps").glob("*alerts*"))

__all__ = ["FOLDER", "channels", "cluster", "cron", "facts", "judge", "looking", "mail", "program", "settings", "web"]


def settings(channel: str, **more: Any) -> dict[str, Any]:
    """Return what apps/alerts/settings.json says, of a lab that is called lab."""
    return {
        "lab": "lab",
        "limits": {"gitlab_minutes": 10, "flux_minutes": 5, "volume_percent": 85, "days": 14},
        "kubelet_verify": True,
        "version_check": "",
        "gitlab_namespace": "gitlab",
        "gitlab_url": "https://gitlab.lab",
        "project": "homelab/lab",
        "runner": "lab-lab",
        "self_hosted": True,
        "backups": ["gitlab-backup"],
        "cert_manager": False,
        "hosts": [],
        "https_port": 443,
        "channel": channel,
        **more,
    }
