"""Machines as network namespaces around this process's own, which is the node; kube-router holds the network policies there.

What is real: packets, connection tracking, iptables and ipset of the kernel, and the controller that k3s has built in. Pods
hang at the node by veth pairs, as with Calico; kube-proxy's part is a few rules that lead the addresses of Services on.
"""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import TypeVar

from tests.cluster.control_plane import ControlPlane
from tests.cluster.paths import BIN
from tests.cluster.processes import Processes

Result = TypeVar("Result")
CLONE_NEWNET = 0x40000000
NAMESPACES = Path("/run/netns")
NODE, NODE_IN_PODS, NODE_NAME = "192.168.1.10", "10.42.0.1", "k3s-1"
PATIENCE = 2.0  # seconds; a connection that a policy refuses is answered, one that is dropped is not
_libc = ctypes.CDLL(None, use_errno=True)
NODE_OBJECT = f"""\
apiVersion: v1
kind: Node
metadata: {{name: {NODE_NAME}, labels: {{kubernetes.io/hostname: {NODE_NAME}}}}}
spec: {{podCIDR: 10.42.0.0/24, podCIDRs: [10.42.0.0/24]}}
status: {{addresses: [{{type: InternalIP, address: {NODE}}}, {{type: Hostname, address: {NODE_NAME}}}]}}
"""


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout


def _enter(machine: str) -> None:
    """Let this thread be in a machine's network for good."""
    handle = os.open(NAMESPACES / machine, os.O_RDONLY)
    status, number = _libc.setns(handle, CLONE_NEWNET), ctypes.get_errno()
    os.close(handle)
    if status != 0:
        raise OSError(number, os.strerror(number), machine)


def inside(machine: str, call: Callable[[], Result]) -> Result:
    """Call something in a machine's network; what it opens stays there. The node's own is the empty name."""
    if not machine:
        return call()
    result: list[Result] = []
    problem: list[BaseException] = []

    def work() -> None:
        try:
            _enter(machine)
            result.append(call())
        except BaseException as error:  # noqa: BLE001 - handed to who asked
            problem.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if problem:
        raise problem[0]
    return result[0]


class Network:
    """The node and the machines around it."""

    def __init__(self) -> None:
        self.listening: list[socket.socket] = []
        self.machines: list[str] = []
        # Without a limit each refusal is answered at once, not only the first of a second.
        for name, value in (
            ("ip_forward", "1"),
            ("conf/all/rp_filter", "0"),
            ("conf/default/rp_filter", "0"),
            ("icmp_ratelimit", "0"),
        ):
            Path("/proc/sys/net/ipv4", name).write_text(value, encoding="ascii")
        for address in (NODE, NODE_IN_PODS):
            _run("ip", "address", "add", f"{address}/32", "dev", "lo")

    def add(self, name: str, address: str) -> None:
        """Add a machine, which reaches all others by the node."""
        number = address.replace(".", "-")
        near, far = f"n{number}"[:15], f"f{number}"[:15]
        _run("ip", "netns", "add", name)
        self.machines.append(name)
        _run("ip", "link", "add", near, "type", "veth", "peer", "name", far)
        _run("ip", "link", "set", far, "netns", name)
        _run("ip", "link", "set", near, "up")
        _run("ip", "route", "add", f"{address}/32", "dev", near, "src", NODE)
        for arguments in (
            ("link", "set", "lo", "up"),
            ("address", "add", f"{address}/32", "dev", far),
            ("link", "set", far, "up"),
            ("route", "add", NODE, "dev", far, "scope", "link"),
            ("route", "add", "default", "via", NODE),
        ):
            _run("ip", "-netns", name, *arguments)

    def lead(self, protocol: str, address: str, port: int, to: str) -> None:
        """Lead what is sent to a Service's address on to a pod or the node, as kube-proxy does."""
        rule = ["--protocol", protocol, "--destination", address, "--dport", str(port)]
        for chain in ("PREROUTING", "OUTPUT"):
            _run(
                "iptables",
                "--wait",
                "--table",
                "nat",
                "--append",
                chain,
                *rule,
                "--jump",
                "DNAT",
                "--to-destination",
                to,
            )

    def listen(self, machine: str, port: int, protocol: str = "tcp", address: str = "0.0.0.0") -> None:
        kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM

        def opened() -> socket.socket:
            found = socket.socket(socket.AF_INET, kind)
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found.bind((address, port))
            if protocol == "tcp":
                found.listen()
            return found

        server = inside(machine, opened)
        self.listening.append(server)
        threading.Thread(target=_serve, args=(server, protocol), daemon=True).start()

    def reaches(self, machine: str, address: str, port: int, protocol: str = "tcp") -> bool:
        """Say whether a connection comes about, and an answer over it."""
        return inside(machine, lambda: _calls(address, port, protocol))

    def stop(self) -> None:
        """Leave this process's network as it was, for whatever runs here next; kube-router has ended."""
        for server in self.listening:
            with suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            server.close()
        for table in ("filter", "nat", "mangle"):
            for action in ("--flush", "--delete-chain"):
                _run("iptables", "--wait", "--table", table, action)
        _run("ipset", "destroy")
        for machine in self.machines:
            _run("ip", "netns", "delete", machine)
        for address in (NODE, NODE_IN_PODS):
            _run("ip", "address", "delete", f"{address}/32", "dev", "lo")


def _serve(server: socket.socket, protocol: str) -> None:
    while True:
        try:
            if protocol == "udp":
                _, caller = server.recvfrom(64)
                if caller is None:  # it was shut down
                    return
                server.sendto(b"here", caller)
                continue
            connection, _ = server.accept()
        except OSError:
            return
        with closing(connection), suppress(OSError):
            connection.sendall(b"here")


def _calls(address: str, port: int, protocol: str) -> bool:
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    with closing(socket.socket(socket.AF_INET, kind)) as caller:
        caller.settimeout(PATIENCE)
        try:
            caller.connect((address, port))
            if protocol == "udp":
                caller.send(b"?")
            return caller.recv(64) == b"here"
        except OSError:
            return False


def start_kube_router(plane: ControlPlane, processes: Processes) -> None:
    """Start what holds the policies on the node; nothing else of kube-router's."""
    command = [
        str(BIN / "kube-router"),
        "--run-firewall=true",
        "--run-router=false",
        "--run-service-proxy=false",
        f"--kubeconfig={plane.kubeconfig}",
        f"--hostname-override={NODE_NAME}",
        "--service-cluster-ip-range=10.43.0.0/16",
        "--metrics-port=0",
        "--health-port=0",
        "--iptables-sync-period=5m",
    ]
    processes.start("kube-router", command, {"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"})
