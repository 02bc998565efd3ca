"""Helm: GitLab's release and its check, with the values exactly as their HelmReleases give them to Flux."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from .. import versions
from ..errors import ClientError, Failure
from ..programs import Programs, Result, last_line
from .kubectl import is_transient


@dataclass(frozen=True)
class Source:
    """What a release of the chart app is made from.

    Attributes:
        name: the release's.
        values: files of values; a later one wins.
        files: files that become a value as they are, by its name. A dot in a key is escaped.
    """

    name: str
    values: tuple[str, ...]
    files: tuple[tuple[str, str], ...]


_VALUES, _SETTINGS = "apps/gitlab/values.yaml", (r"configMaps.config.data.gitlab\.rb", "apps/gitlab/gitlab.rb")
GITLAB = Source("gitlab", (_VALUES,), (_SETTINGS,))
CHECK = Source(
    "gitlab-check",
    (_VALUES, "apps/gitlab-check/values.yaml"),
    (_SETTINGS, (r"configMaps.check.data.check\.rb", "apps/gitlab-check/check.rb")),
)


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
    """One release in GitLab's namespace, from one lab's folder.

    Args:
        source: what it is made from.
        extra: values that Flux does not give it.
    """

    def __init__(
        self,
        programs: Programs,
        lab: Path,
        namespace: str,
        before_change: Callable[[], None],
        source: Source = GITLAB,
        extra: Sequence[str] = (),
    ) -> None:
        self._programs, self._lab, self._namespace, self._before_change = programs, lab, namespace, before_change
        self.source, self._extra = source, extra

    @cached_property
    def version(self) -> str:
        """Helm's own version; nothing where it does not say."""
        return self._programs.run(["helm", "version", "--short"]).out

    def release(self) -> Release | None:
        """Return the release, or None where there is none."""
        done = self._programs.run(
            ["helm", "status", self.source.name, "--namespace", self._namespace, "--output", "json"]
        )
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
                f"Helm cannot render the release {self.source.name}: {done.words}",
                f"charts/app and {' and '.join(self.source.values)}",
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
        done = self._programs.run(["helm", "get", "manifest", self.source.name, "--namespace", self._namespace])
        return None if done.status else done.out

    def _upgrade(self, *arguments: str) -> Result:
        return self._programs.run([*self.command(), *arguments], folder=self._lab)

    def command(self) -> list[str]:
        """Return the call that installs the release; its paths are the lab's."""
        source = self.source
        values = [word for file in source.values for word in ("--values", file)]
        files = [word for name, file in source.files for word in ("--set-file", f"{name}={file}")]
        extra = [word for value in self._extra for word in ("--set-string", value)]
        namespace = ["--namespace", self._namespace]
        return ["helm", "upgrade", source.name, "charts/app", *namespace, *values, *files, *extra]
