"""What becomes of a release in a cluster that expands, resolves, scales and calls: by Kubernetes' own rules, and a real curl."""

from __future__ import annotations

import re
import socket
import subprocess
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.chart.support.releases import HTTP, LEAST, Values, merged
from tests.chart.support.rendering import Object, container, of_kind, pod_template, render
from tests.support.http_server import Handler, HttpServer
from tests.support.tools import tool

NAMES = ["A", "B", "C", "DB_PASSWORD", "URL", "Z", "_X"]


def release(values: Values) -> list[Object]:
    return render(merged(LEAST, values))


def expanded(env: list[Object]) -> dict[str, str]:
    """Return the variables as the kubelet makes them: each may take in those before it (expansion.go, makeEnvironmentVariables)."""
    found: dict[str, str] = {}
    for one in env:
        text = one.get("value", "secret")
        found[one["name"]] = re.sub(
            r"\$\$|\$\(([^()]+)\)", lambda match: "$" if match[0] == "$$" else found.get(match[1], match[0]), text
        )
    return found


def whole(env: Values, name: str) -> str:
    """Return a variable as its owner means it, whatever stands where."""
    value = env[name]
    if isinstance(value, dict):
        return "secret"
    return re.sub(
        r"\$\$|\$\(([^()]+)\)",
        lambda match: "$" if match[0] == "$$" else whole(env, match[1]) if match[1] in env else match[0],
        value,
    )


@st.composite
def environments(draw: st.DrawFn) -> Values:
    """Draw a map of variables that take in others, without a circle, in any order of their names."""
    order = draw(st.permutations(NAMES))
    env: Values = {}
    for number, name in enumerate(order):
        parts = [f"$({other})" for other in order[:number]] + ["x", "$$", "$$(A)", "$(UNKNOWN)", "$ ", "${A}", " "]
        env[name] = draw(
            st.one_of(
                st.just({"valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}),
                st.lists(st.sampled_from(parts), max_size=4).map("".join),
            )
        )
    return env


@settings(max_examples=150, deadline=None)
@given(environments())
@pytest.mark.slow
def test_a_variable_of_a_map_stands_behind_those_that_it_takes_in(env: Values) -> None:
    made = container(release({"env": env}))["env"]
    assert sorted(one["name"] for one in made) == sorted(env)
    assert expanded(made) == {name: whole(env, name) for name in env}


def test_variables_that_take_in_nothing_come_out_sorted_and_one_that_takes_in_itself_stays() -> None:
    env = {"B": "1", "PATH": "/opt:$(PATH)", "A": "$$(B)", "C": "$(D)"}
    assert [one["name"] for one in container(release({"env": env}))["env"]] == ["A", "B", "C", "PATH"]


@pytest.mark.parametrize(
    ("values", "policy"),
    [
        ({}, None),
        ({"hostNetwork": True}, "ClusterFirstWithHostNet"),
        ({"hostNetwork": True, "dnsPolicy": "Default"}, "Default"),
        ({"hostNetwork": True, "dnsPolicy": "ClusterFirst"}, "ClusterFirst"),
        ({"dnsPolicy": "Default"}, "Default"),
        ({"hostNetwork": False}, None),
    ],
)
def test_a_pod_on_its_nodes_network_asks_the_clusters_dns(values: Values, policy: str | None) -> None:
    assert pod_template(release(values))["spec"].get("dnsPolicy") == policy


SCALER = {
    "apiVersion": "autoscaling/v2",
    "kind": "HorizontalPodAutoscaler",
    "metadata": {"name": "demo"},
    "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "demo"}, "maxReplicas": 3},
}
JOB = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"name": "job"},
    "spec": {
        "template": {
            "spec": {
                "restartPolicy": "Never",
                "containers": [{"name": "a", "image": "{{ .Values.image.repository }}:{{ .Values.image.tag }}"}],
            }
        }
    },
}


@pytest.mark.parametrize(
    "values",
    [
        {"replicas": None, "extraObjects": [SCALER]},
        {"replicas": 2, "extraObjects": [merged(SCALER, {"spec": {"scaleTargetRef": {"name": "other"}}})]},
        {"replicas": 2, "extraObjects": [merged(SCALER, {"spec": {"scaleTargetRef": {"kind": "StatefulSet"}}})]},
        {"extraObjects": [merged(JOB, {"metadata": {"annotations": {"helm.sh/hook": "pre-upgrade"}}})]},
        {"extraObjects": [merged(JOB, {"metadata": {"name": "job-{{ .Values.image.tag | replace `.` `-` }}"}})]},
        {
            "extraObjects": [
                merged(JOB, {"spec": {"template": {"spec": {"containers": [{"name": "a", "image": "busybox:1.37"}]}}}})
            ]
        },
        {"extraObjects": [merged(JOB, {"kind": "CronJob"})]},
    ],
    ids=range(7),
)
def test_an_object_beside_the_release_that_does_no_harm_is_taken(values: Values) -> None:
    made = release(values)
    assert ("replicas" in of_kind(made, "Deployment")[0]["spec"]) is (values.get("replicas", 1) is not None)


# What helm test finds at a port: a server that greets, one that waits, one that hangs up, none; HTTP with a status.


class Greeter:
    """Takes connections; then greets, says nothing, or closes."""

    def __init__(self, way: str) -> None:
        self._socket, self._way = socket.create_server(("127.0.0.1", 0)), way
        self.port: int = self._socket.getsockname()[1]
        self._open: list[socket.socket | None] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            if self._open and self._open[-1] is None:
                connection.close()
                return
            if self._way == "closes":
                connection.close()
                continue
            if self._way == "greets":
                connection.sendall(b"SSH-2.0-OpenSSH_9.9\r\n")
            self._open.append(connection)

    def close(self) -> None:
        # A last connection wakes the thread.
        self._open.append(None)
        socket.create_connection(("127.0.0.1", self.port)).close()
        self._thread.join()
        for one in (self._socket, *self._open[:-1]):
            if one is not None:
                one.close()


class Answer(Handler):
    def do_GET(self) -> None:
        self.reply(int(self.path.strip("/") or 200))


@pytest.fixture
def web() -> Iterator[int]:
    """Return the port of a web server that answers with the status that the path names."""
    with HttpServer(Answer) as server:
        yield server.server_port


def call(values: Values, port: int) -> tuple[str, int]:
    """Run the pod of helm test here, with real sh and curl, without its pauses; return the URL's scheme and how it ended."""
    (pod,) = of_kind(release(values), "Pod")
    (one,) = pod["spec"]["containers"]
    (url,) = [variable["value"] for variable in one["env"]]
    url = re.sub(r"//[^:]+:\d+", f"//127.0.0.1:{port}", url)
    script = (
        one["command"][-1]
        .replace("sleep 3", "true")
        .replace("--retry-delay 3", "--retry-delay 0")
        .replace("--retry 10", "--retry 1")
        .replace("--max-time 5", "--max-time 1")
    )
    done = subprocess.run(
        [tool("sh"), "-ec", script],
        env={"PATH": "/usr/bin:/bin", "URL": url},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return url.partition(":")[0], done.returncode


MAIL = {"services": [{"name": "imap", "servicePort": 143}]}


@pytest.mark.parametrize("way", ["greets", "waits", "closes"])
@pytest.mark.slow
def test_helm_test_is_content_with_a_healthy_service_that_speaks_no_http(way: str) -> None:
    server = Greeter(way)
    try:
        assert call(MAIL, server.port) == ("telnet", 0)
    finally:
        server.close()


@pytest.mark.slow
def test_helm_test_fails_where_nobody_listens() -> None:
    server = Greeter("waits")
    server.close()
    assert call(MAIL, server.port) == ("telnet", 1)
    assert call({"services": [HTTP]}, server.port)[1] != 0


@pytest.mark.parametrize(
    ("values", "good"),
    [
        ({"services": [HTTP]}, True),
        ({"services": [HTTP], "tests": {"path": "/401"}}, True),
        ({"services": [HTTP], "tests": {"path": "/503"}}, False),
        (
            {
                "services": [{"name": "api", "servicePort": 80}],
                "ingress": {"enabled": True, "hosts": [{"name": "demo.lab", "servicePort": 80}]},
            },
            True,
        ),
        ({"services": [{"name": "api", "servicePort": 80}], "tests": {"path": "/500"}}, False),
        ({"services": [{"name": "api", "servicePort": 80, "appProtocol": "http"}]}, True),
        ({"services": [{"name": "api", "servicePort": 80}], "tests": {"protocol": "http"}}, True),
    ],
)
@pytest.mark.slow
def test_helm_test_asks_a_web_server_for_an_answer(web: int, values: Values, good: bool) -> None:
    scheme, code = call(values, web)
    assert (scheme, code == 0) == ("http", good)


@pytest.mark.slow
def test_what_helm_test_speaks_can_be_said() -> None:
    server = Greeter("greets")
    try:
        assert call({"services": [HTTP], "tests": {"protocol": "tcp"}}, server.port) == ("telnet", 0)
        assert call({"services": [HTTP]}, server.port)[1] != 0
    finally:
        server.close()
