"""`./lab ssh-config`: how Git reaches this lab's GitLab over SSH, shown, or put into the owner's ~/.ssh/config."""

from __future__ import annotations

import argparse
import contextlib
import os
import stat
import tempfile
from pathlib import Path

from .. import ssh_block
from ..errors import ExitCode, Failure
from ..programs import last_line
from .base import Command

FILE = "ssh_config"
# What OpenSSH refuses to read.
WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


class SshConfig(Command):
    name = "ssh-config"
    purpose = "show how Git reaches GitLab over SSH, or put it into ~/.ssh/config"
    example = "./lab ssh-config --install; ./lab ssh-config --remove"
    notes = (
        "The block comes first in ~/.ssh/config, between two marks; your own lines stay as they are. After a change\n"
        "of ssh_config, such as another port, run --install again."
    )

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        way = parser.add_mutually_exclusive_group()
        way.add_argument("--install", action="store_true", help="put the lab's block into ~/.ssh/config")
        way.add_argument("--remove", action="store_true", help="take it out again")

    def run(self) -> int:
        if self.options.remove:
            self._remove()
        elif self.options.install:
            self._install()
        else:
            self.console.print(self._entry().rstrip("\n"))
        return ExitCode.DONE

    @property
    def _config(self) -> Path:
        return Path(os.environ.get("HOME") or "~").expanduser() / ".ssh" / "config"

    def _entry(self) -> str:
        try:
            return (self.folder / FILE).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise Failure(f"{FILE} cannot be read: {error}", "", f"git checkout HEAD -- {FILE}") from error

    def _install(self) -> None:
        settings, config = self.settings, self._config
        host, port = settings.gitlab_host, settings.ssh_port
        text = self._read(config)
        parts = ssh_block.split(text, settings.lab_name)
        wanted = ssh_block.block(settings.lab_name, self._entry(), "\r\n" if "\r\n" in text else "\n")
        if parts.block == wanted:
            self.console.have(f"{config} leads to {host}, port {port}")
            return
        named = ssh_block.lines_that_name(parts.owners, host)
        if named and not parts.block:
            self._leave_to_owner(config, named)
            return
        new = parts.before + wanted + parts.after if parts.block else wanted + text
        self._write(config, new, check=host)
        self.console.did(f"{config} leads to {host}, port {port}: ssh -T git@{host}")

    def _leave_to_owner(self, config: Path, named: list[int]) -> None:
        """Say so if a block of the owner's leads there; end the run if it leads elsewhere: whose word counts is theirs."""
        host, port = self.settings.gitlab_host, self.settings.ssh_port
        if ssh_block.leads_to(self._evaluated(config, host), host, port):
            self.console.have(f"{config}, line {named[0]}: a block of yours leads to {host}, port {port} already")
            return
        raise Failure(
            f"{config} has a block of yours for {host}, in line {named[0]}, which leads elsewhere. Nothing was changed.",
            f"ssh -G {host}; ./lab ssh-config",
            f"write Port {port} and User git into that block, or remove it and run ./lab ssh-config --install again",
        )

    def _remove(self) -> None:
        config = self._config
        text = self._read(config)
        parts = ssh_block.split(text, self.settings.lab_name)
        if not parts.block:
            self.console.have(f"{config} has no block of this lab")
            return
        self._write(config, parts.owners)
        self.console.did(f"the lab's block is out of {config}")

    def _read(self, config: Path) -> str:
        """Return what is in the configuration; nothing if there is none."""
        try:
            mode = config.stat().st_mode
            text = config.read_bytes().decode("utf-8", "surrogateescape")
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise Failure(f"{config} cannot be read: {error.strerror}", f"ls -lL {config}") from error
        if mode & WRITABLE_BY_OTHERS:
            what = f"Others may write to {config} (mode {stat.S_IMODE(mode):o}), so ssh may refuse it. Nothing was changed."
            raise Failure(what, f"ls -lL {config}", f"chmod go-w {config}, then run it again")
        return text

    def _write(self, config: Path, text: str, check: str = "") -> None:
        """Put a text in the configuration's place, whole or not at all; a link stays a link.

        Args:
            check: the host for which ssh has to be able to read it.
        """
        part: Path | None = None
        try:
            config.parent.mkdir(mode=0o700, exist_ok=True)
            target = config.resolve()
            mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else 0o600
            descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
            part = Path(name)
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(text.encode("utf-8", "surrogateescape"))
            part.chmod(mode)
            if check:
                self._evaluated(part, check)
            part.replace(target)
        except OSError as error:
            raise Failure(
                f"{config} cannot be written: {error.strerror}", f"ls -ldL {config.parent} {config}"
            ) from error
        finally:
            if part is not None:
                with contextlib.suppress(FileNotFoundError):
                    part.unlink()

    def _evaluated(self, config: Path, host: str) -> list[str]:
        """Return what ssh makes of a configuration for a host.

        Raises:
            Failure: ssh cannot read it.
        """
        self.require({"ssh"})
        done = self.programs.run(["ssh", "-G", "-F", str(config), host])
        if done.status:
            said = last_line(done.err).replace(str(config), str(self._config))
            raise Failure(f"ssh cannot read {self._config}: {said} Nothing was changed.", f"ssh -G {host}")
        return done.out.splitlines()
