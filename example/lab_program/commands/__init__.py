"""The commands, in the order of the help. A new one is a module here, and a place in this list."""

from __future__ import annotations

from .alerts import Alerts
from .backup import Backup
from .base import Command
from .check import Check
from .new_app import NewApp
from .propose import Propose
from .rescue import Rescue
from .restore import Restore
from .secret import Secrets
from .ssh_config import SshConfig
from .status import Status
from .trust import Trust
from .up import Up, Verify
from .update import Update
from .upgrade import Upgrade

COMMANDS: tuple[type[Command], ...] = (
    Up,
    Verify,
    Status,
    Alerts,
    Check,
    NewApp,
    Update,
    Upgrade,
    Rescue,
    Backup,
    Restore,
    Secrets,
    Trust,
    SshConfig,
    Propose,
)
