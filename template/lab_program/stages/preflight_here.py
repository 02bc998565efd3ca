"""Preflight's checks of this machine, of the lab's folder, and of what the network shows from here."""

from __future__ import annotations

import datetime
import socket
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor

from .. import certificates, dns_records, gitlab_image, versions
from .. import runner_machine as machine_module
from ..certificates import Holding
from ..clients.git import GitError
from ..clients.http import name_to_look_up
from ..clients.image_registry import Existence, ImageRegistry
from ..clients.tofu import Tofu
from ..lab import Lab
from ..programs import how_to_install, last_line
from ..runner_machine import Found
from .credential import OWNER
from .findings import Advice, Finding, Good, Nothing, Problem
from .machines import makes_machine, needs_tofu
from .repository import unfit

# The oldest versions that do what the program asks of them.
OLDEST = {"git": "2.20", "kubectl": "1.26", "helm": "3.14", "flux": "2.7", "tofu": "1.12"}
# The first that may do it otherwise; iac/versions.tf says the same.
TOO_NEW = {"tofu": "2.0"}
SECONDS = 3


def tools(lab: Lab, *, needed: Collection[str]) -> Iterator[Finding]:
    """The programs that the run calls, in versions that are new enough."""
    missing = lab.programs.missing(needed)
    if missing:
        yield Problem("tools", f"missing on this machine: {', '.join(missing)}", how_to_install(missing))
    calls: dict[str, Callable[[], str]] = {
        "git": lab.git.version,
        "kubectl": lambda: lab.programs.run(["kubectl", "version", "--client"]).out.split("\n", 1)[0],
        "helm": lambda: lab.helm.version,
        "flux": lab.flux.version,
        **({"tofu": lambda: Tofu.version(lab.programs)} if needs_tofu(lab.settings) else {}),
    }
    with ThreadPoolExecutor() as pool:
        there = {name: call for name, call in calls.items() if name not in missing}
        said = dict(zip(there, pool.map(lambda call: call(), there.values()), strict=True))
    problems = [problem for name, text in said.items() if (problem := version_problem(name, text)) is not None]
    yield from problems
    if not problems and not missing:
        yield Good("tools and their versions")


def version_problem(name: str, said: str) -> Problem | None:
    """Return what is wrong with a program that says this of its version."""
    found = versions.shown(said)
    if not found:
        return Problem("tools", f"{name} does not say its version", f"{name} --version")
    if not versions.at_least(found, OLDEST[name]):
        return Problem("tools", f"{name} is {found}; {OLDEST[name]} or newer is needed", f"install a newer {name}")
    if name in TOO_NEW and versions.at_least(found, TOO_NEW[name]):
        return Problem("tools", f"{name} is {found}; one before {TOO_NEW[name]} is needed", f"install an older {name}")
    return None


def repository(lab: Lab) -> Iterator[Finding]:
    """A commit, and nothing that differs from it."""
    yield unfit(lab) or Good("the repository: committed as it is")


def external_repository(lab: Lab) -> Iterator[Finding]:
    """The external repository, with the owner's own rights; Flux gets a credential later."""
    url = lab.settings.gitops_url
    try:
        lab.git.remote(lab.folder, OWNER, "ls-remote", url)
    except GitError as error:
        fix = f"make that repository, empty; then git ls-remote {url} has to work for you"
        yield Problem("repository", f"you cannot reach {url}: {error}", fix)
        return
    yield Good(f"{url} answers to you")


def private_ca(lab: Lab) -> Iterator[Finding]:
    """The certificates of the lab's own authority, without a key."""
    if not lab.settings.private_ca:
        return
    try:
        text = lab.ca_file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    if lab.settings.makes_authority and not text:
        yield Good("ca.crt is not here yet: the stage certificates writes it, from the authority that the lab makes")
        return
    yield from authority_findings(certificates.read(text), datetime.datetime.now(datetime.timezone.utc))


def authority_findings(held: Holding, now: datetime.datetime) -> Iterator[Finding]:
    """Say what ca.crt holds, and what of it must not be there."""
    there = "copy the certificate (not the key) of your certificate authority to ca.crt beside ./lab"
    if held.has_key:
        what = "ca.crt holds a private key, which would end up in Git and in the cluster"
        fix = (
            "keep only the parts from BEGIN CERTIFICATE to END CERTIFICATE in it\n"
            "a key that was ever pushed is known to others: make a new authority"
        )
        yield Problem("ca", what, fix)
        return
    if held.problems:
        fix = "take that part out of ca.crt, or copy the certificate into it anew"
        yield Problem("ca", f"in ca.crt {'; '.join(held.problems)}", fix)
    if not held.certificates:
        if not held.problems:
            yield Problem("ca", "ca.crt is missing or holds no PEM certificate", there)
        return
    words = ", ".join(one.in_words(now) for one in held.certificates)
    if all(one.ends <= now for one in held.certificates):
        yield Problem("ca", f"every certificate in ca.crt has expired: {words}", there)
    else:
        yield Good(f"ca.crt, of your authority: {words}")


def gitlab_version(lab: Lab) -> Iterator[Finding]:
    """The lab's version of GitLab exists, and is the newest patch; known only where the registry answers soon."""
    version, where = lab.gitlab_version, gitlab_image.repository(lab.folder)
    if version != lab.settings.gitlab_version:
        yield Advice(
            f"{gitlab_image.VALUES} asks for GitLab {version}, the answer gitlab_version for "
            f"{lab.settings.gitlab_version}:\n"
            f"./lab update --data gitlab_version={version} makes them one"
        )
    registry = ImageRegistry(lab.public_http, gitlab_image.SECONDS)
    existence = gitlab_image.existence(registry, where, version)
    if existence is Existence.MISSING:
        fix = "take one that exists: ./lab update --data gitlab_version=VERSION (https://docs.gitlab.com/releases/)"
        yield Problem("gitlab-version", gitlab_image.missing(registry, where, version), fix)
        return
    known = existence is Existence.EXISTS
    newest = gitlab_image.newest_patch(registry, where, version) if known else None
    if newest is None:
        yield Nothing(f"whether there is a newer patch of GitLab {version}: {where} cannot be asked from here")
    elif newest and not versions.at_least(version, newest):
        yield Advice(f"GitLab {newest} is out, a newer patch of {version}: ./lab upgrade {newest}")
    else:
        yield Good(f"GitLab {version}, and no newer patch of it is out")


def hosts(lab: Lab, *, cluster_answers: bool) -> Iterator[Finding]:
    """The lab's hosts are known here, and Traefik listens there.

    The nodes have to know them, too, and cannot be asked before something runs there.
    """
    settings, problems, unknown = lab.settings, [], []
    for host in dict.fromkeys(settings.hosts):
        error = connection_error(host, settings.https_port)
        if isinstance(error, socket.gaierror):
            unknown.append(host)
        elif error is not None:
            problems.append(
                Problem(
                    "https-port",
                    f"nothing listens at {host}, port {settings.https_port}",
                    "let DNS point at Traefik's address (kubectl get service -A -l "
                    "app.kubernetes.io/name=traefik), and\n"
                    "Traefik listen on that port; if only this machine cannot reach it, or Traefik gets its port "
                    "later:\n"
                    "LAB_SKIP=https-port",
                )
            )
    if unknown:
        services = lab.cluster.list_of("services") if cluster_answers else []
        fix = dns_records.instructions(unknown, settings.base_domain, dns_records.traefiks_addresses(services))
        problems.insert(
            0, Problem("dns", f"DNS does not know {' '.join(unknown)} here", f"{fix}\nthe nodes need to know them, too")
        )
    yield from problems
    if not problems:
        yield Good(f"DNS knows {' '.join(settings.hosts)}, and Traefik listens there")


def nfs(lab: Lab) -> Iterator[Finding]:
    """The NFS server, from this machine; the nodes try it for themselves in the stage storage."""
    server = lab.settings.nfs_server
    error = connection_error(server, 2049)
    if error is None:
        yield Good(f"the NFS server {server} answers")
    elif isinstance(error, socket.gaierror):
        yield Problem("nfs", f"DNS does not know the NFS server {server}", "answer nfs_server with its address")
    else:
        fix = (
            "start the NFS server, open its firewall for the nodes; if only this machine cannot reach it: LAB_SKIP=nfs"
        )
        yield Problem("nfs", f"nothing answers at {server}, port 2049, from this machine", fix)


def connection_error(host: str, port: int) -> OSError | None:
    """Return why nothing answers at a port; None where something does."""
    try:
        socket.create_connection((name_to_look_up(host), port), SECONDS).close()
    except (OSError, UnicodeError) as error:
        return error if isinstance(error, OSError) else socket.gaierror(str(error))
    return None


def runner_machine(lab: Lab) -> Iterator[Finding]:
    """Docker and its compose plugin on the runner's machine, or a way to bring them there."""
    user, host = lab.settings.runner_user, lab.settings.runner_host
    done = lab.machine.run(machine_module.question(lab))
    if done.status and makes_machine(lab.settings):
        yield Nothing(
            f"the runner's machine {host} does not answer yet: the stage machines makes it, if it is not there"
        )
        return
    if done.status:
        said = last_line(done.err)
        yield Problem(
            "runner",
            f"the runner's machine cannot be reached: {said or 'no answer'}",
            f"ssh {user}@{host} has to work without a password: ssh-copy-id {user}@{host}",
        )
        return
    yield machine_finding(machine_module.read(lab, done.out))


def machine_finding(found: Found) -> Finding:
    """Say what the runner's machine lacks, and who brings it."""
    missing = " and ".join(found.missing)
    if not missing:
        return Good(f"the runner's machine: Docker {found.docker}, compose {found.compose}")
    what = f"the runner's machine {found.host} lacks {missing}"
    if found.obstacle and found.serves:
        return Advice(f"{what}, {found.obstacle}:\n{found.remedy}")
    if found.obstacle:
        return Problem("runner", f"{what}, {found.obstacle}", found.by_hand)
    return Good(f"{what}: the stage runner brings that, after a yes ({machine_module.SCRIPT})")
