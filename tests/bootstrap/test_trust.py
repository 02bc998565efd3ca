"""`./lab trust` for what it finds in the cluster: the nodes, the Secrets with the authority, and what devices need."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Callable

import pytest
import yaml

from tests.bootstrap.support.lab_world import World
from tests.support.rendering import ROOT


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    found = make_world(private_ca=True)
    (found.lab / "scripts").mkdir(exist_ok=True)
    shutil.copy2(ROOT / "example/scripts/trust-ca.sh", found.lab / "scripts/trust-ca.sh")
    found.cluster.put("Node", "", "node-1", status={"addresses": [{"type": "InternalIP", "address": "192.0.2.11"}]})
    found.cluster.put("Node", "", "node-2")
    return found


def test_without_a_yes_no_node_is_called_and_each_is_told_by_hand(world: World) -> None:
    run = world.run("--nodes", "--user", "admin", command="trust", yes=False)
    assert run.status == 1 and not [call for call in world.calls if call.source == "ssh"]
    for machine in ("admin@192.0.2.11", "admin@node-2"):
        assert f"scp ca.crt scripts/trust-ca.sh {machine}: && ssh {machine} bash trust-ca.sh" in run.out + run.err
    assert "--yes" in run.err


def test_on_a_terminal_the_nodes_are_shown_and_a_no_leaves_them(world: World) -> None:
    run = world.terminal("--nodes", command="trust")
    run.answer("Go on? [y/N]", "n")
    assert run.wait() == 1 and "root@192.0.2.11  (node-1)" in run.said and "registries.yaml" in run.said
    assert not [call for call in world.calls if call.source == "ssh"]


def test_with_a_yes_every_node_is_called_and_who_does_not_trust_it_yet_is_named(world: World) -> None:
    world.vm_has["ssh"] = False
    run = world.run("--nodes", command="trust")
    assert run.status == 1 and "Not trusted yet by root@192.0.2.11, root@node-2" in run.err
    assert run.err.count("Connection refused") == 2


def test_the_cluster_gets_the_certificate_that_lies_in_the_lab_and_nothing_the_second_time(world: World) -> None:
    world.cluster.put("Namespace", "", "gitlab")
    world.cluster.put("Namespace", "", "flux-system")
    first = world.run("--cluster", command="trust", yes=True)
    assert first.status == 0, first.err
    wanted = (world.lab / "ca.crt").read_text()
    assert all(world.cluster.secret(place, "lab-ca") == {"ca.crt": wanted} for place in ("gitlab", "flux-system"))
    assert "kubectl rollout restart deploy/gitlab" in first.out
    changes = len(world.changes)
    assert world.run("--cluster", command="trust").status == 0 and len(world.changes) == changes


def test_devices_are_told_what_to_do_with_this_labs_file_and_hosts(world: World) -> None:
    run = world.run("--devices", command="trust", yes=False)
    assert run.status == 0 and world.changes == []
    for words in (
        str(world.lab / "ca.crt"),
        world.settings["registry_address"],
        "iPhone",
        "Firefox",
        "registries.yaml",
    ):
        assert words in run.out, words


KEY = "the key of the authority, which nobody else may read"


@pytest.fixture
def authority(make_world: Callable[..., World]) -> World:
    """Return a lab whose authority cert-manager has made."""
    found = make_world(private_ca=True, tls_source="lab-authority", cluster_issuer="lab-authority")
    found.cluster.put("Namespace", "", "cert-manager")
    data = {
        name: base64.b64encode(text.encode()).decode() for name, text in (("tls.key", KEY), ("tls.crt", "CERTIFICATE"))
    }
    notes = {"cert-manager.io/certificate-name": "lab-authority", "kubectl.kubernetes.io/x": "y"}
    found.cluster.put(
        "Secret", "cert-manager", "lab-authority", type="kubernetes.io/tls", data=data, metadata={"annotations": notes}
    )
    return found


def test_a_backup_of_the_key_is_written_after_a_yes_for_its_owner_alone(authority: World) -> None:
    file = authority.home / "lab-authority.yaml"
    run = authority.terminal("--backup-key", str(file), command="trust")
    run.answer("pretend to be any host to what trusts the lab.", "yes")
    assert run.wait() == 0 and "Keep it offline" in run.said
    assert file.stat().st_mode & 0o777 == 0o600
    content = yaml.safe_load(file.read_text())
    assert base64.b64decode(content["data"]["tls.key"]).decode() == KEY
    assert content["metadata"]["annotations"] == {"cert-manager.io/certificate-name": "lab-authority"}
    assert KEY not in run.said and authority.changes == []


@pytest.mark.slow
def test_without_a_yes_in_person_no_key_is_written(authority: World) -> None:
    """Neither a no, nor Enter, nor a script's --yes."""
    file = authority.home / "lab-authority.yaml"
    for word in ("no", ""):
        run = authority.terminal("--backup-key", str(file), command="trust")
        run.answer("Write it? [y/N]", word)
        assert run.wait() == 1 and "Nothing was written" in run.said and not file.exists()
    scripted = authority.run("--backup-key", str(file), command="trust")
    assert scripted.status == 1 and "There is no terminal to ask" in scripted.err and not file.exists()


@pytest.mark.slow
def test_a_place_from_which_git_could_take_the_key_is_refused_before_anything_is_asked(authority: World) -> None:
    taken = authority.home / "there"
    taken.write_text("mine")
    for file, words in (
        (authority.lab / "key.yaml", "Git could take the key"),
        (taken, "is there already"),
        (authority.home / "no/such", "no folder"),
    ):
        run = authority.terminal("--backup-key", str(file), command="trust")
        assert run.wait() == 1 and words in run.said and "[y/N]" not in run.said
    assert taken.read_text() == "mine" and not (authority.lab / "key.yaml").exists()
