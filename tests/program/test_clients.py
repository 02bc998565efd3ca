"""Each client of the lab's program against what its other side can do wrong, without a process of that side."""

from __future__ import annotations

import json
import shutil
import subprocess
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from tests.program.support.faked import Answer, Call, Faked, Time, patience
from tests.support import program
from tests.support.program import errors, git, helm, kubectl, machine, objects, pod, secret
from tests.support.rendering import ROOT

REFUSED = "The connection to the server 127.0.0.1:6443 was refused - did you specify the right host or port?"


def cluster(*answers: Answer, **limits: Any) -> tuple[kubectl.Cluster, Faked]:
    programs = Faked(list(answers))
    return kubectl.Cluster(programs, patience(**limits), program.console()), programs


@pytest.mark.parametrize(
    ("words", "transient"),
    [
        (REFUSED, True),
        ("Unable to connect to the server: net/http: TLS handshake timeout", True),
        ("Error from server (TooManyRequests): please try again later", True),
        ("Error from server (Conflict): Operation cannot be fulfilled: the object has been modified", True),
        ("Error from server (InternalError): failed calling webhook", True),
        ("error: unexpected EOF", True),
        ("Error from server (Forbidden): secrets is forbidden", False),
        ('Error from server (NotFound): secrets "timeouts" not found', True),  # its words cannot tell: one look more
        ("error: You must be logged in to the server (Unauthorized)", False),
        ("Error from server (Invalid): spec.replicas: Invalid value", False),
    ],
)
def test_kubectl_is_asked_again_only_where_time_may_heal(words: str, transient: bool) -> None:
    found, programs = cluster((1, "", words), retries=4)
    with pytest.raises(errors.Failure) as failed:
        found.find("secret", "x", "y")
    assert len(programs.calls) == (4 if transient else 1)
    assert words in failed.value.what and failed.value.look


def test_a_look_that_succeeds_later_is_a_look() -> None:
    found, _ = cluster((1, "", REFUSED), (1, "", REFUSED), (0, '{"metadata": {"name": "x"}}', ""))
    assert (found.find("secret", "x", "y") or objects.NOTHING).name == "x"


def test_what_does_not_exist_and_a_kind_without_its_crd_are_nothing() -> None:
    assert cluster((0, "", ""))[0].find("secret", "x", "y") is None
    missing = (1, "", 'error: the server doesn\'t have a resource type "imagepolicies"')
    assert cluster(missing)[0].find("imagepolicies", "x", "y") is None
    assert cluster(missing)[0].list_of("imagepolicies") == []
    assert cluster(missing)[0].find_several("imagepolicies", ["a", "b"], "y") == {}


def test_several_objects_are_found_whether_kubectl_prints_a_list_one_or_none() -> None:
    one = {"kind": "Secret", "metadata": {"name": "a"}}
    for said, names in ((json.dumps({"items": [one]}), {"a"}), (json.dumps(one), {"a"}), ("", set())):
        assert set(cluster((0, said, ""))[0].find_several("secret", ["a", "b"], "y")) == names


def test_a_secret_reaches_the_cluster_through_the_pipe_alone() -> None:
    found, programs = cluster((0, '{"items": [{"metadata": {"name": "lab"}}]}', ""), (0, "", ""))
    found.put_secret("lab", "x", {"token": secret.Secret("open sesame"), "shown": "to all"})
    sent = json.loads(programs.calls[-1].stdin)
    assert objects.KubeObject(sent).value("token") == "open sesame"
    assert "sesame" not in "".join(call.line for call in programs.calls)


def test_nothing_is_changed_without_consent_or_in_a_dry_run() -> None:
    def refuse() -> None:
        raise errors.Failure("no")

    programs = Faked([(0, "", "")])
    refusing = kubectl.Cluster(programs, patience(), program.console(), before_change=refuse)
    for change in (
        lambda: refusing.apply("x", {}),
        lambda: refusing.apply_text("x", "", "helm"),
        lambda: refusing.delete("pod", "x", "y", "z"),
        lambda: refusing.patch("deployment", "x", "y", []),
    ):
        with pytest.raises(errors.Failure, match="no"):
            change()
    kubectl.Cluster(programs, patience(), program.console(), dry_run=True, before_change=refuse).apply("x", {})
    assert programs.calls == []


# Helm


def test_helm_4_installs_as_flux_goes_on_and_helm_3_is_not_asked_for_what_it_does_not_know() -> None:
    for said, flag in (("v4.1.3+g1", True), ("v3.17.3", False)):
        programs = Faked([(0, said, "")])
        helm.Helm(programs, Path("/lab"), "gitlab", lambda: None).install()
        assert ("--server-side=false" in programs.calls[-1].command) is flag


def test_a_helm_that_could_not_reach_the_cluster_may_be_asked_again() -> None:
    for words, transient in (
        ("Error: Kubernetes cluster unreachable: dial tcp: i/o timeout", True),
        ("Error: bad", False),
    ):
        programs = Faked([(0, "v4.1.3", ""), (1, "", words)])
        with pytest.raises(helm.HelmError) as failed:
            helm.Helm(programs, Path("/lab"), "gitlab", lambda: None).install()
        assert failed.value.transient is transient


# Git


def test_git_reads_the_password_from_a_descriptor_and_asks_no_helper_of_the_owners(tmp_path: Path) -> None:
    """Asked of Git itself, whose settings are the owner's otherwise."""
    (tmp_path / ".gitconfig").write_text('[credential]\n\thelper = "!echo username=owner; echo password=theirs; :"\n')
    access = git.WithPassword("root", secret.Secret("glpat-of-this-run"), "https://gitlab.lab", Path("/lab/ca.crt"))
    with git._helper(access) as (descriptor, settings):
        done = subprocess.run(
            ["git", *settings, "credential", "fill"],
            input="protocol=https\nhost=gitlab.lab\n\n",
            env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "GIT_TERMINAL_PROMPT": "0"},
            pass_fds=(descriptor,),
            capture_output=True,
            text=True,
            check=True,
        )
    assert "username=root\npassword=glpat-of-this-run\n" in done.stdout
    assert "glpat" not in " ".join(settings)


def test_git_with_a_credential_checks_the_certificate_whatever_the_owner_has_set(tmp_path: Path) -> None:
    owners = tmp_path / ".gitconfig"
    owners.write_text(
        '[http]\n\tsslVerify = false\n[http "https://gitlab.lab"]\n\tsslCAInfo = /theirs\n\tsslCAPath = /theirs\n'
    )
    access = git.WithPassword("root", secret.Secret("glpat-of-this-run"), "https://gitlab.lab", Path("/lab/ca.crt"))
    asked = {}
    for key in ("http.sslVerify", "http.sslCAInfo", "http.sslCAPath"):
        command = [
            "git",
            *git._trust(access, tmp_path),
            "config",
            "--get-urlmatch",
            key,
            "https://gitlab.lab/group/lab.git",
        ]
        done = subprocess.run(
            command, env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}, capture_output=True, text=True, check=True
        )
        asked[key] = done.stdout.strip()
    assert asked == {"http.sslVerify": "true", "http.sslCAInfo": "/lab/ca.crt", "http.sslCAPath": str(tmp_path)}
    theirs = (
        "GIT_SSL_NO_VERIFY",
        "GIT_SSL_CAINFO",
        "GIT_SSL_CAPATH",
        "GIT_PROXY_SSL_NO_VERIFY",
        "GIT_PROXY_SSL_CAINFO",
    )
    names = {**dict.fromkeys(theirs, "/theirs"), "HTTPS_PROXY": "http://proxy"}
    assert program.environment.for_git_with_credential(names) == {
        "HTTPS_PROXY": "http://proxy",
        "GIT_TERMINAL_PROMPT": "0",
    }


@pytest.mark.parametrize(
    ("words", "transient"),
    [
        (
            "fatal: unable to access 'https://gitlab.lab/': Failed to connect to gitlab.lab port 443: Connection refused",
            True,
        ),
        ("error: RPC failed; HTTP 502\nfatal: the remote end hung up unexpectedly", True),
        ("fatal: unable to access 'https://x/': The requested URL returned error: 429", True),
        ("fatal: Authentication failed for 'https://gitlab.lab/'", False),
        (
            "git@x: Permission denied (publickey).\nfatal: Could not read from remote repository: Connection closed",
            False,
        ),
        ("Host key verification failed.\nfatal: Connection closed", False),
    ],
)
def test_git_is_asked_again_only_where_the_network_is_to_blame(words: str, transient: bool) -> None:
    programs = Faked([(128, "", f"remote: \n{words}")])
    with pytest.raises(git.GitError) as failed:
        git.Git(programs, patience(retries=3), Path("/lab")).branch_at("https://x", "main", git.AsOwner())
    assert len(programs.calls) == (3 if transient else 1) and failed.value.words == words


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("ssh://git@git.example/a/b.git", ("git.example", 22)),
        ("ssh://git@git.example:2222/a/b.git", ("git.example", 2222)),
        ("ssh://git.example/a", ("git.example", 22)),
    ],
)
def test_an_ssh_address_is_taken_apart(url: str, address: tuple[str, int]) -> None:
    assert git.ssh_address(url) == address
    known = {22: address[0]}.get(address[1], f"[{address[0]}]:{address[1]}")
    assert git.known_hosts_name(*address) == known


# The runner's machine


def test_a_connection_that_breaks_is_made_again_and_a_refusal_is_not() -> None:
    for words, tries in (
        ("client_loop: send disconnect: Broken pipe", 3),
        ("me@host: Permission denied (publickey).", 1),
    ):
        programs = Faked([(255, "", words)])
        with pytest.raises(errors.Failure) as failed:
            machine.Machine(programs, patience(retries=3), program.console(), "me", "host").must("do it", "true")
        assert len(programs.calls) == tries and words in failed.value.what


def test_files_of_a_machine_come_back_as_they_are_whatever_they_hold(tmp_path: Path) -> None:
    """Run by a real shell: a file without a last line break, an empty one, one that looks like the look's own words."""
    wanted = {"a": "x\ny", ".env": "", "it's": "\n0123 a\n\n", "c d": "é\n"}
    folder = tmp_path / "it's home"
    folder.mkdir()
    for name, content in wanted.items():
        (folder / name).write_text(content)

    def shell(call: Call) -> Answer:
        done = subprocess.run(["sh", "-c", call.command[-1]], input=call.stdin, capture_output=True, check=False)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    there = machine.Machine(Faked(shell), patience(), program.console(), "me", "host")
    assert there.files(str(folder), [*wanted, "missing"]) == wanted
    assert there.files(str(tmp_path / "new"), ["a"]) == {} and (tmp_path / "new").is_dir()


# The pod


def test_rails_is_asked_three_times_at_most_and_its_complaint_is_the_line_that_says_most() -> None:
    words = 'Defaulted container "gitlab" out of: gitlab\n\nGitLab has no administrator\ncommand terminated with exit code 1\n'
    programs, time = Faked([(1, "", words)]), Time()
    with pytest.raises(pod.PodError) as failed:
        pod.Pod(programs, patience(time, retries=9), "gitlab", lambda: None).rails("code")
    assert len(programs.calls) == 3 and time.slept == [1, 2] and str(failed.value) == "GitLab has no administrator"


# ./lab trust


TOLD_NOTHING: dict[str, Any] = {
    **dict.fromkeys(("runner", "here", "remove", "nodes", "cluster", "devices", "yes"), False),
    "user": "root",
    "backup_key": None,
}


def trusting(lab: Path, programs: Faked, *machines: str, **options: Any) -> tuple[int, str]:
    """Run `./lab trust` and return its status and what it said."""
    console = program.console()
    chosen = Namespace(machines=list(machines), **(TOLD_NOTHING | options))
    command = program.trust.Trust(lab, console, programs, program.Invocation(chosen, [], []))
    try:
        status = command.run()
    except errors.Failure as failure:
        return 1, f"{console.out.getvalue()}{console.err.getvalue()}{failure.what}"
    return status, console.out.getvalue() + console.err.getvalue()


def test_an_authority_reaches_a_machine_through_the_pipe_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """The machine is this one, below a folder; its programs write down that they were called."""
    lab, root, programs = tmp_path / "lab", tmp_path / "root", tmp_path / "bin"
    shutil.copytree(ROOT / "example", lab)
    (lab / "ca.crt").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    for folder in (root, programs, tmp_path / "tmp"):
        folder.mkdir()
    (programs / "update-ca-certificates").write_text("#!/bin/sh\nexit 0\n")
    (programs / "update-ca-certificates").chmod(0o755)

    def shell(call: Call) -> Answer:
        environment = {"PATH": f"{programs}:/usr/bin:/bin", "TRUST_CA_ROOT": str(root), "TMPDIR": str(tmp_path / "tmp")}
        command = ["sh", "-c", call.command[-1].replace("sudo -n ", "")]
        done = subprocess.run(command, input=call.stdin, env=environment, capture_output=True, check=False)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    there = Faked(shell)
    status, said = trusting(lab, there, "root@node1")
    placed = root / "usr/local/share/ca-certificates/lab-ca.crt"
    assert status == 0 and "root@node1" in said and placed.read_bytes() == (lab / "ca.crt").read_bytes()
    assert list((tmp_path / "tmp").iterdir()) == [], "nothing stays on the machine"
    status, said = trusting(lab, there, "root@node1", "root@node2")
    assert status == 0 and said.count("trusts the lab's authority already") == 2
    assert trusting(lab, there, runner=True)[0] == 0 and there.calls[-1].command[-2] == "cloud-user@gitlab-runner"


def removing(tmp_path: Path) -> tuple[Path, Path, Faked]:
    """Return a lab without an authority, the root folder of a machine, and what runs commands there."""
    lab, root, tools = tmp_path / "lab", tmp_path / "root", tmp_path / "bin"
    shutil.copytree(ROOT / "example", lab)
    settings = lab / "lab_program/settings.json"
    settings.write_text(settings.read_text().replace('"private_ca": true', '"private_ca": false'))
    tools.mkdir()
    for name in ("update-ca-certificates", "systemctl"):
        (tools / name).write_text(f'#!/bin/sh\necho {name} "$@" >>{tmp_path}/calls\ntest ! -e {tmp_path}/fails\n')
        (tools / name).chmod(0o755)

    def shell(call: Call) -> Answer:
        environment = {"PATH": f"{tools}:/usr/bin:/bin", "TRUST_CA_ROOT": str(root)}
        command = ["sh", "-c", call.command[-1].replace("sudo -n ", "")]
        done = subprocess.run(command, input=call.stdin, env=environment, capture_output=True, check=False)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    return lab, root, Faked(shell)


def test_a_machine_forgets_an_authority_and_nothing_else_that_it_trusts(tmp_path: Path) -> None:
    lab, root, there = removing(tmp_path)
    assert "private_ca is false" in trusting(lab, there, "root@node1")[1] and there.calls == []
    ours = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    others = {
        "usr/local/share/ca-certificates/office.crt": ours,
        "etc/docker/certs.d/registry.else/ca.crt": ours.replace("AAAA", "BBBB"),
    }
    mine = {
        "usr/local/share/ca-certificates/lab-ca.crt": ours,
        "etc/docker/certs.d/registry.lab:8443/ca.crt": ours,
        "etc/docker/certs.d/registry.old.lab/ca.crt": f"# the same\n{ours}",
    }
    for name, text in (others | mine).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)

    def left() -> set[str]:
        return {str(file.relative_to(root)) for file in root.rglob("*") if file.is_file()}

    (tmp_path / "fails").touch()
    status, said = trusting(lab, there, "root@node1", remove=True)
    assert status == 1 and "Still trusted by root@node1." in said and "k3s: restarted" not in said
    (tmp_path / "fails").unlink()
    status, said = trusting(lab, there, "root@node1", remove=True)
    assert status == 0 and "lab-ca.crt: removed" in said and "k3s: restarted" in said, said
    assert left() == set(others)
    before = (tmp_path / "calls").read_text()
    status, said = trusting(lab, there, "root@node1", runner=True, remove=True)
    assert status == 0 and said.count("does not trust the lab's authority") == 2
    assert (tmp_path / "calls").read_text() == before, "once is enough"


def test_a_machine_that_cannot_be_reached_does_not_keep_the_others_from_trusting(tmp_path: Path) -> None:
    there = Faked([(255, "", "ssh: connect to host node1 port 22: No route to host"), (0, "", "")])
    lab = tmp_path / "lab"
    shutil.copytree(ROOT / "example", lab)
    (lab / "ca.crt").write_text("-----BEGIN CERTIFICATE-----\n")
    status, said = trusting(lab, there, "root@node1", "root@node2")
    assert (
        status == 1
        and "No route to host" in said
        and "Not trusted yet by root@node1." in said
        and "root@node2 trusts" in said
    )
    assert trusting(lab, there)[1] == "Which machine should trust the lab's authority?"
