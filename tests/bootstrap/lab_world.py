"""The stand-in world of one test: a cluster, a GitLab, a runner's machine, an external repository, and a lab's folder.

A run of the program finds it through PATH and through GITLAB_URL. The world sees every call, can break any of them,
and can kill the run right after any change.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import os
import pty
import re
import select
import shlex
import shutil
import signal
import socketserver
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab_folder import make_lab
from stand_in_cluster import NODE_IP, CallError, Cluster, git
from stand_in_docker import write_docker
from stand_in_gitlab import Fault, GitLab, GitLabServer

CLIENT = Path(__file__).with_name("stand_in_client.sh")
STAND_INS = ("kubectl", "helm", "flux", "ssh", "ssh-keyscan")
LAB = "the owner's läb"
# What Python compiles of the program, for all worlds of this worker's user.
COMPILED = Path(tempfile.gettempdir()) / f"homelab-tests-{os.getuid()}"
FOLDERS = ("repositories", "runner's machine", LAB)
# The two changes that every run makes: the token with which it looks into GitLab, and the end of that token.
ROOT_TOKEN = {"gitlab-rails runner": "root token made", "DELETE /personal_access_tokens/self": "root token revoked"}
HOST_KEYS = """\
ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDxjjQON+TtEFycAJ8i/2LS0BqNV+HsfRh0wjSnv6YG+ root@gitlab
ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBMH6CHpprr0Nr5LjD+ibZcedjuXH\
VDJlDJflKxiUnkAI/x5T/8UxIJKlgroaAYJQ24ce8PsSVUDRjaTLvd2jRjg= root@gitlab
"""


@dataclass
class Run:
    """How one run of the program ended."""

    status: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return self.out + self.err


@dataclass(frozen=True)
class Call:
    """One call of a stand-in: the program, its arguments or its request."""

    source: str
    detail: str
    arguments: tuple[str, ...] = ()


class CallServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 64
    world: World


class CallHandler(socketserver.StreamRequestHandler):
    """One call of a stand-in, which has told its process number; it waits until its answer is complete."""

    def handle(self) -> None:
        server = self.server
        assert isinstance(server, CallServer)
        with contextlib.suppress(OSError):  # a run that was killed meanwhile waits for no answer
            caller = Caller(int(self.rfile.readline()))
            answer = server.world.call(caller)
            if answer is not None:
                status, out, error, execute = answer
                caller.hear(4, out)  # the client keeps its standard output there
                caller.hear(2, error)
                self.wfile.write("\n".join([str(status), *(execute or [])]).encode() + b"\n")


class Caller:
    """A process that called a stand-in, as /proc shows it."""

    def __init__(self, number: int) -> None:
        self.process = Path(f"/proc/{number}")
        program, *self.arguments = self.strings("cmdline")[2:]  # after "bash -p"
        self.name = Path(program).name

    @property
    def environment(self) -> dict[str, str]:
        return dict(text.split("=", 1) for text in self.strings("environ") if "=" in text)

    @property
    def folder(self) -> Path:
        return Path(os.readlink(self.process / "cwd"))

    def strings(self, name: str) -> list[str]:
        return (self.process / name).read_bytes().decode(errors="surrogateescape").split("\0")[:-1]

    def text(self) -> str:
        """Its standard input to the end; nothing where that is a terminal or /dev/null, or not meant for the world."""
        standard_input = self.process / "fd" / "0"
        # Git talks to the other side through ssh.
        if any("git-" in word for word in self.arguments) or standard_input.is_char_device():
            return ""
        return standard_input.read_text()

    def hear(self, descriptor: int, text: str) -> None:
        if text:
            target = os.open(self.process / "fd" / str(descriptor), os.O_WRONLY | os.O_APPEND)
            with open(target, "w") as stream:
                stream.write(text)


class World:
    """Everything around one lab.

    Args:
        folder: where all of it lives; made new.
        settings: what differs from lab_folder's settings, by name.
    """

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self.lock = threading.RLock()
        self.calls: list[Call] = []
        self.changes: list[str] = []
        self.errors: list[str] = []
        self.requests: set[str] = set()
        self.secrets: set[str] = set()
        self.faults: list[Fault] = []
        self.kill_after: Callable[[str, int], bool] | None = None
        self.kill_before: Callable[[Call, int], bool] | None = None
        self.watch: Callable[[str, list[str], dict[str, str]], None] | None = None
        self.look: Callable[[str, list[str], dict[str, str], Caller], None] | None = None
        self.running: subprocess.Popen[str] | None = None
        self.versions = {"kubectl": "v1.36.1", "helm": "v4.1.3", "flux": "v2.9.4"}
        self.flux_check = (0, "✔ prerequisites checks passed\n", "")
        self.cert_manager = True
        self.external_logins: set[tuple[str, str]] = set()
        self.external_keys: set[str] = set()
        self.registry_realm = ""
        self.host_keys = HOST_KEYS
        self.storage_folders: set[str] = set()
        self.vm_has: dict[str, bool] = {"ssh": True, "docker": True, "compose": True}
        folder.mkdir(parents=True, exist_ok=True)
        self.vm = folder / "runner's machine"
        self.vm.mkdir()
        self.gitlab = GitLab(folder / "repositories")
        self.gitlab.repositories.mkdir()
        self.cluster = Cluster(self)
        self.server = GitLabServer(self)
        self.lab, self.settings = make_lab(folder / LAB, self.server.port, self.vm, settings)
        self.prepare_cluster()
        self.home = folder / "home"
        self.home.mkdir()
        self.private = folder / "private"
        self.private.mkdir(mode=0o700)
        self.bin = self.make_bin()
        self.call_server = CallServer(("127.0.0.1", 0), CallHandler)
        self.call_server.world = self
        self.call_thread = threading.Thread(
            target=self.call_server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self.call_thread.start()

    def close(self) -> None:
        self.call_server.shutdown()
        self.call_thread.join()
        self.call_server.server_close()
        self.server.stop()

    @property
    def vm_up(self) -> bool:
        """Whether the runner's container runs on its machine: docker there keeps a copy of what it was started with."""
        return (self.folder / "container up").exists()

    @vm_up.setter
    def vm_up(self, up: bool) -> None:
        if up:
            (self.folder / "container up").write_text(self.runner_files())
        else:
            (self.folder / "container up").unlink(missing_ok=True)

    def runner_files(self) -> str:
        """What a runner's container that starts now is started with."""
        folder = Path(self.settings["runner_home"] or "/nonexistent")
        names = (".env", "compose.yaml", "config.toml", "ca.crt")
        return "".join((folder / name).read_text() for name in names if (folder / name).exists())

    def make_bin(self) -> Path:
        """The stand-ins as executables. -p: the options of the Bash that calls are not theirs."""
        folder = self.folder / "bin"
        folder.mkdir()
        for name in STAND_INS:
            program = folder / name
            program.write_text(f"#!{shutil.which('bash')} -p\n{CLIENT.read_text()}")
            program.chmod(0o755)
        return folder

    def prepare_cluster(self) -> None:
        """A k3s as it comes, with cert-manager, and what an owner has to have prepared."""
        cluster, settings = self.cluster, self.settings
        for namespace in ("default", "kube-system"):
            cluster.put("Namespace", "", namespace)
        cluster.put(
            "Node",
            "",
            "node-1",
            status={
                "conditions": [{"type": "Ready", "status": "True"}],
                "allocatable": {"memory": "16308744Ki"},
                "addresses": [{"type": "InternalIP", "address": NODE_IP}, {"type": "Hostname", "address": "node-1"}],
            },
        )
        cluster.put("CustomResourceDefinition", "", "ingressroutes.traefik.io")
        cluster.put("HelmChart", "kube-system", "traefik")
        cluster.put("StorageClass", "", "local-path")
        cluster.put("ClusterIssuer", "", "letsencrypt", status={"conditions": [{"type": "Ready", "status": "True"}]})
        if settings["tls_source"] == "secret":
            cluster.put("Namespace", "", settings["gitlab_namespace"])
            cluster.put_secret(
                settings["gitlab_namespace"],
                settings["tls_secret_name"],
                "kubernetes.io/tls",
                **{"tls.crt": "certificate", "tls.key": "the owner's private key"},
            )

    # Running the program

    def environment(self, **more: str) -> dict[str, str]:
        keep = {k: v for k, v in os.environ.items() if k in ("LANG", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_NOSYSTEM")}
        return (
            keep
            | {
                "PATH": f"{self.bin}:/usr/local/bin:/usr/bin:/bin",
                "HOME": str(self.home),
                "XDG_RUNTIME_DIR": str(self.private),
                "XDG_CACHE_HOME": str(COMPILED),
                "LAB_STAND_IN_PORT": str(self.call_server.server_address[1]),
                "LAB_POLL_SECONDS": "0.01",
                "LAB_RETRY_SECONDS": "0",
                "LAB_WAIT_FLUX_MINUTES": "1",
                "LAB_WAIT_GITLAB_MINUTES": "1",
                "LAB_WAIT_RUNNER_MINUTES": "1",
                "LAB_WAIT_VERIFY_MINUTES": "1",
            }
            | more
        )

    def run(
        self,
        *arguments: str,
        cwd: Path | None = None,
        command: str = "up",
        program: Sequence[str | Path] = (),
        yes: bool = True,
        **environment: str,
    ) -> Run:
        """One run without a terminal; standard input is empty.

        Args:
            command: the program's.
            program: what is started instead of ./lab.
            yes: whether it is told to answer yes, as a run without a terminal has to be.
        """
        words = [command, *(["--yes"] if yes and command != "new-app" else []), *arguments]
        call = [*map(str, program or [self.lab / "lab"]), *words]
        with subprocess.Popen(
            call,
            cwd=cwd or self.folder,
            env=self.environment(**environment),
            text=True,
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            self.running = process
            try:
                out, err = process.communicate(timeout=120)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                out, err = process.communicate()
                self.errors.append(f"the run did not end by itself; so far:\n{out}{err}")
            self.running = None
            return Run(process.returncode, out, err)

    def must_run(self, *arguments: str, **more: Any) -> Run:
        run = self.run(*arguments, **more)
        assert run.status == 0, run.text
        assert not self.errors, (self.errors, run.text)
        return run

    # What the stand-ins ask

    def see(self, source: str, detail: str, arguments: list[str]) -> None:
        """Take note of a call.

        Raises:
            ConnectionAbortedError: the run was killed before the call; it is not to be carried out.
        """
        call = Call(source, detail, tuple(arguments))
        self.calls.append(call)
        self.cluster.tick()
        if self.kill_before and self.kill_before(call, len(self.calls)):
            self.kill()
            raise ConnectionAbortedError(detail)

    def call(self, caller: Caller) -> tuple[int, str, str, Any] | None:
        name, arguments, text = caller.name, caller.arguments, caller.text()
        with self.lock:
            self.see(name, " ".join(arguments), arguments)
            if self.watch:
                self.watch(name, arguments, caller.environment)
            if self.look:
                self.look(name, arguments, caller.environment, caller)
            fault = self.fault_for(name, " ".join(arguments))
            if fault and isinstance(fault.kind, str) and fault.kind not in ("lost", "half"):
                return 255 if name == "ssh" else 1, "", fault.kind + "\n", None
            before = self.fingerprint(
                reading=name == "kubectl" and bool({"get", "logs", "version", "auth"} & set(arguments[:2]))
            )
            try:
                answer = self.dispatch(caller, text)
            except CallError as error:
                self.errors.append(f"{name}: {error}")
                answer = (99, "", f"{error}\n", None)
            except Exception as error:  # noqa: BLE001 - whatever it is, the test has to hear of it
                self.errors.append(f"{name} {arguments}: {error!r}")
                answer = (99, "", f"{error!r}\n", None)
            if self.changed_since(before, f"{name} {' '.join(arguments)[:100]}"):
                return None
            if fault and fault.kind in ("lost", "half"):
                return 255 if name == "ssh" else 1, "", "error: unexpected EOF\n", None
            return answer

    def dispatch(self, caller: Caller, text: str) -> tuple[int, str, str, Any]:
        name, arguments = caller.name, caller.arguments
        if name == "kubectl":
            if "apply" not in arguments and '"Secret"' in text:
                raise CallError("a Secret where none is expected")
            self.remember_manifest(text)
            return (*self.cluster.kubectl(arguments, text), None)
        if name == "helm":
            return (*self.cluster.run_helm(arguments, caller.folder), None)
        if name == "flux":
            return (*self.cluster.run_flux(arguments), None)
        if name == "ssh-keyscan":
            return (
                0,
                "".join(f"external.example {' '.join(k.split()[:2])}\n" for k in self.host_keys.splitlines()),
                "# comment\n",
                None,
            )
        return self.ssh(arguments, text)

    def fault_for(self, source: str, detail: str) -> Fault | None:
        return next((f for f in self.faults if f.applies(source, detail)), None)

    # Changes, and kills after them

    def state(self) -> dict[str, Any]:
        gitlab = {k: v for k, v in vars(self.gitlab).items() if isinstance(v, (list, dict, set))}
        objects = {"|".join(key): self.stable(item) for key, item in self.cluster.objects.items() if key[0] != "Pod"}
        paths = sorted(self.vm.rglob("*"))
        files = {str(p): (p.read_text(), p.stat().st_mode & 0o777) for p in paths if p.is_file()}
        folders = [str(p) for p in paths if p.is_dir()]
        heads = {str(r): self.heads(r) for r in self.gitlab.all_repositories()}
        return {
            "gitlab": gitlab,
            "objects": objects,
            "helm": self.cluster.helm,
            "vm": files,
            "folders": folders,
            "heads": heads,
            "up": self.vm_up,
        }

    @staticmethod
    def stable(item: dict[str, Any]) -> dict[str, Any]:
        return {k: v for k, v in item.items() if k != "status"}

    @staticmethod
    def heads(repository: Path) -> dict[str, str]:
        return {p.name: p.read_text().strip() for p in sorted((repository / "refs" / "heads").glob("*")) if p.is_file()}

    def fingerprint(self, reading: bool = False) -> str:
        """The state in short; of a call that only reads nothing, since it takes time and nothing can have changed."""
        if reading:
            return ""
        return hashlib.sha256(json.dumps(self.state(), sort_keys=True, default=str).encode()).hexdigest()

    def changed_since(self, before: str, what: str) -> bool:
        """Note a change; true where the run is killed for it."""
        if not before or self.fingerprint() == before:
            return False
        self.changes.append(ROOT_TOKEN.get(next((w for w in ROOT_TOKEN if w in what), ""), what))
        if self.kill_after and self.kill_after(what, len(self.changes)):
            self.kill()
            return True
        return False

    def kill(self) -> None:
        self.kill_after = self.kill_before = None
        if self.running:
            os.killpg(self.running.pid, signal.SIGKILL)

    # GitLab, the runner and Flux, seen from each other

    def gitlab_is_ready(self) -> bool:
        deployment = self.cluster.find("Deployment", self.settings["gitlab_namespace"], "gitlab")
        return bool(deployment and deployment.get("status", {}).get("readyReplicas"))

    def demo_runs(self) -> bool:
        deployment = self.cluster.find("Deployment", self.settings["app_namespace"], "demo")
        return bool(deployment and deployment["status"]["readyReplicas"])

    def runner_tokens(self) -> set[str]:
        """The tokens with which the runner was started: each name in its settings is a variable of its environment."""
        if self.settings["runner_kind"] == "kubernetes":
            return self.cluster.runner_tokens
        started = (self.folder / "container up").read_text() if self.vm_up else ""
        return {token for token in re.findall(r"^RUNNER_TOKEN\w*=(.*)$", started, re.M) if token}

    def vm_step(self) -> None:
        """Each runner, once started with a valid token, reports to GitLab."""
        tokens = self.runner_tokens()
        for runner in self.gitlab.runners:
            if runner["token"] in tokens:
                runner.update(status="online", online=True)

    def runner_is_online(self) -> bool:
        tokens = self.runner_tokens()
        return any(r["token"] in tokens for r in self.gitlab.runners)

    def repository_problem(self, url: str, branch: str) -> str:
        """Why Flux cannot read its repository; nothing where it can."""
        secret = self.cluster.secret("flux-system", "flux-system")
        if url.startswith("https://"):
            ok = (secret.get("username"), secret.get("password")) in self.external_logins
            return "" if ok else "authentication required"
        public = " ".join(secret.get("identity.pub", "").split()[:2])
        if self.settings["gitops_source"] == "external":
            if public not in self.external_keys:
                return "ssh: unable to authenticate"
            return ""
        name = f"[gitlab-ssh.{self.settings['gitlab_namespace']}.svc.cluster.local]:{self.settings['ssh_port']}"
        expected = {f"{name} {' '.join(k.split()[:2])}" for k in self.host_keys.splitlines()}
        if set(secret.get("known_hosts", "").splitlines()) != expected:
            return "knownhosts: key is unknown"
        project = self.gitlab.project(self.settings["lab_project"])
        keys = [k["key"] for k in self.gitlab.deploy_keys if project and k["project"] == project["id"]]
        if not public or public not in [" ".join(k.split()[:2]) for k in keys]:
            return "ssh: unable to authenticate"
        if branch not in self.heads(self.gitlab.repository(self.settings["lab_project"])):
            return f"couldn't find remote ref refs/heads/{branch}"
        return ""

    def tip(self) -> str:
        """The commit that Flux's branch is at."""
        project = "external/lab" if self.settings["gitops_source"] == "external" else self.settings["lab_project"]
        return self.heads(self.gitlab.repository(project)).get(self.settings["gitops_branch"], "")

    def commit_tag(self, tag: str) -> str:
        """What image automation does: a commit with the new tag, pushed with Flux's own key."""
        branch = self.settings["gitops_branch"]
        if self.settings["gitops_source"] == "external":
            repository = self.gitlab.repository("external/lab")
        else:
            repository = self.gitlab.repository(self.settings["lab_project"])
            public = self.cluster.secret("flux-system", "flux-system")["identity.pub"]
            if not self.gitlab.key_may_push(self.settings["lab_project"], branch, public):
                return "failed to push: You are not allowed to push code to protected branches on this project."
        text = git(repository, "show", f"{branch}:apps/demo/helmrelease.yaml") + "\n"
        text = re.sub(r"tag: \S+ #", f"tag: {tag} #", text)
        message = f"demo -> {tag}"
        stream = (
            f"commit refs/heads/{branch}\ncommitter Flux <flux@lab> 1790000000 +0000\ndata {len(message)}\n{message}\n"
            f"from refs/heads/{branch}^0\nM 100644 inline apps/demo/helmrelease.yaml\n"
            f"data {len(text.encode())}\n{text}\n"
        )
        git(repository, "fast-import", "--quiet", text=stream.encode())
        return ""

    # The runner's machine, and SSH to an external repository

    def ssh(self, arguments: list[str], text: str) -> tuple[int, str, str, Any]:
        words, options = [], []
        rest = iter(arguments)
        for item in rest:
            if item in ("-o", "-p", "-i"):
                options.append((item, next(rest)))
            elif item != "-k":  # a flag that asks for less
                words.append(item)
        if "external.example" in words[0]:
            return self.external_ssh(words, dict(options))
        if not self.vm_has["ssh"]:
            return 255, "", f"ssh: connect to host {self.settings['runner_host']} port 22: Connection refused\n", None
        if words[0] != f"{self.settings['runner_user']}@{self.settings['runner_host']}" or len(words) != 2:
            raise CallError(f"ssh {words}")
        docker = self.vm_bin()
        result = subprocess.run(
            ["/bin/sh", "-c", words[1]],
            input=text,
            capture_output=True,
            text=True,
            cwd=self.vm,
            env={"PATH": f"{docker}:/usr/bin:/bin", "HOME": str(self.vm)},
            check=False,
        )
        self.errors += [f"{p} can be read by others" for p in self.vm.rglob(".env*") if p.stat().st_mode & 0o077]
        return result.returncode, result.stdout, result.stderr, None

    def vm_bin(self) -> Path:
        """The programs of the runner's machine that are not the real ones."""
        folder = self.folder / "vm bin"
        folder.mkdir(exist_ok=True)
        self.write_docker(folder / "docker")
        # What is only closed afterwards was open for a moment.
        (folder / "chmod").write_text(
            f"#!/bin/sh\nstat -c '%a %n' \"$2\" >>'{self.folder}/modes'\nexec /bin/chmod \"$@\"\n"
        )
        (folder / "chmod").chmod(0o755)
        return folder

    def write_docker(self, program: Path) -> None:
        """Docker on the runner's machine: refuses what nobody here asks for, and a compose file without its .env."""
        if not self.vm_has["docker"]:
            program.unlink(missing_ok=True)
            return
        write_docker(program, self.folder / "container up", self.vm_has["compose"])

    def external_ssh(self, words: list[str], options: dict[str, str]) -> tuple[int, str, str, Any]:
        key = Path(options.get("-i", "/nonexistent"))
        if key.stat().st_mode & 0o077:
            return 255, "", "bad permissions\n", None
        public = subprocess.run(["ssh-keygen", "-y", "-f", str(key)], capture_output=True, text=True, check=True).stdout
        if " ".join(public.split()[:2]) not in self.external_keys:
            return 255, "", "git@external.example: Permission denied (publickey).\n", None
        command = shlex.split(" ".join(words[1:]))
        repository = self.gitlab.repositories / command[1].strip("/").lower()
        return 0, "", "", [command[0], str(repository)]

    # Secrets

    def remember_secrets(self, content: Any) -> None:
        for item in content if isinstance(content, list) else [content]:
            if isinstance(item, dict) and item.get("masked") is False:
                continue  # a variable that everybody may read in a job's log
            for name in ("token", "value"):
                if isinstance(item, dict) and isinstance(item.get(name), str) and item[name]:
                    self.secrets.add(item[name])
        self.secrets.update(p["token"] for p in self.gitlab.pats)

    def remember_manifest(self, text: str) -> None:
        if '"Secret"' in text:
            document = json.loads(text)
            for key, value in document.get("data", {}).items():
                if key not in ("identity.pub", "known_hosts", "ca.crt", "username", "tls.crt"):
                    import base64

                    plain = base64.b64decode(value).decode()
                    self.secrets |= {plain.strip(), value}
                    if key == ".dockerconfigjson":
                        self.secrets |= {
                            part
                            for auth in json.loads(plain)["auths"].values()
                            for part in (auth["password"], auth["auth"])
                        }

    # Saving and comparing

    def save(self, name: str) -> dict[str, Any]:
        """The whole state under a name, to start from again with restore."""
        for part in FOLDERS:
            shutil.copytree(self.folder / part, self.folder / "saved" / name / part, symlinks=True)
        gitlab = {k: v for k, v in vars(self.gitlab).items() if k != "repositories"}
        state = {
            "gitlab": gitlab,
            "cluster": self.cluster.copy_state(),
            "up": (self.folder / "container up").read_text() if self.vm_up else None,
            "storage": self.storage_folders,
            "rest": {
                name: getattr(self, name)
                for name in ("registry_realm", "versions", "vm_has", "flux_check", "host_keys")
            },
        }
        return copy.deepcopy(state) | {"name": name}

    def restore(self, saved: dict[str, Any]) -> None:
        """Back to a saved state; what was ordered to go wrong is forgotten."""
        saved = copy.deepcopy(saved)
        for part in FOLDERS:
            shutil.rmtree(self.folder / part)
            shutil.copytree(self.folder / "saved" / saved["name"] / part, self.folder / part, symlinks=True)
        vars(self.gitlab).update(saved["gitlab"])
        vars(self.cluster).update(saved["cluster"])
        self.storage_folders = saved["storage"]
        self.vm_up = saved["up"] is not None
        if self.vm_up:
            (self.folder / "container up").write_text(saved["up"])
        vars(self).update(saved["rest"])
        self.calls, self.changes, self.errors, self.faults = [], [], [], []
        self.kill_after = self.kill_before = self.watch = self.look = None
        for left in self.private.iterdir():
            shutil.rmtree(left)
        shutil.rmtree(self.home, ignore_errors=True)
        self.home.mkdir()

    def summary(self) -> dict[str, Any]:
        """The state with every random part replaced by what it stands for, so that two worlds can be compared."""
        text = json.dumps(self.outcome(), sort_keys=True, default=str)
        for secret, meaning in sorted(self.meanings().items(), key=lambda pair: -len(pair[0])):
            text = text.replace(json.dumps(secret)[1:-1], f"<{meaning}>")
        return json.loads(text)

    def meanings(self) -> dict[str, str]:
        found = {}
        names = {p["id"]: p["path_with_namespace"] for p in self.gitlab.projects} | {
            g["id"]: g["full_path"] for g in self.gitlab.groups
        }
        for token in self.gitlab.deploy_tokens:
            meaning = f"deploy token {token['name']} of {names[token['group']]}"
            found |= {token["token"]: meaning, token["username"]: f"user of {meaning}"}
        found |= {t["token"]: f"project token {t['name']}" for t in self.gitlab.project_tokens}
        found |= {r["token"]: f"runner {r['description']}" for r in self.gitlab.runners}
        receiver = self.cluster.secret("flux-system", "receiver-token").get("token", "none")
        found[receiver] = "receiver token"
        for name in ("gitlab", "registry"):
            found[hashlib.sha256(f"{receiver}{name}flux-system".encode()).hexdigest()] = f"path of {name}"
        credential = self.cluster.secret("flux-system", "flux-system")
        found |= {credential[k]: f"flux {k}" for k in ("identity", "identity.pub") if k in credential}
        return {k: v for k, v in found.items() if k}

    def outcome(self) -> dict[str, Any]:
        gitlab, names = self.gitlab, {}
        for item in [*gitlab.projects, *gitlab.groups]:
            names[item["id"]] = item.get("path_with_namespace") or item["full_path"]
        keys = {k["id"]: k["title"] for k in gitlab.deploy_keys}

        def rows(items: list[dict[str, Any]], *shown: str) -> list[Any]:
            found = [{n: i[n] for n in shown} | {"of": names.get(i.get("project", i.get("group")))} for i in items]
            return sorted(found, key=lambda r: json.dumps(r, sort_keys=True))

        branches = [
            {
                "of": names[b["project"]],
                "name": b["name"],
                "push": sorted(str(keys.get(p["deploy_key_id"], p["access_level"])) for p in b["push_access_levels"]),
            }
            for b in gitlab.protected_branches
        ]
        secret_names = sorted(k for k in self.cluster.objects if k[0] == "Secret")
        return {
            "groups": rows(gitlab.groups, "full_path", "visibility"),
            "projects": rows(
                gitlab.projects,
                "path_with_namespace",
                "visibility",
                "default_branch",
                "ci_push_repository_for_job_token_allowed",
            ),
            "deploy tokens": rows(gitlab.deploy_tokens, "name", "scopes", "token", "username"),
            "project tokens": rows(gitlab.project_tokens, "name", "scopes", "access_level", "token"),
            "deploy keys": rows(gitlab.deploy_keys, "title", "key", "can_push"),
            "branches": sorted(branches, key=str),
            "protected tags": rows(gitlab.protected_tags, "name"),
            "variables": rows(gitlab.variables, "key", "value", "masked", "protected"),
            "hooks": rows(gitlab.hooks, "url", "token"),
            "runners": rows(gitlab.runners, "description", "runner_type", "status", "token"),
            "project variables": rows(gitlab.project_variables, "key", "value", "masked", "protected"),
            "tags": rows(gitlab.tags, "name"),
            "images": gitlab.images,
            "whitelist": gitlab.whitelist,
            "root tokens that are valid": [p["name"] for p in gitlab.pats if not p["revoked"]],
            "objects": sorted("/".join(k) for k in self.cluster.objects if k[0] not in ("Pod", "Secret")),
            "secrets": {
                "/".join(k[1:]): {"type": self.cluster.objects[k]["type"], "data": self.readable(*k[1:])}
                for k in secret_names
            },
            "helm": self.cluster.helm and self.cluster.helm["status"],
            "gitlab pods": self.cluster.gitlab_uid,
            "runner up": self.vm_up,
            "runner up to date": not self.vm_up or (self.folder / "container up").read_text() == self.runner_files(),
            "vm": {
                str(p.relative_to(self.vm)): (p.read_text(), oct(p.stat().st_mode & 0o777))
                for p in sorted(self.vm.rglob("*"))
                if p.is_file()
            },
            "repositories": {
                str(r.relative_to(gitlab.repositories)): self.commits(r) for r in gitlab.all_repositories()
            },
            "storage": sorted(self.storage_folders),
        }

    def readable(self, namespace: str, name: str) -> dict[str, Any]:
        data: dict[str, Any] = self.cluster.secret(namespace, name)
        if "password" in data and name == "gitlab-root":
            data["password"] = f"{len(data['password'])} characters"
        if ".dockerconfigjson" in data:
            data = {
                k: {"username": v["username"], "password": v["password"]}
                for k, v in json.loads(data[".dockerconfigjson"])["auths"].items()
            }
        return data

    @staticmethod
    def commits(repository: Path) -> dict[str, list[str]]:
        found = {}
        for branch in World.heads(repository):
            found[branch] = git(repository, "log", "--format=%s", branch).splitlines()
        return found


@contextlib.contextmanager
def world_in(folder: Path, **settings: Any) -> Iterator[World]:
    """A world for the length of a block."""
    world = World(folder, **settings)
    try:
        yield world
    finally:
        world.close()


class Terminal:
    """A run with a terminal, whose questions are answered as they come."""

    def __init__(self, world: World, *arguments: str, command: str = "up", **environment: str) -> None:
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.chdir(world.folder)
            os.execve(str(world.lab / "lab"), ["lab", command, *arguments], world.environment(**environment))
        self.bytes = b""
        self.deadline = time.monotonic() + 120

    def read(self) -> bool:
        """Read what is there, or comes; false where the run has ended. One that does not end is killed."""
        left = self.deadline - time.monotonic()
        if left < 0 or not select.select([self.master], [], [], left)[0]:
            os.killpg(self.pid, signal.SIGKILL)
            raise AssertionError(f"the run did not end by itself; so far:\n{self.text[-3000:]}")
        try:
            part = os.read(self.master, 65536)
        except OSError:
            return False
        self.bytes += part
        return part != b""

    @property
    def text(self) -> str:
        return self.bytes.decode(errors="replace")

    def read_until(self, words: str) -> None:
        while words not in self.text and self.read():
            pass
        assert words in self.text, self.text

    def answer(self, question: str, words: str) -> None:
        self.read_until(question)
        os.write(self.master, (words + "\n").encode())

    def end(self) -> int:
        while self.read():
            pass
        os.close(self.master)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
