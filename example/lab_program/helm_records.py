"""Installing by Helm, and what Helm remembers of a release where a killed one has left it half written."""

from __future__ import annotations

from .clients.helm import Helm, HelmError, Source
from .errors import Failure
from .lab import Lab


def install(lab: Lab, helm: Helm, what: str) -> None:
    """Install a release; what a failed try leaves behind must not stop the next.

    Args:
        what: the release, in words.
    Raises:
        Failure: it was not installed.
    """

    def attempt() -> None:
        try:
            helm.install()
        except HelmError:
            drop_unfinished(lab, helm.source)
            raise

    try:
        lab.patience.retry(attempt)
    except HelmError as error:
        look = f"helm history {helm.source.name} -n {lab.settings.gitlab_namespace}"
        raise Failure(f"Helm did not install {what}: {error.words}", look) from error


def drop_unfinished(lab: Lab, release: Source) -> None:
    """Remove the record of a Helm that was killed: it says "pending", and Helm then refuses to go on.

    What it had made in the cluster stays, and the next installation takes it over.
    """
    namespace = lab.settings.gitlab_namespace
    for record in lab.cluster.list_of("secrets", namespace, f"owner=helm,name={release.name}"):
        if not record.labels.get("status", "").startswith("pending"):
            continue
        if lab.dry_run:
            lab.console.would(f"remove the unfinished Helm record {record.name}")
            continue
        lab.cluster.delete("secret", record.name, namespace, f"remove {record.name}")
        lab.console.did(f"removed {record.name}, the record of an installation that was cut short")
