"""Helm: GitLab's release, with the values exactly as apps/gitlab/helmrelease.yaml gives them to Flux."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from .. import versions
from ..errors import ClientError, Failure
from ..programs import Programs, Result, last_line
from .kubectl import is_transient

# A dot in a key would otherwise begin another one.
SETTINGS_OF_GITLAB = r"configMaps.config.data.gitlab\.rb=apps/gitlab/gitlab.rb"


@dataclass(frozen=True)
class Release:
    """An installed release: its status in Helm's words, and what it installed."""

    status: str
    manifest: str


class HelmError(ClientError):
    """Helm did not install."""

    def __init__(self, words: str) -> None:
        super().__init__("helm", words.strip(), transient=is_transient(words))

    def __str__(self) -> str:
        return last_line(self.words) or "no reason given"


class Helm:
    """GitLab's release in one namespace, from one lab's folder."""

    def __init__(self, programs: Programs, lab: Path, namespace: str, before_change: Callable[[], None]) -> None:
        self._programs, self._lab, self._namespace, self._before_change = programs, lab, namespace, before_change

    @cached_property
    def version(self) -> str:
        """Helm's own version; nothing where it does not say."""
        return self._programs.run(["helm", "version", "--short"]).out

    def release(self) -> Release | None:
        """Return the release, or None where there is none."""
        done = self._programs.run(["helm", "status", "gitlab", "--namespace", self._namespace, "--output", "json"])
        if done.status:
            return None
        content = json.loads(done.out)
        return Release(str((content.get("info") or {}).get("status", "")), str(content.get("manifest", "")))

    def rendered(self) -> str:
        """Return the manifest that this working tree would install.

        Raises:
            Failure: the chart refuses the values.
        """
        done = self._upgrade("--dry-run=server", "--output", "json")
        if done.status:
            raise Failure(
                f"Helm cannot render GitLab's release: {done.words}", "charts/app and apps/gitlab/values.yaml"
            )
        return str(json.loads(done.out).get("manifest", ""))

    def install(self) -> None:
        """Install the release, or upgrade it.

        Not by server-side apply, as Helm 4 would by itself; Flux goes on in the way that Helm began with. Helm's name
        would stay on each field beside Flux's, and so would what a later release leaves out, such as a port.

        Raises:
            HelmError: it was not installed.
        """
        self._before_change()
        server_side = ["--server-side=false"] if versions.at_least(self.version, "4.0") else []
        done = self._upgrade("--install", *server_side)
        if done.status:
            raise HelmError(done.err)

    def installed_manifest(self) -> str | None:
        """Return what the newest release has installed; None where there is none."""
        done = self._programs.run(["helm", "get", "manifest", "gitlab", "--namespace", self._namespace])
        return None if done.status else done.out

    def _upgrade(self, *arguments: str) -> Result:
        return self._programs.run([*self.command(), *arguments], folder=self._lab)

    def command(self) -> list[str]:
        """Return the call that installs GitLab; its paths are the lab's."""
        return [
            *("helm", "upgrade", "gitlab", "charts/app", "--namespace", self._namespace),
            *("--values", "apps/gitlab/values.yaml", "--set-file", SETTINGS_OF_GITLAB),
        ]
