"""What follows from the answers for the owner: what to prepare, and what they would regret to have overlooked."""

from __future__ import annotations

from collections.abc import Iterator

from .answers import Answers
from .facts import Lab

Point = tuple[str, str]  # the question that changes it, and what to know


def preparation(answers: Answers, lab: Lab) -> list[str]:
    """Return what has to be there before `./lab up`, or what it asks for; one thing an entry."""
    return [
        *_network(answers, lab),
        *_certificates(answers, lab),
        *_storage(answers),
        *_runner(answers),
        *_elsewhere(answers, lab),
    ]


def _network(answers: Answers, lab: Lab) -> Iterator[str]:
    hosts = [answers["gitlab_host"], answers["registry_host"]]
    hosts += [lab.sample_host] if answers["sample_app"] else []
    hosts += [lab.sign_in_host] if lab.signs_in else []
    hosts += [answers["docker_hub_cache_host"]] if answers["docker_hub_cache"] else []
    yield f"DNS records that lead to Traefik: {', '.join(hosts)}. ./lab up prints them."
    if answers["ssh_exposure"] == "load-balancer":
        yield f"Port {answers['ssh_port']} of the nodes, free for Git over SSH."


def _certificates(answers: Answers, lab: Lab) -> Iterator[str]:
    source = answers["tls_source"]
    if source == "cert-manager":
        yield f"cert-manager in the cluster, with a ClusterIssuer `{answers['cluster_issuer']}`. A bare k3s has neither."
    elif source == "letsencrypt-http":
        yield f"Port 80 of {answers['gitlab_host']} and {answers['registry_host']}, open to the internet."
    elif source == "letsencrypt-dns":
        secrets = " and ".join(entry.partition("=")[2] for entry in lab.dns_secret)
        yield f"For the DNS zone: {secrets}. ./lab up asks for it."
    elif source == "secret":
        yield f"The certificate in Secret `{answers['tls_secret_name']}`, in the namespace {answers['gitlab_namespace']}."
    elif source == "traefik":
        yield f"A certificate for {answers['gitlab_host']} and {answers['registry_host']} in Traefik."
    if lab.makes_issuer and answers["cert_manager"] == "existing":
        yield "cert-manager in the cluster, in the namespace cert-manager."
    if source == "lab-authority":
        yield "After ./lab up: `./lab trust --nodes`, and `./lab trust --devices` for browsers and phones."
    elif answers["private_ca"]:
        yield "Your authority's certificate, as ca.crt in the lab; the nodes have to trust it, too."


def _storage(answers: Answers) -> Iterator[str]:
    backends = {answers["storage_backend"], answers["data_backend"]}
    if "nfs" in backends:
        yield f"An NFS export {answers['nfs_server']}:{answers['storage_root']}, with no_root_squash."
    if "host-path" in backends:
        yield f"Room on the node, in {answers['storage_root']}."
    if "storage-class" in backends:
        brought = " (k3s brings it)" if answers["storage_class"] == "local-path" else ""
        yield f"The storage class {answers['storage_class']}{brought}."


def _runner(answers: Answers) -> Iterator[str]:
    kind = answers["runner_kind"]
    if kind == "none":
        yield "A runner of yours: nothing is built without one."
    elif kind == "docker" and answers["runner_machine"] == "proxmox":
        yield f"An API token of {answers['proxmox_endpoint']}, and DNS that leads {answers['runner_host']} to the machine."
    elif kind == "docker":
        yield f"The runner's machine, Debian or Ubuntu: `ssh {answers['runner_user']}@{answers['runner_host']}` works, with sudo."


def _elsewhere(answers: Answers, lab: Lab) -> Iterator[str]:
    if answers["gitops_source"] == "external":
        yield f"An empty repository at {answers['gitops_url']}, and a credential that may write to it."
    if answers["smtp_enabled"]:
        log_in = "" if answers["smtp_authentication"] == "none" else ", and its user name and password in a Secret"
        yield f"The mail server {answers['smtp_host']}:{answers['smtp_port']}{log_in}."
    if answers["gitlab_login"] == "oidc":
        yield f"A client `{answers['login_client_id']}` at {answers['login_issuer']}, with the callback {lab.login_callback}."
    if answers["alerts"] not in {"none", "email"}:
        yield f"For alerts: the token or webhook of {answers['alerts']}. ./lab up asks for it."
    if lab.sends_backups:
        yield from _target(answers, lab)
    if lab.uses_aws:
        yield f"Credentials of the AWS account {answers['aws_account']}, for the first ./lab up."
    yield "On this machine: git, ssh, kubectl, helm, flux. The lab's .mise.toml has the last three."


def _target(answers: Answers, lab: Lab) -> Iterator[str]:
    if answers["backup_target"] == "s3":
        server = answers["backup_endpoint"] or "AWS"
        yield f"The bucket {answers['backup_bucket']} at {server}, and an access key for it. ./lab up asks for the key."
    else:
        whose = "an NFS export for the nodes" if answers["backup_nfs_server"] else "a folder of the node's"
        yield f"For backups: {lab.backup_place}, {whose}."


def second_look(answers: Answers, lab: Lab, filled_in: frozenset[str]) -> list[Point]:
    """Return what an owner would regret to have overlooked.

    Args:
        filled_in: the questions that nobody was asked, and whose answer is the template's.
    """
    return [
        *_data_at_risk(answers, lab, filled_in),
        *_of_the_clock(answers, filled_in),
        *_of_the_people(answers, filled_in),
    ]


def _data_at_risk(answers: Answers, lab: Lab, filled_in: frozenset[str]) -> Iterator[Point]:
    on_a_node = answers["data_backend"] == "storage-class" and answers["storage_class"] == "local-path"
    if on_a_node:
        away = " NFS has the configuration and the logs only." if answers["storage_backend"] == "nfs" else ""
        now = f"Repositories, database and images lie on one node's disk (local-path).{away}"
        other = "nfs would move them to a storage server, against GitLab's advice; another storage_class may replicate them."
        yield "data_backend", f"{now} {other}"
        if "data_size" in filled_in:
            yield "data_size", f"{answers['data_size']} for all of them: a local-path volume cannot be enlarged later."
    if answers["data_backend"] == "nfs":
        yield (
            "data_backend",
            "GitLab supports neither Git data nor PostgreSQL on NFS: expect it to be slow, and keep backups.",
        )
    if not answers["backups"]:
        yield "backups", "There are none."
    elif not lab.uploads_backups and not lab.sends_backups:
        yield "backups", "They lie beside the data, and are lost with its disk. `backup_target` sends them elsewhere."


def _of_the_clock(answers: Answers, filled_in: frozenset[str]) -> Iterator[Point]:
    if "timezone" in filled_in:
        when = f" Backups begin at `{answers['backup_schedule']}` in it." if answers["backups"] else ""
        yield "timezone", f"{answers['timezone']} is the template's, not this machine's.{when}"


def _of_the_people(answers: Answers, filled_in: frozenset[str]) -> Iterator[Point]:
    example = answers["base_domain"] == "example.com" or answers["base_domain"].endswith(".example.com")
    if example:
        yield "base_domain", f"{answers['base_domain']} is an example; nobody can have it."
    if "admin_email" in filled_in and not example:
        yield "admin_email", f"{answers['admin_email']}: does this mailbox exist?"
    if "smtp_enabled" in filled_in:
        yield "smtp_enabled", "GitLab sends no e-mail: no forgotten password, no notification."
    if "alerts" in filled_in:
        yield "alerts", "Nobody is told when a backup fails or the disk is full."
    if "owner_username" in filled_in:
        yield "owner_username", "Only root is made in GitLab; give a name to have an account of yours."
