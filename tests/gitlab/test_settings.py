"""What gitlab.rb sets, as Ruby reads it, against what the cluster has: each port, host, path and network compared as a value."""

from __future__ import annotations

import re
from functools import cache
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.gitlab.support.registry_of_gitlab import realm
from tests.gitlab.support.rendered_labs import Object, RenderedLab, recorded
from tests.support import gitlab_rb
from tests.support.cluster import Lab, container_of, namespace_of

POD_ENVIRONMENT = {
    "NODE_IP": "192.0.2.7",
    "NODE_IPS": "192.0.2.7 192.0.2.8 2001:db8::8",
    "REGISTRY_WEBHOOK_URL": "http://webhook-receiver.flux-system.svc.cluster.local/hook/1",
    "SMTP_USER_NAME": "gitlab@lab",
    "SMTP_PASSWORD": 'it\'s "secret" #{1} \\ $',
    "GITLAB_ROOT_PASSWORD": "root's #{1} first",
}


def in_gitlabs_namespace(lab: Lab, kind: str) -> dict[str, Object]:
    return {
        thing["metadata"]["name"]: thing
        for thing in lab.of_kind(kind)
        if namespace_of(thing) == lab.answers["gitlab_namespace"]
    }


def settings(lab: Lab) -> Object:
    return _settings(lab.path / "apps/gitlab/gitlab.rb")


@cache
def _settings(file: Path) -> Object:
    return gitlab_rb.settings(file, POD_ENVIRONMENT)


def of(tmp_path: Path, given: Object, environment: dict[str, str] | None = None) -> Object:
    """Return what the gitlab.rb of these answers sets."""
    return recorded([RenderedLab(given)], tmp_path, environment)[0]


def test_every_host_leads_to_the_port_that_gitlab_listens_on_for_it(lab: Lab) -> None:
    a, rb = lab.answers, settings(lab)
    services, ingresses = in_gitlabs_namespace(lab, "Service"), in_gitlabs_namespace(lab, "Ingress")
    pod = in_gitlabs_namespace(lab, "Deployment")["gitlab"]["spec"]["template"]["spec"]["containers"][0]
    served = {
        urlsplit(rb["external_url"]).hostname: rb["gitlab_rails"]["nginx"]["listen_port"],
        urlsplit(rb["registry_external_url"]).hostname: rb["registry"]["nginx"]["listen_port"],
    }
    assert list(served) == [a["gitlab_host"], a["registry_host"]]
    led = {}
    for ingress in ingresses.values():
        for rule in ingress["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                backend = path["backend"]["service"]
                port = next(
                    one
                    for one in services[backend["name"]]["spec"]["ports"]
                    if one["port"] == backend["port"]["number"]
                )
                led.setdefault(rule["host"], set()).add(port["targetPort"])
                assert (path["path"], path["pathType"]) == ("/", "Prefix")
    assert led == {host: {port} for host, port in served.items()}
    assert set(served.values()) < {port["containerPort"] for port in pod["ports"]}


def test_the_urls_carry_the_port_that_users_type_and_nothing_else(lab: Lab) -> None:
    rb = settings(lab)
    for url in (urlsplit(rb["external_url"]), urlsplit(rb["registry_external_url"])):
        assert (url.scheme, url.port or 443, url.path, url.query) == ("https", lab.answers["https_port"], "", "")
        assert (url.port is None) is (lab.answers["https_port"] == 443)


def test_the_registrys_realm_is_https_and_has_no_double_slash(lab: Lab) -> None:
    found = urlsplit(realm(settings(lab)))
    assert (found.scheme, found.hostname, found.path) == ("https", lab.answers["gitlab_host"], "/jwt/auth")


def test_plain_http_is_spoken_inside_and_nowhere_else(lab: Lab) -> None:
    rb = settings(lab)
    for nginx in (rb["gitlab_rails"]["nginx"], rb["registry"]["nginx"]):
        assert nginx["listen_https"] is nginx["redirect_http_to_https"] is False
    assert rb["letsencrypt"]["enable"] is False
    assert (
        rb["registry"]["enable"] is rb["gitlab_rails"]["registry_enabled"] is rb["registry"]["nginx"]["enable"] is True
    )


def test_the_port_for_ssh_is_the_same_in_gitlab_the_service_the_route_and_ssh_config(lab: Lab) -> None:
    a, port = lab.answers, settings(lab)["gitlab_rails"]["gitlab_shell_ssh_port"]
    service = in_gitlabs_namespace(lab, "Service")["gitlab-ssh"]["spec"]
    assert port == a["ssh_port"] == service["ports"][0]["port"]
    assert service["ports"][0]["targetPort"] == 22
    routes = in_gitlabs_namespace(lab, "IngressRouteTCP").values()
    led = [one["services"][0] for route in routes for one in route["spec"]["routes"]]
    assert [(one["name"], one["port"]) for one in led] == [("gitlab-ssh", port)] * (a["ssh_exposure"] == "traefik")
    assert re.findall(r"^ +Port (\d+)$", (lab.path / "ssh_config").read_text(), re.MULTILINE) == [str(port)]


def test_both_servers_believe_the_trusted_proxies_and_nobody_else(lab: Lab) -> None:
    rb, wanted = settings(lab), {ip_network(one) for one in lab.answers["trusted_proxies"]}
    for nginx in (rb["gitlab_rails"]["nginx"], rb["registry"]["nginx"]):
        assert {ip_network(one) for one in nginx["real_ip_trusted_addresses"]} == wanted
        assert (nginx["real_ip_header"], nginx["real_ip_recursive"]) == ("X-Forwarded-For", "on")
        families = {network.version for network in wanted}
        assert nginx.get("listen_addresses", ["*"]) == (["0.0.0.0", "[::]"] if 6 in families else ["*"])


def test_a_ban_can_hit_an_application_and_neither_a_node_nor_the_pod_itself(lab: Lab) -> None:
    a, rails = lab.answers, settings(lab)["gitlab_rails"]
    if not a["rack_attack"]:
        assert not [key for key in rails if "rack" in key]
        return
    ban = rails["rack_attack_git_basic_auth"]
    assert (ban["enabled"], ban["maxretry"], ban["findtime"], ban["bantime"]) == (True, 10, 600, 136000)
    spared = [ip_network(one) for one in ban["ip_whitelist"]]
    assert len(spared) == len(set(spared))
    callers = [ip_network(one)[1] for one in a["node_networks"]]
    for caller in (*callers, ip_address("127.0.0.1"), *map(ip_address, POD_ENVIRONMENT["NODE_IPS"].split())):
        assert any(caller in network for network in spared)
    # An application's address is one of the pods' network.
    for caller in (*(ip_network(one)[-2] for one in a["trusted_proxies"]), ip_address("203.0.113.9")):
        assert not any(caller in network for network in spared)


def test_gitlab_reads_this_very_file_and_a_change_of_it_restarts_the_pod(lab: Lab) -> None:
    release = f"{lab.answers['gitlab_namespace']}/gitlab"
    text = (lab.path / "apps/gitlab/gitlab.rb").read_text(encoding="utf-8")
    assert lab.values[release]["configMaps"]["config"]["data"] == {"gitlab.rb": text}
    template = in_gitlabs_namespace(lab, "Deployment")["gitlab"]["spec"]["template"]
    container = template["spec"]["containers"][0]
    (path,) = re.findall(
        r"^from_file\('(.+)'\)$",
        next(one["value"] for one in container["env"] if one["name"] == "GITLAB_OMNIBUS_CONFIG"),
    )
    mount = next(one for one in container["volumeMounts"] if path.startswith(f"{one['mountPath']}/gitlab.rb"))
    volume = next(one for one in template["spec"]["volumes"] if one["name"] == mount["name"])
    carried = in_gitlabs_namespace(lab, "ConfigMap")[volume["configMap"]["name"]]
    assert carried["data"]["gitlab.rb"] == text
    assert len(template["metadata"]["annotations"]["checksum/config"]) == 64


def test_a_changed_setting_changes_the_pod_and_a_changed_memory_limit_not_its_checksum() -> None:
    def checksum(lab: RenderedLab) -> str:
        return lab.one("Deployment", "gitlab")["spec"]["template"]["metadata"]["annotations"]["checksum/config"]

    usual = checksum(RenderedLab({}))
    assert checksum(RenderedLab({"timezone": "Europe/Warsaw"})) != usual
    assert checksum(RenderedLab({}, {"resources": {"limits": {"memory": "7Gi"}}})) == usual


def test_every_key_is_one_that_gitlab_knows_whatever_the_pods_environment_brings(lab: Lab) -> None:
    assert gitlab_rb.unknown_keys(settings(lab)) == []


def test_every_setting_stands_once(lab: Lab) -> None:
    text = (lab.path / "apps/gitlab/gitlab.rb").read_text(encoding="utf-8")
    keys = re.findall(r"^ *(\w+(?:\['\w+'\])+|external_url|registry_external_url)(?: =| ')", text, re.MULTILINE)
    assert len(keys) > 20 and sorted(keys) == sorted(set(keys))


def test_the_registry_announces_pushes_where_the_bootstrap_says_and_stays_silent_without(tmp_path: Path) -> None:
    assert "notifications" not in of(tmp_path, {})["registry"]
    (endpoint,) = of(tmp_path, {}, POD_ENVIRONMENT)["registry"]["notifications"]
    assert (endpoint["name"], endpoint["url"]) == ("flux", POD_ENVIRONMENT["REGISTRY_WEBHOOK_URL"])
    # It holds an event in memory for ever, and is to go (gitlab.com/gitlab-org/container-registry, issues 1243 and 1244).
    assert "threshold" not in endpoint and endpoint["maxretries"] > 0


MAIL = {
    "smtp_enabled": True,
    "smtp_host": "smtp-service.local",
    "smtp_port": 25,
    "email_from": "gitlab@angrybits.example",
    "email_display_name": "Gitlab",
    "email_reply_to": "noreply@angrybits.example",
}


def test_mail_goes_out_as_answered(tmp_path: Path) -> None:
    rails = of(tmp_path, MAIL)["gitlab_rails"]
    assert {key: rails[key] for key in rails if key.startswith(("smtp", "gitlab_email"))} == {
        "smtp_enable": True,
        "smtp_address": "smtp-service.local",
        "smtp_port": 25,
        "smtp_domain": "gitlab.lab.example.com",
        "smtp_tls": False,
        "smtp_enable_starttls_auto": True,
        "smtp_openssl_verify_mode": "peer",
        "smtp_ca_path": "/etc/gitlab/trusted-certs",
        "gitlab_email_enabled": True,
        "gitlab_email_from": "gitlab@angrybits.example",
        "gitlab_email_display_name": "Gitlab",
        "gitlab_email_reply_to": "noreply@angrybits.example",
    }


@pytest.mark.parametrize(
    "name",
    [
        "Git: home",
        "#lab",
        "null",
        "123",
        "[lab]",
        '"quoted"',
        "it's",
        "<%= `id` %>",
        "Gärten & Ställe 🦊",
        "a #b",
        "%{x}",
        "~",
        "Ja: \\",
        "=",
    ],
)
def test_gitlab_sends_its_mail_under_the_name_that_was_answered(tmp_path: Path, name: str) -> None:
    """The package copies it into gitlab.yml without quotes; then ERB and YAML read that file."""
    given = {
        "email_display_name": name,
        "email_from": "'git@lab.example.com",
        "email_reply_to": "'no-reply@lab.example.com",
    }
    (read,) = gitlab_rb.as_gitlab_reads_them([of(tmp_path, {**MAIL, **given})], tmp_path)
    assert {question: read["gitlab"][question] for question in given} == given


def test_gitlab_holds_what_was_answered(lab: Lab) -> None:
    a, (read,) = lab.answers, gitlab_rb.as_gitlab_reads_them([settings(lab)], lab.path)
    found = {key: read["gitlab"][key] for key in ("host", "ssh_host", "time_zone", "trusted_proxies")}
    assert found == {
        "host": a["gitlab_host"],
        "ssh_host": a["gitlab_host"],
        "time_zone": a["timezone"],
        "trusted_proxies": a["trusted_proxies"],
    }
    assert read["registry"]["host"] == a["registry_host"]
    names = ("email_from", "email_display_name", "email_reply_to") if a["smtp_enabled"] else ()
    assert {name: read["gitlab"][name] for name in names} == {name: a[name] for name in names}


def test_a_mail_server_that_wants_a_password_gets_it_from_the_secret_and_git_never_sees_it(tmp_path: Path) -> None:
    lab = RenderedLab(MAIL)
    container = lab.one("Deployment", "gitlab")["spec"]["template"]["spec"]["containers"][0]
    assert container["envFrom"] == [{"secretRef": {"name": "gitlab-env", "optional": True}}]
    rails = of(tmp_path, MAIL, POD_ENVIRONMENT)["gitlab_rails"]
    assert (rails["smtp_user_name"], rails["smtp_password"]) == (
        POD_ENVIRONMENT["SMTP_USER_NAME"],
        POD_ENVIRONMENT["SMTP_PASSWORD"],
    )
    assert rails["smtp_authentication"] == "login"


def test_the_runbook_says_how_a_secret_of_gitlab_rb_gets_into_the_cluster() -> None:
    lab = RenderedLab(MAIL)
    assert "Secret gitlab-env, and here as ENV['ITS_NAME']: see README.md" in lab.gitlab_rb
    assert "kubectl -n gitlab create secret generic gitlab-env --from-env-file=<file>" in lab.text("README.md")


@pytest.mark.parametrize(
    ("storage", "data", "where"),
    [
        ("nfs", "storage-class", "`/storage/gitlab/config/gitlab.rb` on `storage.lab.example.com`"),
        ("storage-class", "nfs", None),
        ("host-path", "nfs", "`/storage/gitlab/config/gitlab.rb` on the node"),
    ],
)
def test_the_runbook_says_where_a_gitlab_rb_beside_git_lies_and_what_is_lost(
    storage: str, data: str, where: str | None
) -> None:
    said = RenderedLab({"storage_backend": storage, "data_backend": data}).text("README.md")
    (paragraph,) = (part for part in said.split("\n### ") if part.startswith("Keep gitlab.rb on the "))
    assert ("storage server" in paragraph) is (storage == "nfs")
    assert (where in paragraph) if where else ("/config/gitlab.rb" not in paragraph)
    assert (
        "you lose its history, the checks, and the restart by commit" in paragraph
        and "rollout restart deployment/gitlab" in paragraph
    )


def test_the_port_for_smtps_is_spoken_to_in_tls_from_the_start(tmp_path: Path) -> None:
    for port, wanted in ((465, (True, False)), (587, (False, True)), (25, (False, True))):
        rails = of(tmp_path, {**MAIL, "smtp_port": port})["gitlab_rails"]
        assert (rails.get("smtp_tls"), rails.get("smtp_enable_starttls_auto")) == wanted


def test_without_a_mail_server_no_trace_of_one_is_left(tmp_path: Path) -> None:
    rails = of(tmp_path, {"smtp_enabled": False}, POD_ENVIRONMENT)["gitlab_rails"]
    assert [key for key in rails if "smtp" in key or "email" in key] == ["gitlab_email_enabled"]
    assert rails["gitlab_email_enabled"] is False


def test_the_size_decides_on_processes_and_memory(tmp_path: Path) -> None:
    small, standard = (of(tmp_path, {"gitlab_size": size}) for size in ("small", "standard"))
    malloc = {"MALLOC_CONF": "dirty_decay_ms:1000,muzzy_decay_ms:1000"}
    assert (small["puma"], small["sidekiq"]) == ({"worker_processes": 0}, {"concurrency": 10})
    assert small["gitlab_rails"]["env"] == small["gitaly"]["env"] == malloc
    # A count of its own: GitLab would count the node's processors, and one worker takes about 1 GB.
    assert standard["puma"] == {"worker_processes": 4}
    assert not {"sidekiq", "gitaly"} & standard.keys() and "env" not in standard["gitlab_rails"]


def test_what_the_lab_does_not_use_is_off_in_every_size(tmp_path: Path) -> None:
    for size in ("small", "standard"):
        rb = of(tmp_path, {"gitlab_size": size})
        assert rb["prometheus_monitoring"] == rb["gitlab_kas"] == {"enable": False}


def test_backups_are_kept_as_long_as_answered_and_not_at_all_without(tmp_path: Path) -> None:
    assert of(tmp_path, {"backups": True, "backup_keep_days": 30})["gitlab_rails"]["backup_keep_time"] == 30 * 24 * 3600
    assert "backup_keep_time" not in of(tmp_path, {"backups": False})["gitlab_rails"]


AWS = {
    "aws": "backups",
    "aws_account": "123456789012",
    "aws_region": "eu-west-3",
    "aws_bucket": "one",
    "aws_issuer_bucket": "two",
}


def test_backups_go_to_the_bucket_once_there_is_a_key_for_it_and_the_key_is_in_no_file(tmp_path: Path) -> None:
    key = {"BACKUP_ACCESS_KEY_ID": "AKIA…", "BACKUP_SECRET_ACCESS_KEY": "it's #{secret}"}
    rails = of(tmp_path, AWS, POD_ENVIRONMENT | key)["gitlab_rails"]
    assert rails["backup_upload_remote_directory"] == "one"
    assert rails["backup_upload_connection"] == {
        "provider": "AWS",
        "region": "eu-west-3",
        "aws_access_key_id": "AKIA…",
        "aws_secret_access_key": "it's #{secret}",
    }
    for answers, environment in ((AWS, {}), (AWS | {"backups": False}, key), ({}, key)):
        assert not [
            name for name in of(tmp_path, answers, environment)["gitlab_rails"] if name.startswith("backup_upload")
        ]


@pytest.mark.labs(backups=[True])
def test_the_nightly_backup_goes_where_its_key_may_add_one(lab: Lab) -> None:
    job = in_gitlabs_namespace(lab, "CronJob")["gitlab-backup"]
    container = container_of(job["spec"]["jobTemplate"]["spec"]["template"]["spec"], "backup")
    # aws-permissions.tf lets the key add below backups/, and GitLab calls that folder DIRECTORY.
    assert (" DIRECTORY=backups" in container["args"][-1]) is (lab.answers["aws"] == "backups")


def test_tokens_of_jobs_name_the_bucket_as_their_issuer_only_if_aws_cannot_ask_gitlab(tmp_path: Path) -> None:
    def issuer(**answers: Any) -> Any:
        return of(tmp_path, AWS | answers)["gitlab_rails"].get("ci_id_tokens_issuer_url")

    assert issuer() == "https://two.s3.eu-west-3.amazonaws.com"
    assert issuer(aws_issuer_bucket="") is issuer(aws_login="keys") is issuer(aws="none") is None


def test_a_backup_takes_the_registrys_database_along_and_a_restore_brings_it_back(tmp_path: Path) -> None:
    """Without the role and both passwords GitLab's tools leave it out, and a restored registry would know no image.

    https://docs.gitlab.com/omnibus/settings/backups/#container-registry-metadata-database-backup-credentials
    """
    names = ("backup_registry_password", "restore_registry_password")
    for given in ({"backups": True}, {"backups": False}):
        rails = of(tmp_path, given, POD_ENVIRONMENT)["gitlab_rails"]
        assert rails["backup_role"] is True
        assert len({rails[name] for name in names}) == 2 and all(
            re.fullmatch("[0-9a-f]{64}", rails[name]) for name in names
        )
        # The same at each start, another one for another secret.
        assert of(tmp_path, given, POD_ENVIRONMENT)["gitlab_rails"] == rails
        other = of(tmp_path, given, {**POD_ENVIRONMENT, "GITLAB_ROOT_PASSWORD": "another"})["gitlab_rails"]
        assert not {rails[name] for name in names} & {other[name] for name in names}
    # A password that everybody could work out is none.
    assert not {"backup_role", *names} & of(tmp_path, {})["gitlab_rails"].keys()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("external_url 'http://other.lab'", "http://other.lab"), ("# nothing", "https://gitlab.lab.example.com")],
)
def test_a_gitlab_rb_on_the_volume_wins_over_the_one_in_git(tmp_path: Path, text: str, wanted: str) -> None:
    """The image evaluates GITLAB_OMNIBUS_CONFIG first and /etc/gitlab/gitlab.rb after it (docker/assets/gitlab.rb)."""
    file = tmp_path / "gitlab.rb"
    file.write_text(f"{RenderedLab({}).gitlab_rb}\n{text}\n", encoding="utf-8")
    found: Any = gitlab_rb.settings(file)["external_url"]
    assert found == wanted
