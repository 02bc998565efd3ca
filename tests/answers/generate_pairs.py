"""Write tests/answers/valid/pair-*.yml: answers in which every two choices of any two questions meet at least once.

covertable finds the rows; this script gives each row the other answers that its choices ask for. `make answers` runs it.
"""

from __future__ import annotations

from pathlib import Path

import yaml
from covertable import make

FOLDER = Path(__file__).resolve().parent / "valid"

# Every choice of every question, and the switches that are no choices but change what is rendered.
FACTORS: dict[str, list[object]] = {
    "storage_backend": ["storage-class", "nfs", "host-path"],
    "data_backend": ["storage-class", "nfs", "host-path"],
    "tls_source": ["cert-manager", "secret", "traefik"],
    "ssh_exposure": ["load-balancer", "traefik", "node-port"],
    "runner_kind": ["docker", "kubernetes", "none"],
    "build_method": ["dind", "buildkit"],
    "gitops_source": ["self", "external"],
    "private_ca": [True, False],
    "group_visibility": ["private", "internal", "public"],
    "setup_level": ["quick", "full"],
    "traefik_kind": ["k3s", "other"],
    "gitlab_size": ["small", "standard"],
    "pipeline_auth": ["job-token", "group-variable"],
    "smtp_enabled": [True, False],
    "rack_attack": [True, False],
    "sample_app": [True, False],
    "backups": [True, False],
    "https_port": [443, 8443],
}
# Public halves of keys that nobody has.
KEYS = [
    "age1jfsvh303gysmthtmdxdc3sl3rkfzah9n8rkaesuvqm6jd3ka4q0smx9c2q",
    "age1nugw33alwtypl0fv67yycqvpfl24t2ty2h49gzf3gynl2wpkjsfq8zj6q2",
]
GROUPS = [["homelab"], ["HomeLAB", "friends/Web"], ["one", "Two", "three-3", "four_4", "five.5"]]


def answers(number: int, row: dict[str, object]) -> dict[str, object]:
    """Return the whole answers of one row: its choices, and values that vary with its number."""
    private, nfs = row["private_ca"], "nfs" in (row["storage_backend"], row["data_backend"])
    domain = (
        ["lab", "home.arpa", "my-net.internal"][number % 3]
        if private
        else ["lab.example.com", "xn--bcher-kva.example"][number % 2]
    )
    result: dict[str, object] = {name: row[name] for name in FACTORS}
    result["lab_name"] = f"lab-{number}"
    result["base_domain"] = domain
    result["groups"] = GROUPS[number % 3]
    if row["tls_source"] == "cert-manager":
        result["cluster_issuer"] = "lab-ca" if private else "letsencrypt"
    if row["tls_source"] == "secret":
        result["tls_secret_name"] = f"tls-{number}"
    if row["ssh_exposure"] == "node-port":
        result["ssh_port"] = 30000 + number
    if nfs:
        result["nfs_server"] = ["192.168.1.10", f"storage.{domain}", "fd00::10"][number % 3]
        result["storage_root"] = "/srv/storage-1"
    if row["runner_kind"] == "docker":
        result["runner_host"] = f"runner.{domain}"
    if row["gitops_source"] == "self" and number % 3:
        result["lab_group"] = ["infra/Lab", GROUPS[number % 3][0]][number % 2]
    if row["runner_kind"] != "none":
        result["runner_scope"] = ["groups", "instance"][number % 2]
    if row["gitops_source"] == "external":
        result["gitops_url"] = ["https://git.example.com/me/lab.git", "ssh://git@git.example.com:2222/me/lab.git"][
            number % 2
        ]
    if row["smtp_enabled"]:
        result["email_display_name"] = ["GitLab", 'L\'équipe "#{lab}" \\ 100 %', "実験室: $(lab)"][number % 3]
        result["smtp_port"] = [25, 587, 465][number % 3]
        result["smtp_security"] = ["none", "starttls", "tls"][number % 3]
        result["smtp_authentication"] = ["login", "plain", "cram_md5", "none"][number % 4]
        if number % 3:
            result["smtp_verify"] = number % 2 == 0
    result["age_recipients"] = KEYS[: number % 3]
    result["job_token_push"] = number % 5 == 0
    result["deployers"] = ["maintainers", "developers"][number % 3 == 0]
    result["sign_up"] = ["closed", "approval", "open", "as-set"][number % 4]
    if row["backups"]:
        result["backup_registry"] = number % 3 != 0
        result |= target_answers(number)
    result |= alerts_answers(number, bool(row["smtp_enabled"]))
    result["app_security"] = ["warned", "enforced", "enforced"][number % 3]
    if number % 4 == 0:
        result["app_namespace"] = "default"
    if number % 3 == 0:
        result |= aws_answers(number, bool(private), row["https_port"] == 443)
    if number % 2:
        result |= {"http_port": 8181, "registry_port": 5555, "gitlab_namespace": "git", "app_namespace": "apps"}
        result |= {"cluster_name": "0123", "timezone": "Europe/Warsaw", "trusted_proxies": ["10.0.0.0/16", "fd42::/56"]}
        result |= {
            "node_networks": ["192.168.1.0/24", "2a01:4f8:1::/48"][: 1 + number % 4 // 3],
            "gitops_branch": "lab/main",
            "scan_interval": "1h30m",
        }
    return result


def alerts_answers(number: int, has_mail: bool) -> dict[str, object]:
    """Return where the lab's alarm is told: by mail where there is a mail server, elsewhere each of the services in turn, or nowhere."""
    if has_mail and number % 2:
        return {
            "alerts": "email",
            "alerts_mail_to": ["me@lab.example.com", "o'neill+lab@mail.example.net"][: 1 + number % 3 % 2],
        }
    channel = ["none", "ntfy", "gotify", "discord", "slack", "matrix"][(number + number // 6) % 6]
    url = (
        {"alerts_url": ["https://ntfy.sh", "http://push.apps.svc:8080/lab"][number % 2]}
        if channel in ("ntfy", "gotify", "matrix")
        else {}
    )
    more: dict[str, dict[str, object]] = {
        "ntfy": {"alerts_topic": "lab-3f9c1d7e5b2a4860"},
        "matrix": {"alerts_room": "!abc123:matrix.org"},
    }
    return {"alerts": channel, **url, **more.get(channel, {})}


def target_answers(number: int) -> dict[str, object]:
    """Return where backups are sent to: a folder of the node, an NFS share, AWS, another server of S3, or nowhere."""
    kind = ["none", "s3", "folder"][number % 3]
    if kind == "folder":
        return {
            "backup_target": kind,
            "backup_nfs_server": ["", "nas.example.net"][number // 3 % 2],
            "backup_folder": "/mnt/usb/gitlab",
        }
    server = {
        "backup_endpoint": "https://s3.example.net:9000",
        "backup_region": "garage",
        "backup_bucket": "the.backups",
        "backup_prefix": "a/lab",
    }
    return {"backup_target": kind} | (server if kind == "s3" and number // 3 % 2 else {})


def aws_answers(number: int, private: bool, usual_port: bool) -> dict[str, object]:
    """Return what a lab has at AWS: among them is each way in which jobs can log in there, and a GitLab that AWS reaches itself."""
    login = ["roles-anywhere", "oidc"][number % 2] if private else ["keys", "oidc"][usual_port]
    found: dict[str, object] = {
        "aws": "backups",
        "aws_account": "123456789012",
        "aws_login": login,
        "aws_region": ["us-east-1", "eu-west-3"][number % 2],
    }
    return found if private or login == "keys" else found | {"aws_issuer_bucket": ""}


def files() -> dict[str, str]:
    """Return the files' texts by name."""
    rows = sorted(make(FACTORS), key=lambda row: [str(row[name]) for name in FACTORS])
    head = "# Made by tests/answers/generate_pairs.py: change that script, then run `make answers`.\n"
    return {
        f"pair-{number:02}.yml": head
        + yaml.safe_dump(answers(number, row), sort_keys=False, allow_unicode=True, width=120)
        for number, row in enumerate(rows, start=1)
    }


def main() -> None:
    for old in FOLDER.glob("pair-*.yml"):
        old.unlink()
    for name, text in files().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
