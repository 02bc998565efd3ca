"""The stages, in their order. A new one is a module here, and a place in this list."""

from __future__ import annotations

from .account import Account
from .alerts import Alerts
from .backups import Backups
from .base import Stage
from .certificates import Certificates
from .flux import InstallFlux
from .gitlab import InstallGitLab
from .groups import Groups
from .machines import Machines
from .preflight import Preflight
from .registry import Registry
from .runner import Runner
from .sign_in import SignIn
from .storage import Storage
from .sync import Sync
from .verify import Verify

STAGES: tuple[type[Stage], ...] = (
    Preflight,
    Storage,
    InstallFlux,
    Certificates,
    InstallGitLab,
    Groups,
    Account,
    Registry,
    SignIn,
    Sync,
    Backups,
    Alerts,
    Machines,
    Runner,
    Verify,
)
