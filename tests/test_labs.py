"""Every lab of tests/answers/valid/, judged by what will read it."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import pytest
import yaml
import yamllint.linter
from check_jsonschema.cli import main as check_jsonschema
from click.testing import CliRunner
from yamllint.config import YamlLintConfig

from tests.support import gitlab_rb
from tests.support.cluster import Lab, kustomize
from tests.support.program import runners, settings_of
from tests.support.questions import QUESTIONS
from tests.support.references import problems
from tests.support.rendering import ROOT
from tests.support.schemas import schema_errors
from tests.support.texts import answered, texts
from tests.support.tools import run, tool

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

KEYS = Path(__file__).resolve().parent / "keys"


def files(lab: Lab) -> list[Path]:
    return sorted(path for path in lab.path.rglob("*") if path.is_file())


VERDICTS: dict[tuple[object, ...], str] = {}


def once_a_content(judge: Callable[..., str], lab: Lab, name: str, *command: str) -> str:
    """Return what *judge* says of a lab's file; a file of the same name and content is judged once a worker."""
    key = (judge, name, (lab.path / name).read_bytes(), command)
    if key not in VERDICTS:
        VERDICTS[key] = judge(lab.path, name, *command)
    return VERDICTS[key]


def linted(lab: Lab, name: str, *command: str) -> str:
    """Return what a linter, started in the lab, says of a file."""
    return once_a_content(lint, lab, name, *command)


def lint(folder: Path, name: str, *command: str) -> str:
    done = run(*command, name, cwd=folder)
    return done.stdout + done.stderr if done.returncode else ""


def against_schema(lab: Lab, name: str, *options: str) -> str:
    """Return what check-jsonschema says of a file, without a process for each."""
    return once_a_content(check, lab, name, *options)


def check(folder: Path, name: str, *options: str) -> str:
    done = CliRunner().invoke(check_jsonschema, [*options, str(folder / name)])
    return done.output if done.exit_code or done.exception else ""


yamllint_settings = lru_cache(maxsize=None)(YamlLintConfig)


@cache
def yaml_faults(settings: str, name: str, content: bytes) -> list[str]:
    """Return what yamllint says of a file's content; the same content is read once a worker."""
    return [f"{name}:{fault}" for fault in yamllint.linter.run(content, yamllint_settings(settings), name)]


def has_iac(answers: dict[str, Any]) -> bool:
    """Say whether a lab has a project for infrastructure."""
    return answers.get("runner_machine") == "proxmox" or answers["aws"] != "none"


def test_every_path_of_the_design_is_there_and_nothing_of_a_switched_off_feature(lab: Lab) -> None:
    a = lab.answers
    wanted = {
        "README.md": True,
        "bootstrap.sh": True,
        "lab": True,
        "lab_program/settings.json": True,
        "charts/app/Chart.yaml": True,
        "ssh_config": True,
        ".gitlab-ci.yml": True,
        ".copier-answers.yml": True,
        ".editorconfig": True,
        ".gitignore": True,
        "renovate.json": True,
        "infrastructure/kustomization.yaml": True,
        "infrastructure/namespaces.yaml": True,
        "infrastructure/network.yaml": True,
        f"clusters/{a['cluster_name']}/flux-system/sync.yaml": True,
        "automation/kustomization.yaml": True,
        "apps/gitlab/helmrelease.yaml": True,
        "apps/gitlab/values.yaml": True,
        "apps/gitlab/gitlab.rb": True,
        "apps/gitlab/kustomization.yaml": True,
        "apps/gitlab/backup.yaml": a["backups"],
        **dict.fromkeys(
            ("apps/backups/drill.yaml", f"clusters/{a['cluster_name']}/backups.yaml"),
            a["backups"] and a["backup_target"] != "none",
        ),
        "apps/demo": a["sample_app"],
        "apps/demo/helmrelease.yaml": a["sample_app"],
        "sample-app": a["sample_app"],
        "sample-app/Dockerfile": a["sample_app"],
        "sample-app/.gitlab-ci.yml": a["sample_app"],
        f"clusters/{a['cluster_name']}/demo.yaml": a["sample_app"],
        "runner": a["runner_kind"] != "none",
        "runner/compose.yaml": a["runner_kind"] == "docker",
        "runner/config.toml": a["runner_kind"] == "docker",
        "runner/.env.example": a["runner_kind"] == "docker",
        "runner/helmrelease.yaml": a["runner_kind"] == "kubernetes",
        f"clusters/{a['cluster_name']}/runner.yaml": a["runner_kind"] == "kubernetes",
        "infrastructure/storage.yaml": "nfs" in (a["storage_backend"], a["data_backend"]),
        "infrastructure/traefik.yaml": a["traefik_kind"] == "k3s",
        "infrastructure/traefik-values.yaml": a["traefik_kind"] == "other",
        "automation/notifications.yaml": a["gitops_source"] == "self",
        **dict.fromkeys(("iac", "iac/terraform.tfvars", "iac/encryption.tofu", "iac/.gitlab-ci.yml"), has_iac(a)),
        **dict.fromkeys(
            ("iac/aws.tf", "iac/aws-permissions.tf", "iac/aws-provider.tf", "iac/aws.md"), a["aws"] == "backups"
        ),
        **dict.fromkeys(("iac/aws-oidc.tf", "iac/aws-oidc-variables.tf"), a.get("aws_login") == "oidc"),
        "iac/aws-issuer.tf": a.get("aws_login") == "oidc" and a["aws_issuer_bucket"] != "",
        **dict.fromkeys(("iac/aws-roles-anywhere.tf", "iac/aws-session.sh"), a.get("aws_login") == "roles-anywhere"),
        "iac/aws-keys.tf": a.get("aws_login") == "keys",
        **dict.fromkeys(("iac/runner.tf", "iac/providers.tf"), a.get("runner_machine") == "proxmox"),
    }
    assert {name: (lab.path / name).exists() for name in wanted} == wanted


def test_nothing_is_empty_and_nothing_is_left_unrendered(lab: Lab) -> None:
    found = [
        f"{path.relative_to(lab.path)}: empty folder"
        for path in lab.path.rglob("*")
        if path.is_dir() and not any(path.iterdir())
    ]
    rendered = texts(answered(lab.answers))
    for file in files(lab):
        name, text = str(file.relative_to(lab.path)), file.read_text(encoding="utf-8")
        if re.search(r"\{%|%\}|\{\{|\}\}|\.jinja", name):
            found.append(f"{name}: a tag of the template")
        # A static file may hold what Helm, kubectl or Python put between braces; of the rendered ones, Flux's commit message, and how
        # Renovate writes an image.
        ours = (
            re.sub(r'^ +"autoReplaceStringTemplate": .*$', "", text, flags=re.MULTILINE)
            if name == "renovate.json"
            else text
        )
        if name in rendered and name != "automation/image-updates.yaml" and re.search(r"\{%|%\}|\{\{", ours):
            found.append(f"{name}: an expression of the template")
        if (
            name in rendered
            and file.suffix in {".yaml", ".yml", ".toml", ".rb"}
            and re.search(r"\b(None|Undefined|True|False)\b", text)
        ):
            found.append(f"{name}: a Python value")
        if not text.strip() or not text.endswith("\n") or text.endswith("\n\n"):
            found.append(f"{name}: ends wrongly, or is empty")
        if ("\n\n\n" in text and file.suffix != ".py" and name != "lab") or re.search(r"[ \t]\n", text):
            found.append(f"{name}: a gap, or blanks at the end of a line")
        # The runner's release carries TOML, whose tables stand apart; its user data a script.
        carrying = name in ("runner/helmrelease.yaml", "runner/cloud-init.yaml")
        if name in rendered and file.suffix == ".yaml" and not carrying and re.search(r"\n {3,}.*\n\n {3}", text):
            found.append(f"{name}: a gap within a block")
    assert found == []


def test_every_object_is_what_kubernetes_flux_traefik_and_cert_manager_accept(lab: Lab) -> None:
    assert [error for thing in lab.objects for error in schema_errors(thing)] == []


def test_every_reference_holds(lab: Lab) -> None:
    assert problems(lab) == []


def test_every_kustomization_builds_and_is_followed_by_flux(lab: Lab) -> None:
    followed = {
        (lab.path / thing["spec"]["path"]).resolve() for thing in lab.of_kind("Kustomization") if "spec" in thing
    }
    for folder in lab.kustomizations():
        assert kustomize(folder).strip()
        assert folder.resolve() in followed or folder == lab.cluster / "flux-system"


@pytest.mark.deep(keep=4)
def test_yaml_is_well_formed_and_tidy(lab: Lab) -> None:
    settings = (lab.path / ".yamllint.yaml").read_text(encoding="utf-8")
    read = [file for file in files(lab) if yamllint_settings(settings).is_yaml_file(str(file))]
    assert lab.path / ".gitlab-ci.yml" in read and lab.path / "apps/gitlab/values.yaml" in read
    assert [
        fault for file in read for fault in yaml_faults(settings, str(file.relative_to(lab.path)), file.read_bytes())
    ] == []


def test_gitlab_rb_sets_only_what_gitlab_knows(lab: Lab) -> None:
    recorded = gitlab_rb.settings(lab.path / "apps/gitlab/gitlab.rb")
    assert gitlab_rb.unknown_keys(recorded) == []


def test_gitlab_rb_agrees_with_services_routes_and_answers(lab: Lab) -> None:
    a = lab.answers
    recorded = gitlab_rb.settings(lab.path / "apps/gitlab/gitlab.rb", {"NODE_IP": "192.0.2.7"})
    suffix = "" if a["https_port"] == 443 else f":{a['https_port']}"
    services = {thing["metadata"]["name"]: thing["spec"]["ports"][0] for thing in lab.of_kind("Service")}
    rails, registry = recorded["gitlab_rails"], recorded["registry"]
    assert recorded["external_url"] == f"https://{a['gitlab_host']}{suffix}"
    assert recorded["registry_external_url"] == f"https://{a['registry_host']}{suffix}"
    assert rails["nginx"]["listen_port"] == services["gitlab-http"]["targetPort"] == a["http_port"]
    assert registry["nginx"]["listen_port"] == services["gitlab-registry"]["targetPort"] == a["registry_port"]
    assert rails["nginx"]["listen_https"] is registry["nginx"]["listen_https"] is False
    assert rails["gitlab_shell_ssh_port"] == services["gitlab-ssh"]["port"] == a["ssh_port"]
    assert rails["nginx"]["real_ip_trusted_addresses"] == a["trusted_proxies"]
    if a["smtp_enabled"]:
        assert (rails["smtp_address"], rails["smtp_port"]) == (a["smtp_host"], a["smtp_port"])
        assert (rails["smtp_tls"], rails["smtp_enable_starttls_auto"]) == (
            a["smtp_security"] == "tls",
            a["smtp_security"] == "starttls",
        )
    else:
        assert not [key for key in rails if key.startswith("smtp_")]
    if a["rack_attack"]:
        assert {"192.0.2.7", "127.0.0.1", *a["node_networks"]} == set(
            rails["rack_attack_git_basic_auth"]["ip_whitelist"]
        )
    else:
        assert "rack_attack_git_basic_auth" not in rails


@pytest.mark.labs(runner_kind=["docker", "kubernetes"])
def test_runner_files_are_what_compose_and_the_runner_read(lab: Lab) -> None:
    kind = lab.answers["runner_kind"]
    if kind == "docker":
        assert against_schema(lab, "runner/compose.yaml", "--builtin-schema", "vendor.compose-spec") == ""
        settings = tomllib.loads((lab.path / "runner/config.toml").read_text(encoding="utf-8"))
    else:
        settings = tomllib.loads(
            lab.values["gitlab-runner/gitlab-runner"]["configMaps"]["config"]["data"]["config.toml"]
        )
    known = set((KEYS / "runner_config_keys.txt").read_text(encoding="utf-8").split())
    assert [key for key in toml_keys(settings) if key not in known] == []
    assert settings["concurrent"] == lab.answers["runner_concurrent"]
    # The program makes each of them, and hands its token to the variable that its settings name.
    wanted = [(one.name, f"${one.variable}") for one in runners.wanted(settings_of(lab.path))]
    assert [(one["name"], one["token"]) for one in settings["runners"]] == wanted
    for runner in settings["runners"]:
        assert runner["executor"] == kind and runner["url"].startswith(f"https://{lab.answers['gitlab_host']}")
        assert ("tls-ca-file" in runner) is lab.answers["private_ca"]


def toml_keys(value: object, prefix: str = "") -> list[str]:
    """Return the dotted keys of a parsed TOML file, lists of tables without their numbers."""
    if isinstance(value, dict):
        return [
            key for name, item in value.items() for key in (f"{prefix}{name}", *toml_keys(item, f"{prefix}{name}."))
        ]
    if isinstance(value, list):
        return [key for item in value for key in toml_keys(item, prefix)]
    return []


def test_pipelines_are_what_gitlab_reads(lab: Lab) -> None:
    pipelines = [file for file in files(lab) if file.name == ".gitlab-ci.yml"]
    assert len(pipelines) == 1 + lab.answers["sample_app"] + (lab.path / "iac").is_dir()
    for file in pipelines:
        assert (
            against_schema(
                lab,
                str(file.relative_to(lab.path)),
                "--builtin-schema",
                "vendor.gitlab-ci",
                "--data-transform",
                "gitlab-ci",
            )
            == ""
        )


def test_renovate_reads_its_settings(lab: Lab) -> None:
    json.loads((lab.path / "renovate.json").read_text(encoding="utf-8"))
    assert against_schema(lab, "renovate.json", "--builtin-schema", "vendor.renovate") == ""


def test_scripts_are_clean(lab: Lab) -> None:
    scripts = [file for file in files(lab) if file.suffix == ".sh"]
    entries = [file for file in scripts if file.parent == lab.path] + [lab.path / "lab"]
    assert lab.path / "bootstrap.sh" in entries
    assert [file for file in files(lab) if file.stat().st_mode & 0o100] == sorted(entries)
    names = [str(file.relative_to(lab.path)) for file in scripts]
    assert (
        "".join(
            linted(lab, name, tool("shellcheck"), "--external-sources", "--source-path=SCRIPTDIR:.") for name in names
        )
        == ""
    )


def test_the_labs_program_is_the_templates_own(lab: Lab) -> None:
    """It is the same in every lab; what differs is in its settings."""
    made = {
        file.relative_to(lab.path): file.read_bytes()
        for file in [lab.path / "lab", *lab.path.glob("lab_program/**/*.py")]
    }
    source = ROOT / "template"
    assert made == {
        file.relative_to(source): file.read_bytes() for file in [source / "lab", *source.glob("lab_program/**/*.py")]
    }


def test_the_runbook_names_what_is_there_and_nothing_else(lab: Lab) -> None:
    text = (lab.path / "README.md").read_text(encoding="utf-8")
    spans = [span.removeprefix("./") for span in re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text)]
    top = {
        "apps",
        "automation",
        "charts",
        "clusters",
        "infrastructure",
        "lab_program",
        "runner",
        "sample-app",
        "scripts",
    }
    named = {
        span
        for span in spans
        if re.fullmatch(r"[\w./-]+", span) and (span.split("/")[0] in top or span.endswith(".sh"))
    }
    assert {name for name in named if not (lab.path / name).exists()} == set()
    entries = {entry.name for entry in lab.path.iterdir() if not entry.name.startswith(".")} - {
        "README.md",
        "renovate.json",
    }
    assert {
        entry
        for entry in entries
        if not any(span.rstrip("/") == entry or span.startswith(f"{entry}/") for span in spans)
    } == set()


# What the program needs beside the answers; tests/test_facts.py and the manifests hold these.
DERIVED = {
    "installs_cert_manager",
    "dns_secret",
    "cluster_issuer",
    "iac_project",
    "unbanned_networks",
    "own_public_networks",
    "gitlab_url",
    "registry_address",
    "registry_push_user",
    "lab_project",
    "sample_project",
    "sample_host",
    "sign_in_host",
    "sign_in_url",
    "docker_hub_cache_address",
    "machine_cache_file",
    "runner_namespace",
    "gitops_url",
    "flux_version",
    "alerts_entry",
    "backup_place",
    "backup_entries",
}
# An answer that does not apply is empty in the settings.
KIND = {"str": str, "int": int, "bool": bool, "yaml": tuple}


def test_the_settings_of_the_program_are_the_answers(lab: Lab) -> None:
    settings = vars(settings_of(lab.path))
    assert settings.keys() >= DERIVED and settings.keys() - DERIVED <= QUESTIONS.keys()
    for name in settings.keys() - DERIVED:
        wanted = lab.answers.get(name, "")
        assert isinstance(settings[name], KIND[QUESTIONS[name]["type"]]), name
        # Of a question that this lab was not asked the setting is empty, whatever its type.
        empty = [""] if name in lab.answers else ["", 0, ()]
        assert settings[name] in (tuple(wanted) if isinstance(wanted, list) else wanted, *empty), name
    release = next(
        one for one in lab.objects if one["kind"] == "GitRepository" and one["metadata"]["name"] == "flux-system"
    )
    assert (settings["gitops_url"], settings["gitops_branch"]) == (
        release["spec"]["url"],
        release["spec"]["ref"]["branch"],
    )
    hosts = [host["name"] for host in lab.values[f"{settings['gitlab_namespace']}/gitlab"]["ingress"]["hosts"]]
    assert hosts == [settings["gitlab_host"], settings["registry_host"]]


@pytest.mark.labs(sample_app=[True])
def test_the_sample_applications_dockerfile_is_clean(lab: Lab) -> None:
    assert linted(lab, "sample-app/Dockerfile", tool("hadolint")) == ""


def test_ssh_reads_its_entry(lab: Lab) -> None:
    done = run(tool("ssh"), "-G", "-F", lab.path / "ssh_config", lab.answers["gitlab_host"])
    read = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert (read["hostname"], read["port"], read["user"]) == (
        lab.answers["gitlab_host"],
        str(lab.answers["ssh_port"]),
        "git",
    )


def test_image_names_are_lower_case_and_on_the_labs_registry(lab: Lab) -> None:
    suffix = "" if lab.answers["https_port"] == 443 else f":{lab.answers['https_port']}"
    group = lab.answers["groups"][0].lower()
    images = [thing["spec"]["image"] for thing in lab.of_kind("ImageRepository")]
    assert images == [f"{lab.answers['registry_host']}{suffix}/{group}/demo"] * lab.answers["sample_app"]


def test_gitlabs_own_image_is_exact_and_under_no_policy(lab: Lab) -> None:
    values = yaml.safe_load((lab.path / "apps/gitlab/values.yaml").read_text(encoding="utf-8"))
    assert values["image"]["tag"] == f"{lab.answers['gitlab_version']}-ce.0"
    assert "imagePolicy" not in values["image"]
