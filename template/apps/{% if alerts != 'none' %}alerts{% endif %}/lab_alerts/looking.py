"""One look at the lab: each source is asked by itself, and one that fails keeps no other from being judged."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from . import facts, web
from .cluster import Cluster, encoded
from .judge import GOOD, Fact, Look, State

FLUX = {
    "GitRepository": "/apis/source.toolkit.fluxcd.io/v1/gitrepositories",
    "Kustomization": "/apis/kustomize.toolkit.fluxcd.io/v1/kustomizations",
    "HelmRelease": "/apis/helm.toolkit.fluxcd.io/v2/helmreleases",
    "ImageUpdateAutomation": "/apis/image.toolkit.fluxcd.io/v1/imageupdateautomations",
}
CERTIFICATES = "/apis/cert-manager.io/v1/certificates"
PAGE = 100
# Those that are asked of GitLab, and so have no answer while it is not ready.
OF_GITLAB = frozenset({"token", "runner"})


class Looker:
    """Looks at the lab.

    Args:
        settings: apps/alerts/settings.json.
        cluster: the cluster.
        secrets: the folder with the files `gitlab-token` and `ca.crt`, of which each may be missing.
        now: the time.
    """

    def __init__(self, settings: Mapping[str, Any], cluster: Cluster, secrets: Path, now: float) -> None:
        self.settings, self.cluster, self.secrets, self.now = settings, cluster, secrets, now
        self.limits = settings["limits"]
        self.unread: dict[str, str] = {}
        self.gitlab_is_ready = True
        self.gitlab_version = ""

    def look(self, state: State) -> Look:
        """Look at everything; `state["security"]` is renewed once a day."""
        sources: dict[str, Callable[[], list[Fact]]] = {
            "gitlab": self._gitlab,
            "flux": self._flux,
            "volume": self._volumes,
        }
        sources["certificate"] = self._certificates
        if self.settings["backups"]:
            sources["backup"] = self._backup
        if self.settings["project"]:
            sources |= {"token": self._tokens, "runner": self._runners}
        found: list[Fact] = []
        read = {"blind", "security"}
        for source, ask in sources.items():
            try:
                found += ask()
                # What one node or host did not answer is still missing.
                read |= {source} - set(self.unread)
            except web.NoAnswerError as error:
                self.unread[source] = str(error)
            # An object of another form than is documented must not silence the rest.
            except (KeyError, ValueError, TypeError, AttributeError) as error:
                self.unread[source] = f"an answer has another form than expected ({type(error).__name__}: {error})"
        found += self._security(state)
        excused = frozenset() if self.gitlab_is_ready else OF_GITLAB
        found += facts.blind(list(sources), self.unread, excused)
        return Look(tuple(found), frozenset(read))

    # The cluster

    def _gitlab(self) -> list[Fact]:
        space = quote(self.settings["gitlab_namespace"])
        deployment = self.cluster.get(f"/apis/apps/v1/namespaces/{space}/deployments/gitlab")
        fact = facts.gitlab(deployment, self.limits["gitlab_minutes"] * facts.MINUTE)
        self.gitlab_is_ready = fact.state == GOOD
        containers = ((deployment or {}).get("spec") or {}).get("template", {}).get("spec", {}).get("containers") or []
        tags = (re.search(r":([0-9]+\.[0-9]+\.[0-9]+)", str(one.get("image", ""))) for one in containers)
        self.gitlab_version = next((tag[1] for tag in tags if tag), "")
        return [fact]

    def _flux(self) -> list[Fact]:
        items = [one for kind, path in FLUX.items() for one in self.cluster.items(path, kind)]
        grace = self.limits["flux_minutes"] * facts.MINUTE
        return facts.flux(
            items, gitlab_is_ready=self.gitlab_is_ready, self_hosted=self.settings["self_hosted"], grace=grace
        )

    def _backup(self) -> list[Fact]:
        space = f"/apis/batch/v1/namespaces/{quote(self.settings['gitlab_namespace'])}"
        jobs, found = self.cluster.items(f"{space}/jobs", "Job"), []
        for name in self.settings["backups"]:
            found += facts.backup(self.cluster.get(f"{space}/cronjobs/{quote(name)}"), jobs, self.now)
        return found

    def _volumes(self) -> list[Fact]:
        verify, found = self.settings["kubelet_verify"], {}
        for node in self.cluster.items("/api/v1/nodes", "Node"):
            name = node["metadata"]["name"]
            try:
                found[name] = self.cluster.kubelet(node, verify=verify)
            except web.NoAnswerError as error:
                self.unread["volume"] = f"the kubelet of node {name}: {error}"
        return facts.volumes(found, self.limits["volume_percent"])

    def _certificates(self) -> list[Fact]:
        days, served = self.limits["days"], {}
        if self.settings["cert_manager"]:
            return facts.certificates(self.cluster.items(CERTIFICATES, "Certificate"), self.now, days)
        for host in self.settings["hosts"]:
            try:
                served[host] = web.certificate_times(host, self.settings["https_port"])
            except web.NoAnswerError as error:
                self.unread["certificate"] = str(error)
        return facts.served_certificates(served, self.now, days)

    # GitLab

    def _tokens(self) -> list[Fact]:
        return facts.tokens(self._of_project("access_tokens"), self.settings["project"], self.now, self.limits["days"])

    def _runners(self) -> list[Fact]:
        if not self.settings["runner"]:
            return []
        return facts.runners(self._of_project("runners"), self.settings["runner"])

    def _of_project(self, what: str) -> list[dict[str, Any]]:
        """Return a list of the lab's project, page by page."""
        file = self.secrets / "gitlab-token"
        if not file.is_file():
            raise web.NoAnswerError("there is no token for GitLab; ./lab up --only alerts makes one")
        headers = {"PRIVATE-TOKEN": file.read_text().strip()}
        context = web.trust(str(self.secrets / "ca.crt"))
        project, page, found = quote(self.settings["project"], safe=""), "1", []
        while page:
            url = f"{self.settings['gitlab_url']}/api/v4/projects/{project}/{what}?per_page={PAGE}&page={page}"
            try:
                content, answered = web.get_json(url, headers, context)
            except web.NoAnswerError as error:
                raise web.NoAnswerError(f"GitLab's API: {error}") from None
            found += content
            page = answered.get("x-next-page", "")
        return found

    # GitLab's releases

    def _security(self, state: State) -> list[Fact]:
        """Ask GitLab's version check once a day. No answer is no fault: the lab may be off-line."""
        url, version = self.settings["version_check"], self.gitlab_version
        if not url or not version:
            return []
        known = state.setdefault("security", {"asked": 0, "of": "", "answer": None})
        if self.now - known["asked"] >= facts.DAY or known["of"] != version:
            known.update(asked=self.now, of=version)
            try:
                answer, _ = web.get_json(f"{url}?gitlab_info={encoded({'version': version})}", {}, web.trust())
                known["answer"] = {**answer, "version": version}
            except (web.NoAnswerError, TypeError):
                pass
        return facts.security(version, known["answer"])
