"""Certificates that the lab makes: what is refused, what the owner is asked for, and where the authority's key may go."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path
from typing import Any

import pytest
from lab_program.stages.certificates import Certificates

from tests.program.support.faked import Call, Faked
from tests.support import program
from tests.support.program import errors, lab_authority, lab_module, preflight_cluster

TOKEN = "a-token-that-nobody-sees"


class World:
    """A cluster of objects, by kind and name; Secrets that are applied are kept."""

    def __init__(self, **objects: dict[str, Any]) -> None:
        self.objects, self.applied = objects, ""

    def __call__(self, call: Call) -> tuple[int, str, str]:
        if "apply" in call.command:
            self.applied += call.stdin.decode()
            return 0, "", ""
        if "get" not in call.command:
            return 0, "", ""
        kind, name = call.command[3:5]
        if kind == "namespaces":
            return 0, json.dumps({"items": [{"metadata": {"name": "cert-manager"}}]}), ""
        found = self.objects.get(kind.partition(".")[0])
        return 0, json.dumps(found) if found and found["metadata"]["name"] == name else "", ""


def lab(tmp_path: Path, world: World, environment: dict[str, str] | None = None, **changes: Any) -> lab_module.Lab:
    folder = tmp_path / "lab"
    folder.mkdir(exist_ok=True)
    settings = program.settings(tls_source="lab-authority", cluster_issuer="lab-authority", private_ca=True, **changes)
    console, limits = program.console(assume_yes=True), program.environment.Limits()
    return lab_module.Lab(folder, settings, limits, console, Faked(world), tmp_path, environment or {})


def definition(**annotations: str) -> dict[str, Any]:
    notes = {f"meta.helm.sh/release-{name}": value for name, value in annotations.items()}
    return {"metadata": {"name": "clusterissuers.cert-manager.io", "annotations": notes}}


THERE = {"metadata": {"name": "cert-manager"}}
OURS = {"name": "cert-manager", "namespace": "cert-manager"}


@pytest.mark.parametrize(
    ("installs", "objects", "said"),
    [
        (True, {}, ""),
        (True, {"customresourcedefinitions": definition(**OURS)}, ""),
        (True, {"customresourcedefinitions": definition(**OURS), "deployment": THERE, "helmreleases": THERE}, ""),
        (True, {"customresourcedefinitions": definition(**OURS), "deployment": THERE}, "cert_manager: existing"),
        (True, {"customresourcedefinitions": definition()}, "cert_manager: existing"),
        (
            True,
            {"customresourcedefinitions": definition(name="cm", namespace="cert-manager")},
            "cert_manager: existing",
        ),
        (False, {}, "cert_manager: lab"),
        (False, {"customresourcedefinitions": definition()}, ""),
    ],
)
def test_a_second_cert_manager_and_a_missing_one_are_noticed(
    tmp_path: Path, installs: bool, objects: dict[str, Any], said: str
) -> None:
    found = preflight_cluster.tls(lab(tmp_path, World(**objects), installs_cert_manager=installs))
    assert isinstance(found, preflight_cluster.Problem) is bool(said)
    assert said in getattr(found, "fix", "")


def dns_stage(tmp_path: Path, world: World, **environment: str) -> Certificates:
    made = lab(
        tmp_path, world, environment, dns_secret=("access-key-id=access key ID", "api=the key"), age_recipients=()
    )
    return Certificates(made)


def test_the_dns_token_comes_from_a_file_into_the_cluster_alone(tmp_path: Path) -> None:
    file, world = tmp_path / "token", World()
    file.write_text(f"# mine\naccess-key-id=AKIA\napi={TOKEN}\nmore=x\n", encoding="utf-8")
    stage = dns_stage(tmp_path, world, LAB_ACME_DNS_FILE=str(file))
    stage._ensure_dns_secret()
    made = json.loads(world.applied)
    assert (made["metadata"]["namespace"], made["metadata"]["name"]) == ("cert-manager", "acme-dns")
    assert {key: base64.b64decode(value) for key, value in made["data"].items()} == {
        "access-key-id": b"AKIA",
        "api": TOKEN.encode(),
    }
    commands = " ".join(call.line for call in stage.lab.programs.calls)  # type: ignore[attr-defined]
    assert TOKEN not in commands and not list((tmp_path / "lab").iterdir())


@pytest.mark.parametrize("text", ["access-key-id=AKIA\n", "access-key-id=AKIA\napi= \n"])
def test_a_file_that_lacks_a_value_of_the_token_is_refused_by_name(tmp_path: Path, text: str) -> None:
    file, world = tmp_path / "token", World()
    file.write_text(text, encoding="utf-8")
    with pytest.raises(errors.Failure) as refused:
        dns_stage(tmp_path, world, LAB_ACME_DNS_FILE=str(file))._ensure_dns_secret()
    assert "lacks api" in refused.value.what and not world.applied


def test_without_a_terminal_the_token_is_asked_for_in_words_and_one_that_is_there_is_kept(tmp_path: Path) -> None:
    with pytest.raises(errors.Failure) as refused:
        dns_stage(tmp_path, World())._ensure_dns_secret()
    assert "LAB_ACME_DNS_FILE" in refused.value.then and "access-key-id=" in refused.value.then
    data = {key: base64.b64encode(b"x").decode() for key in ("access-key-id", "api")}
    world = World(secret={"metadata": {"name": "acme-dns"}, "data": data})
    dns_stage(tmp_path, world)._ensure_dns_secret()
    assert not world.applied


def authority() -> dict[str, Any]:
    notes = {
        "cert-manager.io/issuer-name": "lab-authority-root",
        "kubectl.kubernetes.io/last-applied-configuration": "x",
    }
    meta = {
        "name": "lab-authority",
        "namespace": "cert-manager",
        "uid": "1",
        "resourceVersion": "2",
        "annotations": notes,
    }
    data = {key: base64.b64encode(key.encode()).decode() for key in ("tls.crt", "tls.key", "ca.crt")}
    return {"kind": "Secret", "type": "kubernetes.io/tls", "metadata": meta, "data": data}


def test_a_backup_of_the_key_is_the_owners_alone_and_makes_the_same_secret(tmp_path: Path) -> None:
    file = tmp_path / "lab-authority.yaml"
    lab_authority.back_up_key(lab(tmp_path, World(secret=authority())), file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    made = json.loads("".join(line for line in file.read_text().splitlines() if not line.startswith("#")))
    assert made["data"] == authority()["data"] and made["type"] == "kubernetes.io/tls"
    assert set(made["metadata"]) == {"name", "namespace", "annotations", "labels"}
    assert set(made["metadata"]["annotations"]) == {"cert-manager.io/issuer-name"}


def test_a_backup_is_never_written_where_git_takes_it_or_over_a_file(tmp_path: Path) -> None:
    made = lab(tmp_path, World(secret=authority()))
    (tmp_path / "other" / ".git").mkdir(parents=True)
    (tmp_path / "other" / "deep").mkdir()
    (tmp_path / "mine").write_text("mine", encoding="utf-8")
    (tmp_path / "link").symlink_to(tmp_path / "other")
    for place in ("lab/key", "other/key", "other/deep/key", "link/key", "mine", "none/key"):
        with pytest.raises(errors.Failure):
            lab_authority.back_up_key(made, tmp_path / place)
    assert (tmp_path / "mine").read_text(encoding="utf-8") == "mine"
    assert sorted(path.name for path in tmp_path.rglob("key")) == []
    with pytest.raises(errors.Failure):
        lab_authority.back_up_key(lab(tmp_path, World()), tmp_path / "none-yet")
    assert not (tmp_path / "none-yet").exists()
