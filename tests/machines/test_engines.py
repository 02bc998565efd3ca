"""The lab's code for its machines, judged by OpenTofu and Terraform with the real provider, against a stand-in of Proxmox."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.machines.support import engines
from tests.machines.support.engine_fixtures import lab
from tests.machines.support.engines import Engine, Fake
from tests.support.rendering import recorded_answers

pytestmark = [pytest.mark.xdist_group("engines"), pytest.mark.world]
VM = "proxmox_virtual_environment_vm"
NAMES = ["machines", "machines-dhcp"]


def apply(engine: Engine, folder: Path, fake: Fake, *options: str, **environment: str) -> str:
    """Apply the code, which has to go well."""
    done = engine.run(folder, "apply", "-no-color", "-auto-approve", *options, **fake.environment, **environment)
    assert done.code == 0, done.said
    return done.said


def plan(engine: Engine, folder: Path, fake: Fake, *options: str, **environment: str) -> engines.Done:
    """Plan; the code says whether something would change (2)."""
    done = engine.run(folder, "plan", "-no-color", "-detailed-exitcode", *options, **fake.environment, **environment)
    assert done.code in (0, 2), done.said
    return done


@pytest.mark.parametrize("name", NAMES)
def test_the_code_is_formatted_and_valid(shared: Path, engine: Engine, tmp_path: Path, name: str) -> None:
    folder = engines.local_copy(lab(shared, name) / "iac", tmp_path / "iac")
    formatted = engine.run(folder, "fmt", "-check", "-diff", "-no-color")
    assert formatted.code == 0, formatted.said
    assert engine.run(folder, "init", "-no-color").code == 0
    done = engine.run(folder, "validate", "-no-color")
    assert done.code == 0, done.said
    assert "Warning" not in done.said


def test_the_machine_is_what_the_answers_say(engine: Engine, workplace: Path, proxmox: Fake, code: Path) -> None:
    apply(engine, workplace, proxmox)
    answers = recorded_answers(code.parent)
    [(number, machine)] = proxmox.ask()["machines"].items()
    config = machine["config"]
    assert (int(number), machine["node"], machine["status"]) == (
        answers["runner_vm_id"],
        answers["proxmox_node"],
        "running",
    )
    assert (config["cores"], config["memory"]) == (answers["runner_cores"], str(answers["runner_memory"]))
    assert (config["name"], config["ciuser"]) == (answers["runner_host"], answers["runner_user"])
    assert config["ipconfig0"] == f"gw={answers['runner_gateway']},ip={answers['runner_address']}"
    assert config["nameserver"].split(" ") == answers["runner_dns"]
    assert re.search(rf"bridge={answers['proxmox_bridge']}\b.*\btag={answers['proxmox_vlan']}\b", config["net0"])
    assert (
        config["scsi0"].startswith(f"{answers['proxmox_disk_store']}:")
        and f"size={answers['runner_disk']}G" in config["scsi0"]
    )
    assert config["tags"] == "lab;runner" and config["protection"] == 1
    keys = [key.replace("%20", " ") for key in config["sshkeys"].split("%0A")]
    assert keys[0].split(" ")[:2] == answers["runner_ssh_keys"][0].split(" ")[:2]


def test_a_second_plan_is_empty(engine: Engine, workplace: Path, proxmox: Fake) -> None:
    apply(engine, workplace, proxmox)
    done = plan(engine, workplace, proxmox)
    assert done.code == 0, done.said


def test_proxmox_is_asked_over_its_api_alone_and_the_image_is_checked(
    engine: Engine, workplace: Path, proxmox: Fake, code: Path
) -> None:
    apply(engine, workplace, proxmox)
    asked = proxmox.ask(requests=True)
    [download] = [body for method, path, body in asked if path.endswith("/download-url")]
    assert (
        f"checksum={recorded_answers(code.parent)['vm_image_checksum']}&checksum-algorithm=sha512&content=import"
        in download
    )
    assert "verify-certificates=1" in download
    assert not [path for _, path, _ in asked if "upload" in path or "snippets" in path]


def test_an_argument_that_the_provider_does_not_know_is_refused(engine: Engine, workplace: Path) -> None:
    file = workplace / "runner.tf"
    text = file.read_text(encoding="utf-8")
    for wrong in ("on_bot", "clone_from"):
        file.write_text(text.replace("  on_boot ", f"  {wrong} = true\n  on_boot "), encoding="utf-8")
        done = engine.run(workplace, "validate", "-no-color")
        assert done.code == 1 and wrong in done.said
    # As the provider called it before 0.109.
    file.write_text(text.replace("disabled = true", "enabled = false"), encoding="utf-8")
    assert engine.run(workplace, "validate", "-no-color").code == 1


def test_what_changed_by_hand_is_seen_and_fixed(engine: Engine, workplace: Path, proxmox: Fake, code: Path) -> None:
    apply(engine, workplace, proxmox)
    number = recorded_answers(code.parent)["runner_vm_id"]
    proxmox.ask(vm=number, **{"is": {"cores": 1}})
    assert plan(engine, workplace, proxmox).code == 2
    apply(engine, workplace, proxmox)
    assert proxmox.ask()["machines"][str(number)]["config"]["cores"] == recorded_answers(code.parent)["runner_cores"]


def test_a_newer_image_and_other_keys_leave_a_living_machine_alone(
    engine: Engine, workplace: Path, proxmox: Fake
) -> None:
    apply(engine, workplace, proxmox)
    before = proxmox.ask()["machines"]
    tfvars = workplace / "terraform.tfvars"
    text = re.sub(r"^runner_ssh_keys.*\n", "", tfvars.read_text(encoding="utf-8"), flags=re.MULTILINE)
    text = re.sub("(?m)^(vm_image_url +=).*", r'\1 "https://images.example.com/debian-13-20270101.qcow2"', text)
    tfvars.write_text(re.sub("(?m)^(vm_image_checksum +=).*", rf'\1 "{"ab" * 64}"', text), encoding="utf-8")
    done = plan(engine, workplace, proxmox)
    assert "proxmox_download_file.runner_image must be replaced" in done.said
    assert f"{VM}.runner" not in done.said.split("Terraform will perform")[-1].split("will perform the following")[-1]
    apply(engine, workplace, proxmox)
    assert proxmox.ask()["machines"] == before


@pytest.mark.parametrize("change", ["runner_vm_id", "destroy"])
def test_no_change_of_an_answer_destroys_the_machine(
    engine: Engine, workplace: Path, proxmox: Fake, change: str
) -> None:
    apply(engine, workplace, proxmox)
    before = proxmox.ask()["machines"]
    options = ["-destroy"] if change == "destroy" else ["-var=runner_vm_id=815"]
    done = engine.run(workplace, "apply", "-no-color", "-auto-approve", *options, **proxmox.environment)
    assert done.code == 1 and "prevent_destroy" in done.said
    assert proxmox.ask()["machines"] == before


def test_another_node_moves_the_machine(engine: Engine, workplace: Path, proxmox: Fake) -> None:
    apply(engine, workplace, proxmox)
    done = plan(engine, workplace, proxmox, "-var=proxmox_node=pve-2")
    assert f"{VM}.runner will be updated in-place" in done.said


def test_the_disk_grows(engine: Engine, workplace: Path, proxmox: Fake, code: Path) -> None:
    apply(engine, workplace, proxmox)
    larger = recorded_answers(code.parent)["runner_disk"] + 7
    apply(engine, workplace, proxmox, f"-var=runner_disk={larger}")
    [machine] = proxmox.ask()["machines"].values()
    assert f"size={larger}G" in machine["config"]["scsi0"]


def test_without_keys_in_the_answers_they_come_from_outside_and_stay(
    shared: Path, engine: Engine, tmp_path: Path
) -> None:
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGCCzK4uKOCCMmqRRWkUPL8WBKF9JMNFEkm3SqZbQ5oP me"
    folder = engines.local_copy(lab(shared, "machines-dhcp") / "iac", tmp_path / "iac")
    with engines.fake_proxmox(tmp_path / "proxmox", "pve") as fake:
        assert engine.run(folder, "init", "-no-color").code == 0
        apply(engine, folder, fake, TF_VAR_runner_ssh_keys=json.dumps([key]))
        [machine] = fake.ask()["machines"].values()
        assert machine["config"]["ipconfig0"] == "ip=dhcp" and "tag=" not in machine["config"]["net0"]
        assert "AAAAIGCCzK4uKOCCMmqRRWkUPL8WBKF9JMNFEkm3SqZbQ5oP" in machine["config"]["sshkeys"]
        # The pipeline plans without them.
        assert plan(engine, folder, fake).code == 0
        assert [one["config"]["sshkeys"] for one in fake.ask()["machines"].values()] == [machine["config"]["sshkeys"]]


def blocks(code: Path) -> list[str]:
    """Return the blocks of code in iac/README.md, in order: another machine, its import, the runner's import."""
    found = re.findall(
        r"^( *)```hcl\n(.*?)^ *```", (code / "README.md").read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    )
    return [re.sub(rf"(?m)^{indent}", "", text) for indent, text in found]


def test_the_pages_code_makes_another_machine_and_takes_one_over(
    engine: Engine, workplace: Path, proxmox: Fake, code: Path
) -> None:
    another, taking, _ = blocks(code)
    apply(engine, workplace, proxmox)
    (workplace / "me.pub").write_text(
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGCCzK4uKOCCMmqRRWkUPL8WBKF9JMNFEkm3SqZbQ5oP me\n"
    )
    (workplace / "nas.tf").write_text(another, encoding="utf-8")
    formatted = engine.run(workplace, "fmt", "-check", "-diff", "-no-color", "nas.tf")
    assert formatted.code == 0, formatted.said
    apply(engine, workplace, proxmox)
    assert len(proxmox.ask()["machines"]) == 2
    assert plan(engine, workplace, proxmox).code == 0
    # Forgotten, and found again.
    assert engine.run(workplace, "state", "rm", f"{VM}.nas").code == 0
    number = next(number for number, one in proxmox.ask()["machines"].items() if one["config"]["name"] == "nas")
    assert taking.count("/105") == 1
    (workplace / "taking.tf").write_text(taking.replace("/105", f"/{number}"), encoding="utf-8")
    done = plan(engine, workplace, proxmox)
    assert re.search(r"Plan: 1 to import, 0 to add, [01] to change, 0 to destroy", done.said), done.said
    apply(engine, workplace, proxmox)
    assert plan(engine, workplace, proxmox).code == 0
    assert len(proxmox.ask()["machines"]) == 2


def test_a_lost_state_is_made_again_by_the_pages_import(
    engine: Engine, workplace: Path, proxmox: Fake, code: Path
) -> None:
    apply(engine, workplace, proxmox)
    # By then runner/setup.sh has installed the guest agent. Without one, an import waits for it for 15 minutes.
    proxmox.ask(vm=recorded_answers(code.parent)["runner_vm_id"], agent=True, **{"is": {}})
    before = proxmox.ask()
    for file in workplace.glob("terraform.tfstate*"):
        file.unlink()
    (workplace / "lost.tf").write_text(blocks(code)[2], encoding="utf-8")
    apply(engine, workplace, proxmox)
    after = proxmox.ask()
    assert plan(engine, workplace, proxmox).code == 0
    assert after["machines"].keys() == before["machines"].keys() and after["volumes"].keys() == before["volumes"].keys()


def test_a_number_that_another_machine_has_stops_the_plan(
    engine: Engine, workplace: Path, proxmox: Fake, code: Path
) -> None:
    number = recorded_answers(code.parent)["runner_vm_id"]
    proxmox.ask(vm=number, name="nas", node="pve-1", **{"is": {"name": "nas", "cores": 2, "tags": "nas"}})
    before = proxmox.ask()
    proxmox.ask(requests=True)
    done = engine.run(workplace, "apply", "-no-color", "-auto-approve", **proxmox.environment)
    assert done.code == 1 and f"{number} is the number of a machine without the tag `runner`" in " ".join(
        done.said.split()
    )
    assert proxmox.ask() == before
    assert {method for method, _, _ in proxmox.ask(requests=True)} == {"GET"}


def test_the_page_rebuilds_the_machine(engine: Engine, workplace: Path, proxmox: Fake) -> None:
    apply(engine, workplace, proxmox)
    [before] = proxmox.ask()["machines"].values()
    file = workplace / "runner.tf"
    text = file.read_text(encoding="utf-8")
    assert "protection = true" in text and "prevent_destroy = true" in text
    file.write_text(
        text.replace("protection = true", "protection = false").replace(
            "prevent_destroy = true", "prevent_destroy = false"
        ),
        encoding="utf-8",
    )
    apply(engine, workplace, proxmox)
    apply(engine, workplace, proxmox, f"-replace={VM}.runner")
    file.write_text(text, encoding="utf-8")
    apply(engine, workplace, proxmox)
    [after] = proxmox.ask()["machines"].values()
    assert after["config"]["vmgenid"] != before["config"]["vmgenid"] and after["config"]["protection"] == 1
    assert plan(engine, workplace, proxmox).code == 0


class TestEncryption:
    """OpenTofu's own: the second engine has none, and does not read encryption.tofu."""

    @pytest.fixture
    def tofu(self, built: None, tmp_path: Path) -> Engine:
        return engines.tofu(tmp_path / "tofu")

    @pytest.fixture
    def applied(self, code: Path, tofu: Engine, proxmox: Fake, tmp_path: Path) -> Path:
        folder = engines.local_copy(code, tmp_path / "iac")
        assert tofu.run(folder, "init").code == 0
        apply(tofu, folder, proxmox)
        return folder

    def test_state_and_plan_are_unreadable_without_the_passphrase(
        self, applied: Path, tofu: Engine, proxmox: Fake
    ) -> None:
        assert plan(tofu, applied, proxmox, "-out=lab.tfplan", "-var=runner_cores=3").code == 2
        for file in ("terraform.tfstate", "lab.tfplan"):
            content = (applied / file).read_bytes()
            assert b"encrypt" in content, file
            assert not [word for word in (b"runner_image", b"192.168.7.20", b"cloud-user") if word in content], file
        for passphrase in ("another one, which is also long enough", "short", ""):
            done = tofu.run(applied, "show", "-no-color", TF_VAR_state_passphrase=passphrase)
            assert done.code == 1 and "192.168.7.20" not in done.said
        assert "192.168.7.20" in tofu.run(applied, "show", "-no-color").said
        assert "runner" in tofu.run(applied, "show", "-no-color", "lab.tfplan").said

    def test_an_unencrypted_state_is_not_taken(self, applied: Path, tofu: Engine, proxmox: Fake) -> None:
        (applied / "encryption.tofu").rename(applied / "encryption.off")
        (applied / "terraform.tfstate").unlink()
        assert (
            tofu.run(
                applied, "apply", "-auto-approve", "-target=proxmox_download_file.runner_image", **proxmox.environment
            ).code
            == 0
        )
        assert b"runner_image" in (applied / "terraform.tfstate").read_bytes()
        (applied / "encryption.off").rename(applied / "encryption.tofu")
        done = tofu.run(applied, "plan", "-no-color", **proxmox.environment)
        assert done.code == 1 and "unencrypted" in done.said

    @pytest.mark.parametrize("what", ["state", "plan"])
    def test_nobody_switches_it_off_from_outside(self, applied: Path, tofu: Engine, proxmox: Fake, what: str) -> None:
        off = f'method "unencrypted" "off" {{}}\n{what} {{ method = method.unencrypted.off }}\n'
        done = tofu.run(applied, "plan", "-no-color", "-out=lab.tfplan", TF_ENCRYPTION=off, **proxmox.environment)
        assert done.code == 1 and "enforced" in done.said, done.said

    def test_the_passphrase_is_shown_nowhere(self, applied: Path, tofu: Engine, proxmox: Fake) -> None:
        said = plan(tofu, applied, proxmox).said + apply(tofu, applied, proxmox) + tofu.run(applied, "show").said
        files = [file for file in applied.rglob("*") if file.is_file() and not file.is_symlink()]
        assert engines.PASSPHRASE not in said
        assert not [file for file in files if engines.PASSPHRASE.encode() in file.read_bytes()]


def test_the_jobs_report_counts_what_the_plan_would_do(built: None, code: Path, proxmox: Fake, tmp_path: Path) -> None:
    """The pipeline's own lines, with the real OpenTofu: they have only what its image has, a busybox."""
    import yaml

    tofu = engines.tofu(tmp_path / "tofu")
    folder = engines.local_copy(code, tmp_path / "iac")
    assert tofu.run(folder, "init").code == 0
    job = yaml.safe_load((code / ".gitlab-ci.yml").read_text(encoding="utf-8"))["plan"]
    assert shutil.which("sh")

    def report(**variables: str) -> dict[str, int]:
        shell = engines.Engine(
            ["sh", "-eu", "-c", f'tofu() {{ "{tofu.command[0]}" "$@"; }}\n' + "\n".join(job["script"])],
            "none",
            tmp_path / "sh",
        )
        shell.environment = tofu.environment
        done = shell.run(folder, **proxmox.environment, **{"REPLACE": "", **variables})
        assert done.code == 0, done.said
        found: dict[str, int] = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
        return found

    assert report() == {"create": 2, "update": 0, "delete": 0}
    apply(tofu, folder, proxmox)
    assert report() == {"create": 0, "update": 0, "delete": 0}
    assert report(REPLACE="proxmox_download_file.runner_image") == {"create": 1, "update": 0, "delete": 1}
    assert report(TF_CLI_ARGS_plan="-var=runner_cores=3") == {"create": 0, "update": 1, "delete": 0}
