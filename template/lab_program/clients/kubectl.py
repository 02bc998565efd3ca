"""The cluster, through kubectl. Looking is repeated after transient errors; changing is done server-side, so that doing
it twice is the same as doing it once, and no Secret is copied into an annotation."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..console import Console
from ..errors import ClientError, Failure
from ..patience import Patience
from ..programs import Programs, last_line
from ..secret import Secret, as_json
from .objects import KubeObject, secret_manifest

FIELD_MANAGER = "lab-bootstrap"
# Reasons of the API server that time may heal: k8s.io/apimachinery, pkg/apis/meta/v1, StatusReason.
_TRANSIENT_REASONS = {"TooManyRequests", "ServiceUnavailable", "InternalError", "Timeout", "ServerTimeout", "Conflict"}
_REASON = re.compile(r"Error from server \((\w+)\)")
# What has no reason: kubectl's own words about the connection, and those of etcd and of webhooks.
_TRANSIENT_WORDS = re.compile(
    r"connection refused|was refused|connection reset|timed out|timeout|deadline exceeded|EOF|too many requests"
    r"|currently unable|Internal error|etcdserver|no route to host|connection lost|object has been modified"
    r"|not yet been cached|failed calling webhook"
)
_NO_SUCH_KIND = re.compile(r"doesn't have a resource type|no matches for kind")


def is_transient(words: str) -> bool:
    """Say whether kubectl, or Helm in its place, reports an error that time may heal."""
    return bool(_TRANSIENT_REASONS & set(_REASON.findall(words)) or _TRANSIENT_WORDS.search(words))


class KubectlError(ClientError):
    """kubectl did not do what was asked."""

    def __init__(self, words: str) -> None:
        super().__init__("kubectl", words.strip(), transient=is_transient(words))

    def __str__(self) -> str:
        return last_line(self.words) or "no reason given"

    @property
    def no_such_kind(self) -> bool:
        """Whether the CRD of that kind is missing."""
        return bool(_NO_SUCH_KIND.search(self.words))

    def failure(self, what: str) -> Failure:
        """Return the end of a run that could not do *what*."""
        words = self.words
        if "orbidden" in words:
            look = "the rights of your kubeconfig user: kubectl auth can-i --list"
        elif any(word in words for word in ("Unauthorized", "must be logged in", "credentials")):
            look = "your kubeconfig: does kubectl get nodes work?"
        elif self.no_such_kind:
            look = "the CRDs: kubectl get crd"
        else:
            look = "kubectl get nodes; kubectl get events -A --sort-by=.lastTimestamp"
        return Failure(f"Could not {what}: {words or 'no reason given'}", look)


class Cluster:
    """The cluster of the owner's kubeconfig.

    Args:
        before_change: called before each change; it raises where the owner does not want one.
        dry_run: whether changes are only told.
    """

    def __init__(
        self,
        programs: Programs,
        patience: Patience,
        console: Console,
        *,
        dry_run: bool = False,
        before_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._programs, self._patience, self._console = programs, patience, console
        self._dry_run, self._before_change = dry_run, before_change
        self._namespaces: set[str] = set()

    def kubectl(self, *arguments: str, stdin: bytes = b"", tries: int | None = None) -> str:
        """Run kubectl, and return what it prints. Everything that this is used for may be sent twice.

        Raises:
            KubectlError: it failed.
        """

        def attempt() -> str:
            done = self._programs.run(["kubectl", "--request-timeout=30s", *arguments], stdin=stdin)
            if done.status:
                raise KubectlError(done.err)
            return done.out

        return self._patience.retry(attempt, tries)

    # Looking

    def find(self, kind: str, name: str, namespace: str = "", *, managed_fields: bool = False) -> KubeObject | None:
        """Return an object, or None where it does not exist. A kind whose CRD is missing does not exist either.

        Raises:
            Failure: the cluster refuses, or cannot be reached.
        """
        more = ["--show-managed-fields"] if managed_fields else []
        try:
            said = self.kubectl("get", kind, name, *_in(namespace), "--ignore-not-found", *more, "--output", "json")
        except KubectlError as error:
            if error.no_such_kind:
                return None
            raise error.failure(f"read {kind} {namespace + '/' if namespace else ''}{name}") from error
        return KubeObject(json.loads(said)) if said.strip() else None

    def find_several(self, kind: str, names: Sequence[str], namespace: str) -> dict[str, KubeObject]:
        """Return those of some objects of a kind that exist, by name, with one look. See find."""
        try:
            said = self.kubectl("get", kind, *names, *_in(namespace), "--ignore-not-found", "--output", "json")
        except KubectlError as error:
            if error.no_such_kind:
                return {}
            raise error.failure(f"read {kind} {namespace}/{', '.join(names)}") from error
        return {one.name: one for one in _items(said)}

    def list_of(self, kind: str, namespace: str = "", selector: str = "") -> list[KubeObject]:
        """Return the objects of a kind, or of several (`a,b`); of all namespaces if none is given.

        Raises:
            Failure: the cluster refuses, or cannot be reached.
        """
        where = _in(namespace) if namespace else ["--all-namespaces"]
        chosen = ["--selector", selector] if selector else []
        try:
            return _items(self.kubectl("get", kind, *where, *chosen, "--output", "json"))
        except KubectlError as error:
            if error.no_such_kind:
                return []
            raise error.failure(f"list {kind}") from error

    def nodes(self, tries: int | None = None) -> list[KubeObject]:
        """Return the nodes.

        Raises:
            KubectlError: the cluster cannot be reached.
        """
        return _items(self.kubectl("get", "nodes", "--output", "json", tries=tries))

    def has_namespace(self, name: str) -> bool:
        """Say whether a namespace exists. All are read at once: none goes away in the middle of a run."""
        if name not in self._namespaces:
            self._namespaces = {one.name for one in self.list_of("namespaces")}
        return name in self._namespaces

    def may_do_everything(self) -> bool:
        try:
            self.kubectl("auth", "can-i", "*", "*", "--all-namespaces")
        except KubectlError:
            return False
        return True

    def context(self) -> tuple[str, str]:
        """Return the name of the kubeconfig's context, and the address of its server."""
        try:
            config = json.loads(self.kubectl("config", "view", "--minify", "--output", "json"))
        except (KubectlError, ValueError):
            return "", ""
        clusters = [(one.get("cluster") or {}).get("server", "") for one in config.get("clusters") or []]
        return str(config.get("current-context", "")), str(clusters[0] if clusters else "")

    def logs(self, what: str, namespace: str, tail: int) -> str | None:
        """Return the last lines of a log; None where there is none."""
        try:
            return self.kubectl("logs", what, *_in(namespace), f"--tail={tail}")
        except KubectlError:
            return None

    # Changing

    def apply(self, what: str, manifest: Mapping[str, Any]) -> None:
        """Apply a manifest, and say so under the name *what*."""
        if self._dry_run:
            self._console.would(f"apply {what}")
            return
        self._apply(f"apply {what}", "--filename", "-", stdin=as_json(manifest))
        self._console.did(what)

    def apply_folder(self, what: str, lab: Path, folder: str) -> None:
        """Apply a kustomization of the lab's repository."""
        if self._dry_run:
            self._console.would(f"apply {what} from {folder}/")
            return
        self._apply(f"apply {folder}/", "--kustomize", str(lab / folder))
        self._console.did(f"{what}, from {folder}/")

    def apply_file(self, what: str, file: Path, namespace: str) -> None:
        """Apply a file of the lab's repository in a namespace."""
        self._apply(f"apply {what}", *_in(namespace), "--filename", str(file))
        self._console.did(what)

    def _apply(self, what: str, *arguments: str, stdin: bytes = b"") -> None:
        self._before_change()
        try:
            self.kubectl(
                "apply",
                "--server-side",
                "--force-conflicts",
                f"--field-manager={FIELD_MANAGER}",
                *arguments,
                stdin=stdin,
            )
        except KubectlError as error:
            raise error.failure(what) from error

    def apply_text(self, what: str, manifest: str, manager: str, namespace: str = "") -> None:
        """Apply a manifest as another manager of its fields would."""
        self._before_change()
        arguments = ["apply", *_in(namespace), "--server-side", "--force-conflicts", f"--field-manager={manager}"]
        try:
            self.kubectl(*arguments, "--filename", "-", stdin=manifest.encode())
        except KubectlError as error:
            raise error.failure(f"apply {what}") from error

    def patch(
        self, kind: str, name: str, namespace: str, steps: Sequence[Mapping[str, Any]], manager: str = FIELD_MANAGER
    ) -> None:
        """Change an object by a JSON patch (RFC 6902).

        Args:
            manager: in whose name. Flux takes away what kubectl's own name has written to its objects.
        Raises:
            KubectlError: it was not changed.
        """
        self._before_change()
        how = ["--type", "json", f"--field-manager={manager}", "--patch", json.dumps(list(steps))]
        self.kubectl("patch", kind, name, *_in(namespace), *how)

    def ask_flux_again(self, kind: str, name: str, namespace: str) -> None:
        """Have Flux try again now what has failed. After failures it pauses for minutes by itself.

        https://fluxcd.io/flux/components/source/gitrepositories/#triggering-a-reconcile
        """
        annotation = f"reconcile.fluxcd.io/requestedAt={time.time():.0f}"
        try:
            self.kubectl("annotate", kind, name, *_in(namespace), "--overwrite", annotation)
        except KubectlError as error:
            raise error.failure(f"ask Flux to look at {kind} {namespace}/{name} again") from error

    def kustomize(self, folder: Path) -> str:
        """Return what kustomize builds of a folder.

        Raises:
            KubectlError: it cannot be built.
        """
        done = self._programs.run(["kubectl", "kustomize", str(folder)])
        if done.status:
            raise KubectlError(done.err)
        return done.out

    def is_as(self, manifest: str, manager: str) -> bool:
        """Say whether applying a manifest would change nothing."""
        arguments = ["--server-side", "--force-conflicts", f"--field-manager={manager}", "--filename", "-"]
        return self._programs.run(["kubectl", "diff", *arguments], stdin=manifest.encode()).status == 0

    def ensure_namespace(self, name: str) -> None:
        """Make a namespace where it is missing."""
        if not self.has_namespace(name):
            self.apply(f"namespace {name}", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
            self._namespaces.add(name)

    def put_secret(self, namespace: str, name: str, values: Mapping[str, str | Secret], kind: str = "Opaque") -> None:
        """Write a Secret; the namespace is made where it is missing."""
        self.ensure_namespace(namespace)
        self.apply(f"Secret {namespace}/{name}", secret_manifest(namespace, name, values, kind))

    def delete(self, kind: str, name: str, namespace: str, what: str, *, wait: bool = True) -> None:
        """Delete an object; gone already is as good."""
        self._before_change()
        try:
            self.kubectl("delete", kind, name, *_in(namespace), "--ignore-not-found", f"--wait={str(wait).lower()}")
        except KubectlError as error:
            raise error.failure(what) from error

    def delete_selected(self, kind: str, selector: str, namespace: str, what: str, *, wait: bool = True) -> None:
        """Delete the objects that a selector chooses, after what they made; none is as good."""
        self._before_change()
        how = ["--cascade=foreground", f"--wait={str(wait).lower()}"]
        try:
            self.kubectl("delete", kind, *_in(namespace), "--selector", selector, *how)
        except KubectlError as error:
            raise error.failure(what) from error


def _in(namespace: str) -> list[str]:
    return ["--namespace", namespace] if namespace else []


def _items(said: str) -> list[KubeObject]:
    """Return what kubectl printed: a list, one object, or nothing."""
    if not said.strip():
        return []
    content = json.loads(said)
    found = content.get("items")
    return [KubeObject(one) for one in (found if found is not None else [content])]
