"""OpenTofu, built with the cluster tests' programs, and the real provider for Proxmox; Terraform's engine from PyPI as the second.

Both judge the lab's code as they would at home. Nothing is downloaded: a mirror in a folder holds the provider.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from extensions.facts import PROXMOX_PROVIDER
from tests.cluster.paths import BIN

HERE = Path(__file__).resolve().parent
TOKEN = "lab@pve!tofu=6d1f7b9e-0000-4000-8000-3c1a5e2f9d70"
PASSPHRASE = "a passphrase of the tests, and long enough"
PROGRAMS = {"tofu": BIN / "tofu", "terraform-provider-proxmox": BIN / "terraform-provider-proxmox"}


@dataclass
class Fake:
    """Proxmox's stand-in, and how to reach it."""

    process: subprocess.Popen[str]
    url: str
    certificate: str

    def ask(self, **asked: Any) -> Any:
        """Have it do something, and return its answer; nothing asked: what is there."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    @property
    def environment(self) -> dict[str, str]:
        """What the provider and OpenTofu get to know of it."""
        return {
            "PROXMOX_VE_ENDPOINT": f"{self.url}/",
            "PROXMOX_VE_API_TOKEN": TOKEN,
            "SSL_CERT_FILE": self.certificate,
        }


@contextmanager
def fake_proxmox(folder: Path, node: str) -> Iterator[Fake]:
    """Run Proxmox's stand-in, whose storage `local` takes images."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, str(HERE / "fake_proxmox.py"), str(folder), TOKEN, node]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            fake = Fake(process, **json.loads(process.stdout.readline()))
            fake.ask(storage="local", **{"is": {"content": "iso,vztmpl,backup,import"}})
            yield fake
        finally:
            process.terminate()


@dataclass
class Done:
    """What a command of an engine has come to."""

    code: int
    said: str


@dataclass
class Engine:
    """One of the two.

    Attributes:
        command: how it is started.
        registry: where it would look for providers.
        folder: a folder of its own, for its settings and the mirror.
    """

    command: list[str]
    registry: str
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        version = PROXMOX_PROVIDER.removeprefix("~> ")
        place = self.folder / "mirror" / self.registry / "bpg/proxmox" / version / "linux_amd64"
        place.mkdir(parents=True, exist_ok=True)
        binary = place / f"terraform-provider-proxmox_v{version}"
        if not binary.is_symlink():
            binary.symlink_to(PROGRAMS["terraform-provider-proxmox"])
        settings = self.folder / "settings.tfrc"
        mirror = f'provider_installation {{\n  filesystem_mirror {{\n    path = "{self.folder / "mirror"}"\n  }}\n}}\n'
        settings.write_text(f"disable_checkpoint = true\n{mirror}", encoding="utf-8")
        self.environment |= {
            "TF_CLI_CONFIG_FILE": str(settings),
            "TF_IN_AUTOMATION": "true",
            "TF_INPUT": "0",
            "TF_VAR_state_passphrase": PASSPHRASE,
        }

    def run(self, folder: Path, *arguments: str, **environment: str) -> Done:
        """Run one command in a folder with code."""
        inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        done = subprocess.run(
            [*self.command, *arguments],
            cwd=folder,
            env={**inherited, **self.environment, **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )
        return Done(done.returncode, f"{done.stdout}\n{done.stderr}")


def tofu(folder: Path) -> Engine:
    """Return OpenTofu."""
    return Engine([str(PROGRAMS["tofu"])], "registry.opentofu.org", folder)


def terraform(folder: Path) -> Engine:
    """Return Terraform's engine, from a library (test tool, never shipped): its calls are a command line, too."""
    return Engine([sys.executable, str(HERE / "second_engine.py")], "registry.terraform.io", folder)


def local_copy(code: Path, folder: Path) -> Path:
    """Copy a lab's iac/, and keep its state beside it instead of in GitLab."""
    shutil.copytree(code, folder)
    file = folder / "backend.tf"
    text = file.read_text(encoding="utf-8")
    assert 'backend "http"' in text
    file.write_text(text.replace('backend "http"', 'backend "local"'), encoding="utf-8")
    return folder
