"""Build the real programs of the cluster tests from pinned Go modules.

Each folder of programs/ is a Go module that pins one program and all that it is built from. What was built stays in
`.cluster/` of the checkout until its pins change, and in the user's cache, from which another checkout takes it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from extensions.facts import AGE_VERSION, FLUX_VERSION
from tests.cluster.paths import BIN, PROGRAMS, ROOT

KUBERNETES = "1.36.3"
FLUX = FLUX_VERSION
CONTROLLERS = (
    "source-controller",
    "kustomize-controller",
    "helm-controller",
    "notification-controller",
    "image-reflector-controller",
    "image-automation-controller",
)
GO = (1, 26)
FLAGS = ("-mod=readonly", "-trimpath")
# No program here is debugged: what a debugger reads is neither compiled nor linked, which takes an eighth of the time.
COMPILED = "-gcflags=all=-dwarf=false"
LINKED = ("-s", "-w")
# Go's compiler and linker collect garbage less often while memory lasts: the whole build takes 4 % less time.
COLLECTING = {"GOGC": "400", "GOMEMLIMIT": "1500MiB"}
MONTH = 30 * 86400
KEPT = Path.home() / ".cache" / "copier-gitlab-homelab" / "programs"
# Where the definitions of custom resources lie that a lab uses and Flux does not bring, by module.
DEFINITIONS = {
    "github.com/traefik/traefik/v3": ["docs/content/reference/dynamic-configuration/kubernetes-crd-definition-v1.yml"],
    "github.com/cert-manager/cert-manager": ["deploy/crds/*.yaml"],
    "sigs.k8s.io/gateway-api": [
        "config/crd/experimental/gateway.networking.k8s.io_gateways.yaml",
        "config/crd/experimental/gateway.networking.k8s.io_*routes.yaml",
    ],
    "github.com/k3s-io/helm-controller": ["pkg/crds/yaml/generated/*.yaml"],
}


@dataclass(frozen=True)
class Program:
    """What one module of programs/ builds.

    Attributes:
        folder: the module's folder below programs/.
        packages: the import path of each program's main package, by the program's name.
        variables: what the linker sets, by the variable's full name.
        inlined: whether it is compiled for speed. What runs for seconds, or waits, is not: it is built in three quarters of the time.
    """

    folder: str
    packages: dict[str, str]
    variables: dict[str, str]
    inlined: bool = field(default=True, repr=False)  # kept programs go by the flags that follow from it

    @property
    def flags(self) -> tuple[str, ...]:
        """What `go build` is told of how to compile it."""
        return (*FLAGS, COMPILED if self.inlined else f"{COMPILED} -l")


def _kubernetes() -> Program:
    names = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
    major, minor, _ = KUBERNETES.split(".")
    version = "k8s.io/component-base/version.git"
    return Program(
        "kubernetes",
        {name: f"k8s.io/kubernetes/cmd/{name}" for name in names},
        {f"{version}Version": f"v{KUBERNETES}", f"{version}Major": major, f"{version}Minor": minor},
    )


# Two rows, which are built side by side: while one program is linked, the other row has a core to compile on. The programs of the first
# have many packages in common, which are compiled once; the second, when it is done, takes from the first one's end.
OF_KUBERNETES = (
    Program("kwok", {"kwok": "sigs.k8s.io/kwok/cmd/kwok"}, {}),
    _kubernetes(),
    Program("helm", {"helm": "helm.sh/helm/v4/cmd/helm"}, {"helm.sh/helm/v4/internal/version.version": "v4.2.4"}),
    *(Program(name, {name: f"github.com/fluxcd/{name}"}, {}) for name in CONTROLLERS),
    # Its own program is a module that no proxy serves: main.go runs cert-manager's controllers from their packages.
    Program("cert-manager", {"cert-manager": "."}, {}),
)
OTHERS = (
    Program("etcd", {"etcd": "go.etcd.io/etcd/server/v3"}, {}),
    # What k3s holds network policies with is this controller.
    Program("kube-router", {"kube-router": "github.com/cloudnativelabs/kube-router/v2/cmd/kube-router"}, {}),
    # Asks visitors of an application to log in at GitLab.
    Program(
        "oauth2-proxy",
        {"oauth2-proxy": "github.com/oauth2-proxy/oauth2-proxy/v7"},
        {"github.com/oauth2-proxy/oauth2-proxy/v7/pkg/version.VERSION": "v7.15.6"},
        inlined=False,
    ),
    # A release says so itself; otherwise it calls its version a development one.
    Program(
        "opentofu",
        {"tofu": "github.com/opentofu/opentofu/cmd/tofu"},
        {"github.com/opentofu/opentofu/version.dev": "no"},
        inlined=False,
    ),
    # What moves backups: two of its backends, and the commands that they need, of seventy.
    Program("rclone", {"rclone": "."}, {}, inlined=False),
    # What opens them.
    Program("age", {"age": "filippo.io/age/cmd/age"}, {"main.Version": f"v{AGE_VERSION}"}, inlined=False),
    # The provider that runs at home, which OpenTofu's own registry has as a binary only.
    Program(
        "terraform-provider-proxmox",
        {"terraform-provider-proxmox": "github.com/bpg/terraform-provider-proxmox"},
        {},
        inlined=False,
    ),
)
FLUX_CLI = Program("flux", {"flux": "github.com/fluxcd/flux2/v2/cmd/flux"}, {"main.VERSION": FLUX})


MODULES = BIN / "modules.json"


class BuildError(Exception):
    """A program could not be built; the message is Go's own."""


def missing_tools() -> str:
    """Return in one line what this machine lacks to build and run the cluster; nothing if all is there."""
    if sys.platform != "linux":
        return "Linux (the cluster runs in Linux namespaces)"
    go = shutil.which("go")
    if go is None:
        return f"Go {GO[0]}.{GO[1]} or newer (https://go.dev/doc/install)"
    version = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, check=False).stdout.strip()
    numbers = version.removeprefix("go").split("rc")[0].split(".")
    if not all(part.isdigit() for part in numbers[:2]) or tuple(int(part) for part in numbers[:2]) < GO:
        return f"Go {GO[0]}.{GO[1]} or newer; this is {version or 'unknown'} (https://go.dev/doc/install)"
    if os.geteuid() != 0:
        return "root (the cluster runs in network and mount namespaces): sudo make cluster-test"
    missing = [
        name
        for name in ("unshare", "setpriv", "ip", "iptables", "ipset", "ssh", "ssh-keygen", "openssl")
        if shutil.which(name) is None
    ]
    missing += [] if Path("/usr/sbin/sshd").exists() else ["sshd"]
    return ", ".join(missing) and f"{', '.join(missing)} (.ci/install-tools installs them on Debian and Ubuntu)"


def build() -> None:
    """Build what is missing or was built from other pins, and unpack the modules whose files the tests read.

    Raises:
        BuildError: Go could not build a program.
    """
    BIN.mkdir(parents=True, exist_ok=True)
    of_kubernetes, others = deque(OF_KUBERNETES), deque(OTHERS)
    rows = [[of_kubernetes.popleft], [others.popleft, of_kubernetes.pop]]
    failed = threading.Event()
    with ThreadPoolExecutor() as pool:
        for row in [pool.submit(_build_row, row, failed) for row in rows]:
            row.result()
    if not _is_built(FLUX_CLI):
        with tempfile.TemporaryDirectory(prefix="flux-sources.") as folder:
            _build(FLUX_CLI, _flux_sources(Path(folder)))
    _note_modules()


def _build_row(sources: Sequence[Callable[[], Program]], failed: threading.Event) -> None:
    """Build programs one after another, until one of this row or of the other has failed.

    Args:
        sources: each returns the next program to build; IndexError if it has none left.
        failed: whether a program has failed.
    """
    for next_program in sources:
        while not failed.is_set():
            try:
                program = next_program()
            except IndexError:
                break
            try:
                _build(program, [])
            except BaseException:
                failed.set()
                raise


def definitions() -> list[Path]:
    """Return the files with definitions of custom resources that are not Flux's."""
    places = [
        (module_folder(module, "crds"), pattern) for module, patterns in DEFINITIONS.items() for pattern in patterns
    ]
    return [file for folder, pattern in places for file in sorted(folder.glob(pattern))]


def module_folder(module: str, program: str) -> Path:
    """Return where Go keeps the sources of *module*, in the version that the program's pins give."""
    noted = json.loads(MODULES.read_text(encoding="utf-8")) if MODULES.exists() else {}
    if module in noted and Path(noted[module]).is_dir():
        return Path(noted[module])
    listed = _go(PROGRAMS / program, "list", "-mod=readonly", "-m", "-f", "{{.Dir}}", module)
    if not listed:
        _go(PROGRAMS / program, "mod", "download", module)
        listed = _go(PROGRAMS / program, "list", "-mod=readonly", "-m", "-f", "{{.Dir}}", module)
    return Path(listed)


def flux_manifests(folder: Path) -> list[Path]:
    """Write the manifests that a released `flux` carries, one file a part, and return them.

    A release of Flux builds them with kustomize from its own `manifests/`, which names files of the controllers' releases; those
    are built from each controller's `config/`. Source: manifests/scripts/bundle.sh of fluxcd/flux2.
    """
    bases = folder / "manifests"
    shutil.copytree(module_folder("github.com/fluxcd/flux2/v2", "flux") / "manifests", bases)
    subprocess.run(["chmod", "-R", "u+w", str(bases)], check=True)
    out = folder / "out"
    out.mkdir()
    for name in CONTROLLERS:
        config = module_folder(f"github.com/fluxcd/{name}", name) / "config"
        base = bases / "bases" / name
        for part, kind in (("crd", "crds"), ("manager", "deployment")):
            (base / f"{name}.{kind}.yaml").write_text(_kustomize(config / part), encoding="utf-8")
        kustomization = base / "kustomization.yaml"
        lines = [
            f"- {line.rsplit('/', 1)[1]}" if line.startswith("- https://") else line
            for line in kustomization.read_text(encoding="utf-8").splitlines()
        ]
        kustomization.write_text("\n".join(lines) + "\n", encoding="utf-8")
        (out / f"{name}.yaml").write_text(_kustomize(base), encoding="utf-8")
    for name in ("rbac", "policies"):
        (out / f"{name}.yaml").write_text(_kustomize(bases / name), encoding="utf-8")
    return sorted(out.iterdir())


def _note_modules() -> None:
    """Write down where the modules lie, so that a test needs no Go."""
    MODULES.unlink(missing_ok=True)
    read = {**dict.fromkeys(DEFINITIONS, "crds"), "sigs.k8s.io/kwok": "kwok"}
    read |= {f"github.com/fluxcd/{name}": name for name in CONTROLLERS}
    found = {module: str(module_folder(module, program)) for module, program in read.items()}
    MODULES.write_text(json.dumps(found, indent=2), encoding="utf-8")


def _flux_sources(folder: Path) -> list[str]:
    """Return what makes Go build `flux` from a copy of its sources that holds the manifests, as a release of Flux does."""
    sources = folder / "flux2"
    shutil.copytree(module_folder("github.com/fluxcd/flux2/v2", "flux"), sources)
    subprocess.run(["chmod", "-R", "u+w", str(sources)], check=True)
    manifests = sources / "cmd" / "flux" / "manifests"
    manifests.mkdir()
    for file in flux_manifests(folder):
        shutil.copy(file, manifests)
    for name in ("go.mod", "go.sum"):
        shutil.copy(PROGRAMS / "flux" / name, folder)
    _go(PROGRAMS / "flux", "mod", "edit", f"-replace=github.com/fluxcd/flux2/v2={sources}", str(folder / "go.mod"))
    return [f"-modfile={folder / 'go.mod'}"]


def _kustomize(folder: Path) -> str:
    done = subprocess.run([BIN / "kubectl", "kustomize", folder], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BuildError(f"kubectl kustomize {folder}: {done.stderr}")
    return done.stdout


def _digest(program: Program) -> str:
    folder = PROGRAMS / program.folder
    own = sorted(file.name for file in folder.glob("*.go"))
    parts = [(folder / name).read_bytes() for name in ("go.mod", "go.sum", *own)]
    return hashlib.sha256(b"\0".join([repr((program, GO, program.flags, LINKED)).encode(), *parts])).hexdigest()


def _stamp(program: Program) -> Path:
    return BIN / f".{program.folder}"


def _is_built(program: Program) -> bool:
    stamp = _stamp(program)
    return (
        stamp.exists()
        and stamp.read_text(encoding="utf-8") == _digest(program)
        and all((BIN / name).exists() for name in program.packages)
    )


def _build(program: Program, options: list[str]) -> None:
    if _is_built(program):
        return
    kept = KEPT / program.folder / _digest(program)
    if not kept.is_dir():
        flags = " ".join([*LINKED, *(f"-X {name}={value}" for name, value in program.variables.items())])
        kept.parent.mkdir(parents=True, exist_ok=True)
        built = Path(tempfile.mkdtemp(dir=kept.parent))
        try:
            for name, package in program.packages.items():
                print(f"   building {name}", flush=True)
                command = ["build", *program.flags, "-ldflags", flags, *options, "-o", str(built / name), package]
                _go(PROGRAMS / program.folder, *command)
            with contextlib.suppress(OSError):  # another checkout was faster
                built.rename(kept)
        finally:
            shutil.rmtree(built, ignore_errors=True)
        _forget_old(kept)
    for name in program.packages:
        (BIN / name).unlink(missing_ok=True)
        try:
            os.link(kept / name, BIN / name)
        except OSError:  # another file system
            shutil.copy2(kept / name, BIN / name)
    _stamp(program).write_text(_digest(program), encoding="utf-8")


def _forget_old(kept: Path) -> None:
    """Remove from the cache what other pins made of the same program, if it is a month old."""
    for other in kept.parent.iterdir():
        if other != kept and time.time() - other.stat().st_mtime > MONTH:
            shutil.rmtree(other, ignore_errors=True)


def _go(folder: Path, *arguments: str) -> str:
    """Run Go in a module's folder and return what it prints."""
    environment = {
        **COLLECTING,
        **os.environ,
        "CGO_ENABLED": "0",
        "GOFLAGS": "-buildvcs=false",
        "GOWORK": "off",
        "GOTOOLCHAIN": "local",
    }
    done = subprocess.run(["go", *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BuildError(f"go {' '.join(arguments)} in {folder.relative_to(ROOT)}:\n{done.stderr}")
    return done.stdout.strip()


if __name__ == "__main__":
    lacking = missing_tools()
    if lacking:
        sys.exit(f"The cluster's programs cannot be built: this machine lacks {lacking}.")
    build()
