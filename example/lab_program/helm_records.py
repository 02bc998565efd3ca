"""What Helm remembers of a release, where a killed Helm has left it half written."""

from __future__ import annotations

from .clients.helm import Source
from .lab import Lab


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
