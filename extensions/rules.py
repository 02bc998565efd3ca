"""Which answers are refused, and why: one function a question, with the rules that tie it to the answers before it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, cast

from . import age, alerts, aws, backups, docker_hub, literals, machines, names, owner, sign_in, values
from .answers import Answers
from .facts import ACME_SOURCES, IAC_NAME, POD_PORTS, RUNNER_NAMESPACE, SAMPLE_NAME, SECRETS

Rule = Callable[[Any, Answers], "str | None"]

_SYSTEM_NAMESPACES = frozenset({"flux-system", "kube-system", "kube-public", "kube-node-lease", "cert-manager"})
# What listens on a k3s node already, besides Traefik (docs.k3s.io/installation/requirements; kubernetes.io/docs/reference/networking/ports-and-protocols).
_NODE_PORTS = {
    22: "the node's own sshd",
    2379: "etcd",
    2380: "etcd",
    6443: "the Kubernetes API",
    6444: "k3s's way to the Kubernetes API",
    10248: "the kubelet",
    10249: "kube-proxy",
    10250: "the kubelet",
    10256: "kube-proxy",
    10257: "the controller manager",
    10258: "the cloud controller",
    10259: "the scheduler",
}
# Words in an issuer's name that say whose certificates it brings.
_ACME = re.compile(r"letsencrypt|lets-encrypt|acme|zerossl|buypass|(^|-)le(-|$)")
_SELF_SIGNED = re.compile(r"self-?signed")


def refusal(question: str, answers: Answers) -> str | None:
    """Return why the answer to *question* is refused, or None.

    Args:
        question: the question's name in copier.yml.
        answers: that answer, and those of the questions before it.
    """
    refusal = RULES[question](cast("Mapping[str, Any]", answers)[question], answers)
    return None if refusal is None else one_line(refusal)


def one_line(message: str) -> str:
    """Return a message that a terminal shows as it is: nothing unprintable, and no value longer than a line."""
    text = "".join(character if character.isprintable() else repr(character)[1:-1] for character in message)
    return re.sub(r"[^\s`']{81,}", lambda run: run[0][:60] + "…", text)


def lab_name_of(folder: str) -> str:
    """Return the lab's name that a folder suggests: the nearest one that is not refused."""
    name = names.slug(folder)
    return f"{name}-lab" if name == SAMPLE_NAME or name in names.RESERVED_PROJECTS else name


def _lab_name(value: Any, answers: Answers) -> str | None:
    refusal = names.dns_label(value)
    if value == SAMPLE_NAME:
        return f"`{value}` is the sample application's name, whose project is beside the lab's; give another, such as `homelab`"
    if refusal is None and value in names.RESERVED_PROJECTS:
        return f"`{value}` is a name that GitLab keeps for itself, and the lab is a project there; did you mean `{value}-lab`?"
    return refusal


def _base_domain(value: Any, answers: Answers) -> str | None:
    refusal = names.served_name(value, "lab.example.com")
    # The longest host that the lab puts below it is gitlab-runner.<domain>.
    if refusal is None and len(f"gitlab-runner.{value}") > 253:
        return (
            f"`{value[:20]}…` has {len(value)} characters, too long once `gitlab-runner.` is put before it; 239 at most"
        )
    return refusal


def _gitlab_host(value: Any, answers: Answers) -> str | None:
    refusal = names.served_name(value, f"gitlab.{answers['base_domain']}") or _sample_host(value, answers, "gitlab")
    return refusal or _a_text_to_gitlab(value, f"gitlab.{answers['base_domain']}")


def _a_text_to_gitlab(host: str, example: str) -> str | None:
    """Refuse a host that YAML takes for something else: GitLab's package writes hosts into gitlab.yml without quotes."""
    if literals.yaml(host) == host:
        return None
    return f"`{host}` is read by GitLab as a number, a date, or a yes or no, not as a name; give another, such as `{example}`"


def _sample_host(value: str, answers: Answers, name: str) -> str | None:
    if value == f"{SAMPLE_NAME}.{answers['base_domain']}":
        return (
            f"`{value}` is where the sample application goes; give another, such as `{name}.{answers['base_domain']}`"
        )
    return None


def _registry_host(value: Any, answers: Answers) -> str | None:
    refusal = names.registry_name(value) or _sample_host(value, answers, "registry")
    refusal = refusal or _a_text_to_gitlab(value, f"registry.{answers['base_domain']}")
    if refusal is None and value == answers["gitlab_host"]:
        other = next(name for name in ("registry", "images") if f"{name}.{answers['base_domain']}" != value)
        return f"`{value}` is GitLab's own host; the registry needs another, such as `{other}.{answers['base_domain']}`"
    return refusal


def _tls_secret_name(value: Any, answers: Answers) -> str | None:
    hosts = answers["gitlab_host"], answers["registry_host"]
    for host, other, what in ((hosts[1], hosts[0], "the registry"), (hosts[0], hosts[1], "GitLab's host")):
        domain = other.partition(".")[2]
        # A certificate for a domain and all below it covers the domain itself as well.
        covered = host.partition(".")[2] in (domain, other)
        if domain and host.endswith(f".{domain}") and not covered:
            return f"`{value}` has to certify both hosts, and a wildcard `*.{domain}` does not cover `{host}`; rename {what}, or let cert-manager issue"
    if value in SECRETS.values():
        return f"`{value}` is a secret that the bootstrap makes for another purpose; give the certificate's another name, such as `lab-tls`"
    return names.object_name(value)


def _tls_source(value: Any, answers: Answers) -> str | None:
    private = [
        answers[name]
        for name in ("gitlab_host", "registry_host", "base_domain")
        if names.is_private_name(answers[name])
    ]
    if value in ACME_SOURCES and private:
        return f"`{value}` needs names of the public DNS, and Let's Encrypt signs nothing for `{private[0]}`; answer `lab-authority`, with which the lab makes an authority"
    return None


def _acme_email(value: Any, _: Answers) -> str | None:
    if value == "":
        return None
    refusal = names.email(value)
    if refusal is None and not names.is_public_mail(value):
        return f"`{value}` is refused by Let's Encrypt, as nobody receives mail at `{value.rpartition('@')[2]}`; give an address of yours, or nothing"
    return refusal


def _acme_dns_server(value: Any, _: Answers) -> str | None:
    if value == "":
        return "`` names no server; DNS-01 by RFC 2136 needs the one that takes updates of your zone, such as `ns1.lab.example.com`"
    return names.server_with_port(value)


def _acme_dns_region(value: Any, _: Answers) -> str | None:
    if not isinstance(value, str) or not re.fullmatch(r"[a-z]{2}(-[a-z]+)+-[0-9]{1,2}", value):
        return f"`{value}` is not a region of AWS; give one such as `us-east-1`"
    return None


def _acme_tsig_key(value: Any, _: Answers) -> str | None:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9_]([A-Za-z0-9._-]{0,252}[A-Za-z0-9_])?\.?", value):
        return f"`{value}` is not a name of a TSIG key; give the name in the server's configuration, such as `cert-manager`"
    return None


def _private_ca(value: Any, answers: Answers) -> str | None:
    source = answers["tls_source"]
    if not value and source == "lab-authority":
        return "`lab-authority` makes an authority that nobody trusts by itself; answer yes"
    if source in ACME_SOURCES:
        staging = answers["acme_server"] == "staging"
        if staging and not value:
            return "nothing trusts certificates of Let's Encrypt's staging environment by itself; answer yes and put its roots into ca.crt, or `acme_server: production`"
        if value and not staging:
            return (
                f"everybody trusts what Let's Encrypt signs with `{source}`; answer no, or `tls_source: lab-authority`"
            )
    private = [answers[name] for name in ("gitlab_host", "registry_host") if names.is_private_name(answers[name])]
    if not value and private:
        return f"no public authority signs `{private[0]}`, so nothing would trust its certificate; answer yes"
    return None


def _cluster_issuer(value: Any, answers: Answers) -> str | None:
    refusal = names.object_name(value)
    if refusal is None and not answers["private_ca"] and _SELF_SIGNED.search(value):
        return f"`{value}` seems to be your own authority, which no machine trusts by itself; answer `private_ca: true`, or give another, such as `letsencrypt`"
    if refusal is None and answers["private_ca"] and _ACME.search(value):
        return f"`{value}` seems to be Let's Encrypt, which signs public names only; with a private CA give its issuer, such as `lab-ca`"
    return refusal


def _https_port(value: Any, answers: Answers) -> str | None:
    if value == 80:
        return "`80` is where Traefik answers plain http and redirects; give another port, such as `443`"
    refusal = values.port(value) or _taken_on_the_node(value, "8443")
    if refusal is None and answers["traefik_kind"] == "k3s" and _node_port(value):
        return (
            f"`{value}` is in the range that Kubernetes keeps for node ports; give a port below 30000, such as `8443`"
        )
    return refusal


def _ssh_port(value: Any, answers: Answers) -> str | None:
    if (refusal := values.port(value)) is not None:
        return refusal
    if answers["ssh_exposure"] == "node-port":
        if not _node_port(value):
            return f"`{value}` is not a node port; Kubernetes gives out 30000 to 32767, such as `30022`"
        if value == answers["https_port"]:
            return f"`{value}` is where Traefik answers https, on the same nodes; give SSH another port, such as `{_another(value, 30022)}`"
        return None
    if value in (80, answers["https_port"]):
        return f"`{value}` is where Traefik answers http or https; give SSH another port, such as `{_another(value, 2223)}`"
    if _node_port(value):
        return (
            f"`{value}` is in the range that Kubernetes keeps for node ports; give a port below 30000, such as `2223`"
        )
    return _taken_on_the_node(value, "2223")


def _another(taken: int, usual: int) -> int:
    """Return the usual port, or the one after it where that is taken."""
    return usual + 1 if taken == usual else usual


def _node_port(value: int) -> bool:
    return 30000 <= value <= 32767


def _taken_on_the_node(value: int, usual: str) -> str | None:
    if value in _NODE_PORTS:
        return f"`{value}` is taken by {_NODE_PORTS[value]}, which shares the node's address; give another, such as `{usual}`"
    return None


def _http_port(value: Any, answers: Answers) -> str | None:
    return values.port(value) or _taken_in_the_pod(value, "80")


def _registry_port(value: Any, answers: Answers) -> str | None:
    refusal = values.port(value) or _taken_in_the_pod(value, "5050")
    if refusal is None and value == answers["http_port"]:
        return f"`{value}` is GitLab's own port in the same pod; the registry needs another, such as `{_another(value, 5050)}`"
    return refusal


def _taken_in_the_pod(value: int, usual: str) -> str | None:
    if value in POD_PORTS:
        return f"`{value}` is taken by {POD_PORTS[value]} in GitLab's pod; give another, such as `{usual}`"
    return None


def _node_networks(value: Any, answers: Answers) -> str | None:
    if value == []:
        return None
    return values.networks(value, "[192.168.1.0/24]", "nobody would ever be banned; give your nodes' network")


def _nfs_server(value: Any, answers: Answers) -> str | None:
    return names.host_or_address(value) or _behind_traefik(value, answers, "storage server", "storage")


def _smtp_host(value: Any, answers: Answers) -> str | None:
    refusal = names.host_or_address(value) or _behind_traefik(value, answers, "mail server", "smtp")
    if refusal is None and names.is_loopback(value):
        return f"`{value}` is GitLab's own pod, which runs no mail server; give one such as `smtp.{answers['base_domain']}`"
    return refusal


def _behind_traefik(value: str, answers: Answers, what: str, name: str) -> str | None:
    if value in (answers["gitlab_host"], answers["registry_host"]):
        return f"`{value}` leads to Traefik; give the {what}'s own name, such as `{name}.{answers['base_domain']}`"
    return None


def _smtp_security(value: Any, answers: Answers) -> str | None:
    """Refuse what a port never speaks: 25 and 587 begin in plain text, 465 in TLS (RFC 8314, section 3.3)."""
    smtp_port = answers["smtp_port"]
    if smtp_port == 465 and value != "tls":
        return f"`{value}`: a mail server speaks TLS from the start on port 465; give `tls`, or another smtp_port, such as `587`"
    if smtp_port in (25, 587) and value == "tls":
        return f"`tls`: a mail server begins in plain text on port {smtp_port}; give `starttls`, or another smtp_port, such as `465`"
    return None


def _gitlab_namespace(value: Any, answers: Answers) -> str | None:
    return names.dns_label(value) or _reserved_namespace(value)


def _app_namespace(value: Any, answers: Answers) -> str | None:
    refusal = names.dns_label(value) or _reserved_namespace(value)
    if refusal is None and value == answers["gitlab_namespace"]:
        return f"`{value}` is GitLab's own namespace; give the applications another, such as `{'apps' if value != 'apps' else 'applications'}`"
    return refusal


def _reserved_namespace(value: str) -> str | None:
    if value in _SYSTEM_NAMESPACES or value.startswith("kube-") or value == RUNNER_NAMESPACE:
        return f"`{value}` belongs to another part of the cluster; give another namespace, such as `apps`"
    return None


def _groups(value: Any, answers: Answers) -> str | None:
    if not isinstance(value, list) or not value:
        return f"{value!r} is not a list of groups; {values.listed(value, '[homelab]')}"
    seen: dict[str, str] = {}
    for path in value:
        if (refusal := names.group_path(path)) is not None:
            return refusal
        if path.lower() in seen:
            return f"`{path}` and `{seen[path.lower()]}` are one group to GitLab and the registry; keep one of them"
        seen[path.lower()] = path
        if (refusal := _too_long(path, max(answers["lab_name"], SAMPLE_NAME, key=len))) is not None:
            return refusal
    if f"{value[0]}/{SAMPLE_NAME}".lower() in seen:
        return f"`{value[0]}/{SAMPLE_NAME}` is the sample application's project, so no group can have that path; rename the group"
    return None


def _too_long(path: str, name: str) -> str | None:
    """Say whether a group's path has no room for the project's name behind it."""
    if len(f"{path}/{name}") <= names.LONGEST_PATH:
        return None
    return f"`{path[:20]}…` has {len(path)} characters, too long once `/{name}` follows it; {names.LONGEST_PATH - len(f'/{name}')} at most"


def _lab_group(value: Any, answers: Answers) -> str | None:
    if (refusal := names.group_path(value)) is not None:
        return refusal
    project = f"{value}/{answers['lab_name']}"
    has_iac = answers.get("runner_machine") == "proxmox" or answers.get("aws", "none") != "none"
    if (refusal := _too_long(value, max(answers["lab_name"], IAC_NAME if has_iac else "", key=len))) is not None:
        return refusal
    if has_iac and f"{value}/{IAC_NAME}".lower() in {group.lower() for group in answers["groups"]}:
        return f"`{value}/{IAC_NAME}` would be the project for machines, and `groups` has a group of that path; give another, such as `{answers['lab_name']}-ops`"
    if project.lower() in {group.lower() for group in answers["groups"]}:
        return f"`{project}` would be the lab's own project, and `groups` has a group of that path; give another, such as `{answers['lab_name']}-ops`"
    if value.lower() == f"{answers['groups'][0]}/{SAMPLE_NAME}".lower():
        return f"`{value}` is the sample application's project, so no group can have that path; give another"
    return None


def _runner_host(value: Any, answers: Answers) -> str | None:
    return names.host_or_address(value) or _behind_traefik(value, answers, "runner", "gitlab-runner")


def _runner_home(value: Any, answers: Answers) -> str | None:
    user = answers["runner_user"]
    return names.absolute_path(value, f"/home/{user}/containers/gitlab-runner", user if user == "root" else "")


def _gitops_url(value: Any, answers: Answers) -> str | None:
    refusal = values.git_url(value)
    if refusal is None and re.match(rf"[a-z]+://([^/@]*@)?{re.escape(answers['gitlab_host'])}[:/]", value):
        return f"`{value}` is on the lab's own GitLab, which is not there yet; answer `gitops_source: self`"
    return refusal


def _gitops_branch(value: Any, _: Answers) -> str | None:
    if value == "template-update":  # lab_program/commands/propose.py
        return f"`{value}` is the branch to which the lab's own job pushes updates; give another, such as `main`"
    return values.git_branch(value)


RULES: dict[str, Rule] = {
    "lab_name": _lab_name,
    "cluster_name": lambda value, _: names.dns_label(value),
    "base_domain": _base_domain,
    "admin_email": lambda value, _: names.email(value),
    "timezone": lambda value, _: values.time_zone(value),
    "gitlab_host": _gitlab_host,
    "registry_host": _registry_host,
    "tls_source": _tls_source,
    "acme_email": _acme_email,
    "acme_dns_region": _acme_dns_region,
    "acme_dns_server": _acme_dns_server,
    "acme_tsig_key": _acme_tsig_key,
    "private_ca": _private_ca,
    "cluster_issuer": _cluster_issuer,
    "tls_secret_name": _tls_secret_name,
    "https_port": _https_port,
    "ssh_port": _ssh_port,
    "http_port": _http_port,
    "registry_port": _registry_port,
    "trusted_proxies": lambda value, _: values.networks(value) or values.private_range(value),
    "node_networks": _node_networks,
    "storage_root": lambda value, _: names.absolute_path(value),
    "nfs_server": _nfs_server,
    "storage_class": lambda value, _: names.object_name(value),
    "config_size": lambda value, _: values.quantity(value, "10Mi", "GitLab's configuration"),
    "logs_size": lambda value, _: values.quantity(value, "100Mi", "GitLab's logs"),
    "data_size": lambda value, _: values.quantity(value, "5Gi", "GitLab's data"),
    "gitlab_version": lambda value, _: values.gitlab_version(value),
    "gitlab_namespace": _gitlab_namespace,
    "smtp_host": _smtp_host,
    "smtp_port": lambda value, _: values.port(value),
    "smtp_security": _smtp_security,
    "email_from": lambda value, _: names.email(value),
    "email_display_name": lambda value, _: names.display_name(value),
    "email_reply_to": lambda value, _: names.email(value),
    "groups": _groups,
    "app_namespace": _app_namespace,
    "runner_host": _runner_host,
    "runner_user": lambda value, _: names.linux_user(value),
    "runner_home": _runner_home,
    "runner_concurrent": lambda value, _: values.whole_number(value, 1, 64, "jobs at a time"),
    "docker_version": lambda value, _: values.docker_version(value),
    **machines.RULES,
    **aws.RULES,
    **alerts.RULES,
    **sign_in.RULES,
    **docker_hub.RULES,
    "lab_group": _lab_group,
    **owner.RULES,
    "gitops_url": _gitops_url,
    "gitops_branch": _gitops_branch,
    "sync_interval": lambda value, _: values.duration(value),
    "scan_interval": lambda value, _: values.duration(value),
    "age_recipients": lambda value, _: age.recipients_problem(value),
    **backups.RULES,
}
