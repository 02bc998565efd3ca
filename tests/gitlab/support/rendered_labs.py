"""Labs of any answers, rendered in this process as far as GitLab and Traefik are concerned, without Copier's files."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from tests.support import gitlab_rb, texts
from tests.support.cluster import Loader, documents, helm, merge
from tests.support.rendering import ROOT

Object = dict[str, Any]
CHART = ROOT / "template/charts/app"
GITLAB = "template/apps/gitlab"
INFRASTRUCTURE = "template/infrastructure"


class RenderedLab:
    """What the cluster gets of one lab's GitLab.

    Args:
        given: answers by question; defaults fill the rest. They have to be right: the wizard's rules are asked.
        changes: changes to the release's values, as an owner would make them.
        trusted: trusted_proxies of this machine's own loopback network, for servers that run here; the rules refuse it.

    Attributes:
        answers: all of them.
    """

    def __init__(
        self, given: dict[str, Any], changes: dict[str, Any] | None = None, trusted: list[str] | None = None
    ) -> None:
        assert texts.problems(given) == []
        self.answers = {**texts.answered(given), **({"trusted_proxies": trusted} if trusted else {})}
        self._changes = changes or {}

    @cached_property
    def gitlab_rb(self) -> str:
        """The file's text."""
        return self._text(f"{GITLAB}/gitlab.rb.jinja")

    @cached_property
    def values(self) -> Object:
        """The HelmRelease's values, as Flux merges them."""
        values = yaml.load(self._text(f"{GITLAB}/values.yaml.jinja"), Loader)
        carried = {"configMaps": {"config": {"data": {"gitlab.rb": self.gitlab_rb}}}}
        return merge(merge(values, carried), self._changes)

    @cached_property
    def traefik(self) -> Object:
        """The values for Traefik's chart, read from the file that carries them to it."""
        files = (ROOT / INFRASTRUCTURE).iterdir()
        name = next(file.name for file in files if f"traefik_kind == '{self.answers['traefik_kind']}'" in file.name)
        found = yaml.load(self._text(f"{INFRASTRUCTURE}/{name}"), Loader)
        return yaml.load(found["spec"]["valuesContent"], Loader) if found.get("kind") == "HelmChartConfig" else found

    @cached_property
    def objects(self) -> list[Object]:
        """The objects of the release, and the network rules."""
        release = helm(CHART, self.values, "gitlab", self.answers["gitlab_namespace"])
        return [*release, *documents(self._text(f"{INFRASTRUCTURE}/network.yaml.jinja"))]

    def of_kind(self, kind: str) -> list[Object]:
        return [thing for thing in self.objects if thing["kind"] == kind]

    def one(self, kind: str, name: str) -> Object:
        return next(thing for thing in self.of_kind(kind) if thing["metadata"]["name"] == name)

    def text(self, path: str) -> str:
        """Return a file of the lab that is made from a template of the same name."""
        return self._text(f"template/{path}.jinja")

    def _text(self, template: str) -> str:
        # Copier's loader of extensions acts where it sees Copier's own settings.
        context = {**self.answers, "_copier_conf": {"answers_file": ".copier-answers.yml"}}
        return texts.environment().get_template(template).render(context)


def recorded(labs: list[RenderedLab], folder: Path, environment: dict[str, str] | None = None) -> list[Object]:
    """Return what each lab's gitlab.rb sets, all evaluated in one Ruby.

    Args:
        folder: for the files; made where it is missing.
        environment: variables of the pod that the files read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{number}.rb" for number in range(len(labs))]
    for file, lab in zip(files, labs, strict=True):
        file.write_text(lab.gitlab_rb, encoding="utf-8")
    return gitlab_rb.settings_of_many(files, folder, environment)
