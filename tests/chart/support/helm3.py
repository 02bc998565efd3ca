"""Two Helms of the third generation, asked for what they make of the chart: 3.17 as a command, and the 3.19 of Flux 2.7."""

from __future__ import annotations

import base64
import gzip
import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.chart.support.rendering import CHART
from tests.support.http_server import Handler, HttpServer
from tests.support.tools import NODE_MODULES

# Linux on x86-64 only: the platform for which a registry of packages has a program with Helm 3.19 in it.
PROGRAM = NODE_MODULES / "kubernetes-mcp-server-linux-amd64/bin/kubernetes-mcp-server-linux-amd64"
Kind = tuple[str, str]  # apiVersion, kind


@dataclass(frozen=True)
class Answer:
    """What a Helm made of values: its manifests, or why it refuses."""

    manifests: str
    refusal: str


class CommandLine:
    """Helm 3.17, or the Helm 3 that HELM3 names, as a command."""

    def __init__(self) -> None:
        self._program = os.environ.get("HELM3") or str(Path(sys.executable).with_name("helm"))

    def version(self) -> str:
        return subprocess.run([self._program, "version", "--short"], capture_output=True, text=True, check=True).stdout

    def template(self, values: Any, kinds: Iterable[Kind]) -> Answer:
        """Render the chart as the release demo in the namespace apps. A command needs no cluster, so `kinds` say nothing to it."""
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".json") as file:
            json.dump(values, file, ensure_ascii=False)
            file.flush()
            command = [self._program, "template", "demo", str(CHART), "--namespace", "apps", "--values", file.name]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        return Answer(done.stdout, done.stderr if done.returncode else "")

    def close(self) -> None:
        """Nothing runs between two questions."""


class Cluster(HttpServer):
    """A Kubernetes API that knows kinds, holds nothing, and takes nothing; it keeps the release that Helm wants to store.

    Helm writes its record of a release, with all that it rendered, before it makes the first object: refused there, it stops.
    Sources: kubernetes.io/docs/concepts/overview/kubernetes-api (discovery), helm.sh/docs/topics/advanced (storage backends).
    """

    def __init__(self) -> None:
        self.kinds: set[Kind] = set()
        self.release: dict[str, Any] = {}
        super().__init__(_Api)

    def answer(self, path: str) -> tuple[int, dict[str, Any]]:
        """Return the status and the body for a GET."""
        if path == "/version":
            return 200, {"major": "1", "minor": "34", "gitVersion": "v1.34.0"}
        if path in {"/api", "/apis"}:
            served: dict[str, list[dict[str, Any]]] = {}
            for version, kind in sorted(self.kinds):
                if ("/" in version) is (path == "/apis"):
                    group, _, number = version.rpartition("/")
                    served.setdefault(version, []).append(
                        {
                            "resource": f"{kind.lower()}s",
                            "singularResource": kind.lower(),
                            "scope": "Namespaced",
                            "verbs": ["create", "get"],
                            "responseKind": {"group": group, "version": number, "kind": kind},
                        }
                    )
            groups = [
                {
                    "metadata": {"name": group},
                    "versions": [{"version": number, "resources": resources, "freshness": "Current"}],
                }
                for version, resources in served.items()
                for group, _, number in [version.rpartition("/")]
            ]
            return 200, {
                "kind": "APIGroupDiscoveryList",
                "apiVersion": "apidiscovery.k8s.io/v2",
                "metadata": {},
                "items": groups,
            }
        if path.endswith("/secrets"):
            return 200, {"kind": "SecretList", "apiVersion": "v1", "metadata": {}, "items": []}
        return 404, {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "reason": "NotFound",
            "message": path,
            "code": 404,
        }


class _Api(Handler):
    server: Cluster

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if (
            path == "/openapi/v2"
        ):  # no byte at all is a document without a schema: Helm leaves the checking to the cluster
            self.reply(200, b"", {"Content-Type": "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"})
            return
        status, body = self.server.answer(path)
        kind = "application/json"
        if body.get("kind") == "APIGroupDiscoveryList":
            kind += ";g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
        self.reply_json(status, body, {"Content-Type": kind})

    def do_POST(self) -> None:
        secret = self.body()
        if self.headers["Content-Type"] == "application/json":
            record = base64.b64decode(json.loads(secret)["data"]["release"])
        else:  # protobuf, where the value stands as it is; gzip in base64 begins like this
            record = re.findall(rb"H4sI[\w+/]+=*", secret)[0]
        self.server.release = json.loads(gzip.decompress(base64.b64decode(record)))
        refused = {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "reason": "Forbidden",
            "message": "seen enough",
            "code": 403,
        }
        self.reply_json(403, refused)


class Server:
    """Helm 3.19, inside kubernetes-mcp-server, which takes requests by its standard input and installs into a `Cluster`.

    Source: modelcontextprotocol.io/specification (stdio transport, JSON-RPC 2.0, a message a line).
    """

    def __init__(self, work: Path) -> None:
        self._cluster = Cluster()
        user = {"cluster": "c", "user": "u", "namespace": "apps"}
        (work / "kubeconfig").write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "c",
                    "contexts": [{"name": "c", "context": user}],
                    "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{self._cluster.server_port}"}}],
                    "users": [{"name": "u", "user": {}}],
                }
            ),
            encoding="utf-8",
        )
        self._work, self._numbers = work, itertools.count(1)
        self._start()

    def _start(self) -> None:
        # Its home is a folder of the test's, too: Helm makes its cache there.
        self._process = subprocess.Popen(
            [PROGRAM, "--kubeconfig", self._work / "kubeconfig", "--toolsets", "helm"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=self._work,
            env={"HOME": str(self._work), "GOGC": "400"},
        )
        self._ask(
            "initialize", protocolVersion="2024-11-05", capabilities={}, clientInfo={"name": "tests", "version": "1"}
        )
        self._send(method="notifications/initialized")

    def _send(self, **message: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        self._process.stdin.flush()

    def _ask(self, method: str, **parameters: Any) -> Any:
        number = next(self._numbers)
        self._send(id=number, method=method, params=parameters)
        for answer in self._answers():
            if answer.get("id") == number:
                return answer["result"]
        raise AssertionError(f"{PROGRAM.name} ended")

    def _answers(self) -> Iterator[dict[str, Any]]:
        assert self._process.stdout is not None
        return (json.loads(line) for line in self._process.stdout)

    def version(self) -> str:
        """Return the version of Helm 3 that Go wrote into the program."""
        found = re.search(rb"\ndep\thelm\.sh/helm/v3\t(v[\d.]+)", PROGRAM.read_bytes())
        assert found is not None
        return found[1].decode()

    def template(self, values: Any, kinds: Iterable[Kind]) -> Answer:
        """Install the chart as the release demo into the namespace apps of a cluster that knows these kinds, and those of before."""
        self._cluster.release = {}
        if unknown := set(kinds) - self._cluster.kinds:  # what a cluster knows is asked once, and remembered
            self._cluster.kinds |= unknown
            self._stop()
            self._start()
        arguments = {"chart": str(CHART), "name": "demo", "namespace": "apps", "values": values}
        result = self._ask("tools/call", name="helm_install", arguments=arguments)
        if release := self._cluster.release:
            return Answer(
                "\n---\n".join([release["manifest"], *(hook["manifest"] for hook in release.get("hooks", []))]), ""
            )
        return Answer("", result["content"][0]["text"])

    def close(self) -> None:
        self._stop()
        self._cluster.stop()

    def _stop(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=10)
        self._process.stdout.close()
