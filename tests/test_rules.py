"""Each rule lets its valid neighbour pass, and says what is wrong with the other: the value, the reason, and the fix."""

from __future__ import annotations

from typing import Any

import pytest

from extensions.rules import RULES, problem

BASE: dict[str, Any] = {
    "base_domain": "lab.example.com", "gitlab_host": "gitlab.lab.example.com", "registry_host": "registry.lab.example.com",
    "private_ca": False, "https_port": 443, "ssh_exposure": "load-balancer", "http_port": 80, "gitlab_namespace": "gitlab",
}
LABEL = "a" * 63
LONG_HOST = ".".join([LABEL, LABEL, LABEL, "a" * 61])

# question, a value that passes, its nearest neighbour that does not, and a word of what is said.
CASES: list[tuple[str, Any, Any, str]] = [
    ("lab_name", "homelab", "HomeLab", "did you mean `homelab`"),
    ("lab_name", LABEL, LABEL + "a", "64 characters"),
    ("lab_name", "a-b", "a_b", "`a-b`"),
    ("lab_name", "a", "", "not a name"),
    ("cluster_name", "0", "-a", "`a`"),
    ("base_domain", "lab", "lab.", "ends in a dot"),
    ("base_domain", LONG_HOST, "a" + LONG_HOST, "253"),
    ("base_domain", "a.b", "a..b", "DNS label"),
    ("base_domain", "lab.example.com", "https://lab.example.com/", "is a URL"),
    ("base_domain", "lab.example.com", "Lab.example.com", "capital"),
    ("admin_email", "a.b+c@lab", "a..b@lab", "before the @"),
    ("admin_email", "admin@lab", "admin", "not an e-mail address"),
    ("timezone", "Europe/Warsaw", "Warsaw", "Europe/Warsaw"),
    ("gitlab_host", "gitlab.lab", "gitlab.lab:443", "has a port"),
    ("gitlab_host", "a.10.0.0.1.b", "10.0.0.1", "is an address"),
    ("gitlab_host", "gitlab.lab", "gitlab.lab/", "the host only: `gitlab.lab`"),
    ("registry_host", "registry.lab", "registry", "Docker Hub"),
    ("registry_host", "registry.lab", "gitlab.lab.example.com", "GitLab's own host"),
    ("private_ca", False, None, ""),
    ("cluster_issuer", "letsencrypt", "Let's Encrypt", "not a Kubernetes name"),
    ("tls_secret_name", "lab-tls", "lab_tls", "`lab-tls`"),
    ("https_port", 65535, 65536, "1 to 65535"),
    ("https_port", 443, 80, "plain http"),
    ("https_port", 6444, 6443, "Kubernetes API"),
    ("ssh_port", 1, 0, "1 to 65535"),
    ("ssh_port", 2222, 22, "own sshd"),
    ("ssh_port", 442, 443, "answers http"),
    ("ssh_port", 29999, 30000, "node ports"),
    ("http_port", 81, 22, "sshd"),
    ("registry_port", 5050, 80, "GitLab's own port"),
    ("registry_port", 5002, 5000, "the registry"),
    ("trusted_proxies", ["10.42.0.0/16"], ["10.42.0.7/16"], "did you mean `10.42.0.0/16`"),
    ("trusted_proxies", ["10.42.0.0/16", "10.43.0.0/16"], ["10.42.0.0/16", "10.42.1.0/24"], "overlap"),
    ("trusted_proxies", ["fd00::/8"], ["::/0"], "whole internet"),
    ("trusted_proxies", ["10.0.0.0/8"], [], "not a list"),
    ("trusted_proxies", ["10.0.0.0/8"], "10.0.0.0/8", "not a list"),
    ("trusted_proxies", ["10.0.0.1/32"], ["10.0.0.1"], "with its prefix"),
    ("trusted_proxies", ["10.0.0.0/8"], ["pods/8"], "not a network"),
    ("node_networks", [], ["192.168.1.1/24"], "host bits"),
    ("storage_root", "/storage", "/storage/", "ends in a slash"),
    ("storage_root", "/a", "/", "whole disk"),
    ("storage_root", "/a", "a", "absolute"),
    ("storage_root", "/a.b", "/a/../b", "shortest"),
    ("storage_root", "/a_b", "/a b", "rename the folder"),
    ("nfs_server", "fd00::10", "nfs://storage", "URL"),
    ("storage_class", "local-path", "Local Path", "Kubernetes name"),
    ("config_size", "999999Gi", "1000000Gi", "not a size"),
    ("logs_size", "500M", "500MB", "with its unit"),
    ("data_size", "50Gi", "50", "with its unit"),
    ("data_size", "1Mi", "0Mi", "not a size"),
    ("gitlab_version", "19.2.0", "19.1.9", "too old"),
    ("gitlab_version", "19.3.0", "19.3.0-ce.0", "the version only"),
    ("gitlab_version", "19.10.1", "latest", "not an exact version"),
    ("gitlab_namespace", "git", "kube-git", "another part"),
    ("gitlab_namespace", "flux", "flux-system", "another part"),
    ("smtp_host", "192.168.1.25", "smtp:25", "has a port"),
    ("smtp_port", 25, True, "1 to 65535"),
    ("email_from", "git@lab", "git@", "host name"),
    ("email_display_name", "x" * 100, "x" * 101, "101 characters"),
    ("email_display_name", "L'équipe \"#{x}\"", "a\nb", "one line"),
    ("email_display_name", "a", " ", "empty"),
    ("email_reply_to", "a@b.c", "a@b@c", "not an e-mail"),
    ("groups", ["HomeLAB"], ["HomeLAB", "homelab"], "one group"),
    ("groups", ["a.b"], ["a..b"], "not a GitLab path"),
    ("groups", ["administrators"], ["Admin"], "keeps for itself"),
    ("groups", ["a/admin"], ["a/tree"], "keeps for itself"),
    ("groups", ["agit"], ["a.git"], "`.git`"),
    ("groups", ["a" * 200], ["a" * 201], "200"),
    ("groups", ["a"], [], "not a list"),
    ("groups", ["a"], [1], "not a group path"),
    ("app_namespace", "default", "gitlab", "GitLab's own namespace"),
    ("runner_host", "192.168.1.5", "gitlab.lab.example.com", "leads to Traefik"),
    ("runner_user", "a" * 32, "a" * 33, "32 at most"),
    ("runner_home", "/home/a", "~/a", "absolute"),
    ("runner_concurrent", 1, 0, "1 to 64"),
    ("runner_concurrent", 64, 65, "1 to 64"),
    ("docker_version", "25.0.0", "24.0.9", "too old"),
    ("docker_version", "29.8.1", "29", "exact version"),
    ("gitops_url", "ssh://git@git.lab:2222/a/b.git", "git@git.lab:a/b.git", "scp style"),
    ("gitops_url", "https://git.lab/a/b.git", "https://me:pw@git.lab/a/b.git", "password"),
    ("gitops_url", "https://git.lab/a/b.git", "https://git.lab/a/b", "`https://git.lab/a/b.git`"),
    ("gitops_url", "https://git.lab:65535/a.git", "https://git.lab:65536/a.git", "65536"),
    ("gitops_url", "https://git.lab/a.git", "http://git.lab/a.git", "not a Git URL"),
    ("gitops_branch", "lab/main", "lab//main", "not a branch"),
    ("gitops_branch", "a", "-a", "not a branch"),
    ("sync_interval", "10s", "9s", "ten seconds"),
    ("sync_interval", "24h", "25h", "more than a day"),
    ("scan_interval", "1h30m", "1 m", "not a duration"),
    ("backup_schedule", "59 23 31 12 6", "60 23 31 12 6", "`60` is not a minute"),
    ("backup_schedule", "0 3 * * mon-fri", "0 3 * * fri-mon", "day of the week"),
    ("backup_schedule", "*/5 * * * *", "*/0 * * * *", "minute"),
    ("backup_schedule", "0 3 * * *", "0 3 * *", "five fields"),
    ("backup_keep_days", 1, 0, "1 to 3650"),
    ("backup_keep_days", 3650, 3651, "1 to 3650"),
]


@pytest.mark.parametrize(("question", "good", "bad", "said"), CASES, ids=lambda value: str(value)[:30])
def test_a_rule_draws_its_line(question: str, good: Any, bad: Any, said: str) -> None:
    assert problem(question, BASE | {question: good}) is None
    if said:
        assert said in (problem(question, BASE | {question: bad}) or "")


def test_every_question_with_a_rule_is_tried() -> None:
    assert {case[0] for case in CASES} == set(RULES)


@pytest.mark.parametrize(
    ("question", "answers", "said"),
    [
        ("private_ca", {"gitlab_host": "gitlab.lab", "private_ca": False}, "`gitlab.lab`"),
        ("private_ca", {"registry_host": "registry.home.arpa", "private_ca": False}, "`registry.home.arpa`"),
        ("cluster_issuer", {"private_ca": True, "cluster_issuer": "letsencrypt-prod"}, "public names only"),
        ("ssh_port", {"ssh_exposure": "node-port", "ssh_port": 29999}, "30000 to 32767"),
        ("ssh_port", {"ssh_exposure": "node-port", "ssh_port": 32768}, "30000 to 32767"),
    ],
)
def test_a_rule_across_questions_says_which(question: str, answers: dict[str, Any], said: str) -> None:
    assert said in (problem(question, BASE | answers) or "")


@pytest.mark.parametrize("port", [30000, 32767])
def test_a_node_port_is_one_that_kubernetes_gives_out(port: int) -> None:
    assert problem("ssh_port", BASE | {"ssh_exposure": "node-port", "ssh_port": port}) is None
