"""Preflight lists every problem at once, each with its fix, and changes nothing."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from tests.bootstrap.support.faults import Fault
from tests.bootstrap.support.journeys import LONG, Journey
from tests.bootstrap.support.lab_folder import commit
from tests.bootstrap.support.lab_world import World, ready_machine
from tests.bootstrap.support.stand_in_flux import git
from tests.support.image_tags import image_tags

NOT_READY = {"conditions": [{"type": "Ready", "status": "False", "message": "ACME account is not registered"}]}


def small_node(world: World) -> None:
    world.cluster.put(
        "Node",
        "",
        "node-1",
        status={"conditions": [{"type": "Ready", "status": "True"}], "allocatable": {"memory": "2Gi"}},
    )


def no_node_ready(world: World) -> None:
    world.cluster.put(
        "Node",
        "",
        "node-1",
        status={"conditions": [{"type": "Ready", "status": "False"}], "allocatable": {"memory": "16Gi"}},
    )


def key_in_ca(world: World) -> None:
    (world.lab / "ca.crt").write_text("-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\n")
    commit(world.lab, "A key by mistake")


def no_ca(world: World) -> None:
    (world.lab / "ca.crt").unlink()
    commit(world.lab, "Without its authority")


def remove(kind: str, namespace: str, name: str) -> Callable[[World], None]:
    return lambda world: world.cluster.objects.pop((kind, namespace, name), None) and None


def put(kind: str, namespace: str, name: str, **rest: Any) -> Callable[[World], None]:
    return lambda world: world.cluster.put(kind, namespace, name, **rest) and None


def edit(name: str) -> Callable[[World], None]:
    return lambda world: (world.lab / name).write_text("the owner's edit\n") and None


def set_attribute(path: str, value: Any) -> Callable[[World], None]:
    def change(world: World) -> None:
        target: Any = world
        *names, last = path.split(".")
        for name in names:
            target = getattr(target, name)
        setattr(target, last, value)

    return change


INSTALLED = {"template": {"spec": {"containers": [{"name": "gitlab", "image": "gitlab/gitlab-ce:19.3.0-ce.0"}]}}}
SERVICE = {"type": "LoadBalancer", "ports": [{"port": 2223, "nodePort": 30022}]}
NFS = {"storage_backend": "nfs", "storage_root": "/storage"}
SECRET_TLS = {"tls_source": "secret", "tls_secret_name": "lab-tls"}

# The check, the settings of the lab, what is wrong with the world, and words of the problem and of its fix.
PROBLEMS: list[tuple[str, dict[str, str], Callable[[World], None] | None, str, str]] = [
    (
        "tools",
        {},
        set_attribute("versions", {"kubectl": "v1.36.1", "helm": "v3.12.0", "flux": "v2.9.4"}),
        "helm is 3.12.0; 3.14",
        "newer helm",
    ),
    (
        "tools",
        {},
        set_attribute("versions", {"kubectl": "none", "helm": "v4.1.0", "flux": "v2.9.4"}),
        "kubectl does not say its version",
        "--version",
    ),
    ("repository", {}, edit("apps/gitlab/gitlab.rb"), "apps/gitlab/gitlab.rb", "git commit"),
    ("ca", {"private_ca": True}, key_in_ca, "private key", "keep only"),
    ("ca", {"private_ca": True}, no_ca, "ca.crt is missing", "copy the certificate"),
    ("cluster", {}, no_node_ready, "no node of the cluster is ready", "kubectl describe nodes"),
    ("rights", {}, set_attribute("cluster.admin", False), "no administrator", "admin kubeconfig"),
    ("memory", {}, small_node, "2048 MiB", "more memory"),
    (
        "memory",
        {"gitlab_size": "standard"},
        put(
            "Node",
            "",
            "node-1",
            status={"conditions": [{"type": "Ready", "status": "True"}], "allocatable": {"memory": "4042964Ki"}},
        ),
        "3948 MiB; GitLab (standard)",
        "small",
    ),
    (
        "traefik",
        {},
        remove("CustomResourceDefinition", "", "ingressroutes.traefik.io"),
        "Traefik (with its CRDs",
        "k3s brings it",
    ),
    ("traefik", {}, remove("HelmChart", "kube-system", "traefik"), "own Traefik is not there", "traefik_kind: other"),
    (
        "traefik-config",
        {},
        put("HelmChartConfig", "kube-system", "traefik", metadata={"managedFields": [{"manager": "kubectl-edit"}]}),
        "would overwrite it",
        "carry its valuesContent",
    ),
    (
        "tls",
        {},
        remove("ClusterIssuer", "", "letsencrypt"),
        'ClusterIssuer "letsencrypt" does not exist',
        "cert-manager.io",
    ),
    (
        "tls",
        {},
        set_attribute("cluster.missing_kinds", {"clusterissuers.cert-manager.io"}),
        'ClusterIssuer "letsencrypt" does not exist',
        "install cert-manager",
    ),
    (
        "tls",
        {},
        put("ClusterIssuer", "", "letsencrypt", status=NOT_READY),
        "ACME account is not registered",
        "kubectl describe clusterissuer",
    ),
    (
        "tls",
        SECRET_TLS,
        remove("Secret", "gitlab", "lab-tls"),
        "gitlab/lab-tls (type kubernetes.io/tls) does not exist",
        "kubectl create secret tls",
    ),
    (
        "storage",
        {},
        remove("StorageClass", "", "local-path"),
        'storage class "local-path" does not exist',
        "kubectl get storageclass",
    ),
    (
        "ssh-port",
        {},
        put("Service", "default", "other", spec=SERVICE),
        "port 2223 is taken by the Service default/other",
        "another ssh_port",
    ),
    ("ssh-port", {"ssh_exposure": "node-port", "ssh_port": 2223}, None, "2223 is no node port", "30000"),
    (
        "ssh-port",
        {"ssh_exposure": "node-port", "ssh_port": 30022},
        put("Service", "default", "other", spec=SERVICE),
        "port 30022 is taken",
        "another",
    ),
    (
        "upgrade",
        {"gitlab_version": "19.6.1"},
        put("Deployment", "gitlab", "gitlab", spec=INSTALLED),
        "cannot go from 19.3.0 to 19.6.1 in one step. It has to stop at 19.5",
        "./lab upgrade 19.6.1 goes there",
    ),
    (
        "upgrade",
        {"gitlab_version": "19.2.4"},
        put("Deployment", "gitlab", "gitlab", spec=INSTALLED),
        "cannot go back",
        "gitlab_version",
    ),
    (
        "flux",
        {},
        set_attribute(
            "flux_check", (1, "", "► checking prerequisites\n✗ Kubernetes version v1.30.0 does not match >=1.33.0\n")
        ),
        "does not match >=1.33.0",
        "flux check --pre",
    ),
    (
        "dns",
        {"gitlab_host": "gitlab.nowhere.invalid"},
        None,
        "DNS does not know gitlab.nowhere.invalid here",
        "host-record=gitlab.nowhere.invalid,127.0.0.1",
    ),
    (
        "dns",
        {"sample_host": "demo.nowhere.invalid"},
        None,
        "DNS does not know demo.nowhere.invalid here",
        "the nodes need to know them",
    ),
    (
        "https-port",
        {"https_port": 1, "registry_host": "gitlab.localhost", "sample_app": False},
        None,
        "nothing listens at gitlab.localhost, port 1",
        "let DNS point at Traefik's address",
    ),
    ("nfs", NFS | {"nfs_server": "127.0.0.1"}, None, "nothing answers at 127.0.0.1, port 2049", "LAB_SKIP=nfs"),
    ("nfs", NFS | {"nfs_server": "nas.nowhere.invalid"}, None, "DNS does not know the NFS server", "its address"),
    (
        "runner",
        {},
        set_attribute("vm_has", ready_machine(ssh=False)),
        "cannot be reached: ssh: connect",
        "ssh-copy-id",
    ),
    (
        "runner",
        {},
        set_attribute("vm_has", ready_machine(docker=False, compose=False, apt=False)),
        "lacks Docker and its compose plugin, and runner/setup.sh knows only systems with apt",
        "usermod -aG docker cloud-user",
    ),
    (
        "runner",
        {},
        set_attribute("vm_has", ready_machine(compose=False, sudo="missing")),
        "lacks Docker's compose plugin, and cloud-user is not root there, and has no sudo",
        "as root: sh setup.sh",
    ),
    (
        "runner",
        {},
        set_attribute("vm_has", ready_machine(docker=False, compose=False, sudo="password")),
        "and sudo there asks cloud-user for a password",
        "ssh -t cloud-user@",
    ),
]


# Of these pairs one hides the other, or the tests' way to the one undoes the other.
APART = [{"repository", "ca"}, {"traefik", "traefik-config"}]


def worlds_of_problems() -> list[list[int]]:
    """The problems, dealt out to few worlds: no check twice in one world, no settings that contradict."""
    dealt: list[list[int]] = []
    for number in range(len(PROBLEMS)):
        for world in dealt:
            if fits(number, world):
                world.append(number)
                break
        else:
            dealt.append([number])
    return dealt


def fits(number: int, world: list[int]) -> bool:
    checks = [PROBLEMS[n][0] for n in [*world, number]]
    settings = [PROBLEMS[n][1] for n in [*world, number]]
    merged = {k: v for chosen in settings for k, v in chosen.items()}
    return (
        len(set(checks)) == len(checks)
        and not any(pair <= set(checks) for pair in APART)
        and "cluster" not in checks
        and all(merged[k] == v for chosen in settings for k, v in chosen.items())
        and not ("gitlab_size" in merged and "memory" in checks[:-1])
    )


def found_in(err: str) -> dict[str, str]:
    return dict(re.findall(r"bad +\[([a-z-]+)\] ((?:.*\n)(?: {10}.*\n)*)", err))


@pytest.mark.parametrize("numbers", worlds_of_problems(), ids=lambda numbers: "+".join(PROBLEMS[n][0] for n in numbers))
def test_all_problems_are_listed_at_once_each_with_its_fix(
    make_world: Callable[..., World], numbers: list[int]
) -> None:
    world = make_world(**{k: v for n in numbers for k, v in PROBLEMS[n][1].items()})
    for number in numbers:
        if change := PROBLEMS[number][2]:
            change(world)
    run = world.run()
    assert run.status == 1 and not world.errors, (run.text, world.errors)
    found = found_in(run.err)
    assert sorted(found) == sorted(PROBLEMS[n][0] for n in numbers), run.text
    for number in numbers:
        check, _, _, what, fix = PROBLEMS[number]
        assert what in found[check] and fix in found[check], (check, found[check])
    assert f"{len(numbers)} thing(s) to fix" in run.err and world.changes == []


@pytest.mark.slow(keep=1)
@pytest.mark.parametrize("number", range(len(PROBLEMS)) if LONG else [0, 8, 25], ids=lambda n: f"{PROBLEMS[n][0]}-{n}")
def test_a_check_that_is_wrong_about_a_lab_can_be_passed_over(make_world: Callable[..., World], number: int) -> None:
    check, settings, change, what, _ = PROBLEMS[number]
    world = make_world(**settings)
    if change:
        change(world)
    run = world.run("--only", "preflight", LAB_SKIP=f"other {check}")
    assert run.status == 0 and "(skipped)" in run.err and what.split("\n")[0] in run.err


def test_an_encrypted_file_that_nobody_can_decrypt_is_a_problem(world: World) -> None:
    """As `./lab update --data age_recipients=[]` leaves it."""
    file = world.lab / "apps/gitlab/secrets/gitlab-env.sops.yaml"
    file.parent.mkdir()
    file.write_text("kind: Secret\n")
    git(world.lab, "add", "--all")
    git(world.lab, "commit", "--quiet", "--message", "A Secret")
    run = world.run("--only", "preflight")
    assert run.status == 1 and "age_recipients names nobody" in found_in(run.err)["secrets"], run.text


def test_a_lab_without_a_commit_is_told_how_to_make_one(world: World) -> None:
    shutil.rmtree(world.lab / ".git")
    subprocess.run(["git", "init", "--quiet", str(world.lab)], check=True)
    run = world.run("--only", "preflight")
    assert run.status == 1 and "[repository] this lab has no commit yet" in run.err and "git -C" in run.err


def test_a_cluster_out_of_reach_stops_only_what_needs_it(world: World) -> None:
    world.faults = [Fault("kubectl", "get nodes", "The connection to the server 127.0.0.1:6443 was refused")]
    world.vm_has.update(docker=False, apt=False)
    run = world.run("--only", "preflight")
    assert re.findall(r"bad +\[([a-z-]+)\]", run.err) == ["cluster", "runner"]


def test_an_own_helmchartconfig_of_the_lab_is_no_problem(world: World) -> None:
    world.cluster.put(
        "HelmChartConfig", "kube-system", "traefik", metadata={"managedFields": [{"manager": "lab-bootstrap"}]}
    )
    world.must_run("--only", "preflight")


def with_gitlab_from(world: World, registry: str) -> None:
    values = world.lab / "apps/gitlab/values.yaml"
    values.write_text(values.read_text().replace("127.0.0.1:1/", f"{registry}/"))
    commit(world.lab, "GitLab from another registry")


@pytest.mark.slow(keep=1)
@pytest.mark.parametrize(
    ("tags", "status", "said"),
    [
        (["19.3.0-ce.0"], 0, "ok     GitLab 19.3.0, and no newer patch of it is out"),
        (
            ["19.3.0-ce.0", "19.3.2-ce.0", "19.3.10-ce.0", "19.30.1-ce.0", "19.4.0-ce.0", "19.3.11-rc1-ce.0"],
            0,
            "./lab upgrade 19.3.10\n",
        ),
        (["19.3.1-ce.0", "19.3.2-ce.0"], 1, "has no 19.3.0-ce.0; the newest 19.3 there is 19.3.2"),
        (["19.4.0-ce.0"], 1, "GitLab 19.3.0 does not exist"),
    ],
)
def test_a_version_that_does_not_exist_is_a_problem_and_a_newer_patch_is_told(
    world: World, tags: list[str], status: int, said: str
) -> None:
    with image_tags(tags) as registry:
        with_gitlab_from(world, registry)
        run = world.run("--only", "preflight")
    assert run.status == status and said in run.text and ("[gitlab-version]" in run.err) is bool(status), run.text
    assert world.changes == []


def test_without_a_way_to_the_registry_one_line_says_so_and_nothing_waits(world: World) -> None:
    run = world.must_run("--only", "preflight")
    [line] = [line for line in run.text.splitlines() if "newer patch" in line]
    assert "127.0.0.1:1/gitlab/gitlab-ce cannot be asked from here" in line and "warn" not in run.err


def inside_another(world: World) -> None:
    """The lab's folder in the owner's repository of everything."""
    shutil.rmtree(world.lab / ".git")
    subprocess.run(["git", "init", "--quiet", str(world.lab.parent)], check=True)
    commit(world.lab.parent, "All that I have")


def ignore(world: World, pattern: str) -> None:
    file = world.lab / ".git/info/exclude"
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"{pattern}\n")


def test_a_lab_within_another_repository_pushes_nothing_of_it(journey: Journey) -> None:
    world = journey.to("end")
    before = world.summary()["repositories"]
    inside_another(world)
    run = world.run("--only", "preflight")
    words = f"the lab is not a separate repository: it lies in that of {world.lab.parent.resolve()}"
    assert run.status == 1 and f"[repository] {words}" in run.err and "git init" in run.err
    run = world.run("--from", "sync")
    assert run.status == 1 and words[1:] in run.err
    assert world.summary()["repositories"] == before and world.changes == []


def test_a_lab_that_is_reached_by_another_path_is_in_its_own_repository(world: World) -> None:
    link = world.folder / "link"
    link.symlink_to(world.lab)
    assert "the repository: committed as it is" in world.must_run("--only", "preflight", program=[link / "lab"]).out


@pytest.mark.slow(keep=1)
@pytest.mark.parametrize(
    "name",
    ["apps/wiki/helmrelease.yaml", "clusters/other/wiki.yaml", "infrastructure/dns.yml", "charts/wiki/templates/a.tpl"],
)
def test_what_flux_needs_and_git_does_not_know_is_named(journey: Journey, name: str) -> None:
    world = journey.to("end")
    file = world.lab / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("{apiVersion: v1, kind: ConfigMap, metadata: {name: wiki, namespace: default}}\n")
    for stage in ("preflight", "sync"):
        run = world.run("--only", stage)
        assert run.status == 1 and "not in Git" in run.err and name in run.err, run.text
    commit(world.lab, "And the wiki")
    world.must_run("--only", "preflight")


def test_notes_and_what_git_shall_ignore_are_the_owners(world: World) -> None:
    for name in ("notes.yaml", "apps/gitlab/gitlab.rb~", "apps/todo.txt", "apps/.secret.yaml"):
        (world.lab / name).write_text("mine\n")
    ignore(world, ".secret.yaml")
    world.must_run("--only", "preflight")


@pytest.mark.slow
def test_an_authority_that_an_ignore_rule_keeps_from_git_is_named(make_world: Callable[..., World]) -> None:
    world = make_world(private_ca=True)
    subprocess.run(["git", "-C", str(world.lab), "rm", "--quiet", "--cached", "ca.crt"], check=True)
    commit_as_it_is(world)
    ignore(world, "*.crt")
    run = world.run("--only", "preflight")
    assert run.status == 1 and "not in Git" in run.err and "ca.crt" in run.err
    command = re.search(r"git -C (.*) add --force -- ca\.crt", run.err)
    assert command
    subprocess.run(["sh", "-c", command[0]], check=True)
    commit_as_it_is(world)
    world.must_run("--only", "preflight")


def commit_as_it_is(world: World) -> None:
    who = ["-c", "user.name=o", "-c", "user.email=o@lab"]
    subprocess.run(["git", "-C", str(world.lab), *who, "commit", "--quiet", "--message", "As it is"], check=True)


# From inside the cluster


def fault_line(**words: object) -> str:
    return json.dumps({"host": "registry.localhost", "fault": "dns", "words": "not known", **words})


@pytest.mark.slow
def test_the_pods_that_look_from_inside_go_again_and_what_they_saw_is_told(world: World) -> None:
    good = world.run("--only", "preflight")
    assert "the cluster knows gitlab.localhost registry.localhost demo.localhost, too" in good.out
    calls = [" ".join(call.arguments) for call in world.calls]
    assert any("delete jobs" in call for call in calls) and world.cluster.of_kind("Job") == []
    world.cluster.failing_jobs = {"lab-inside-cluster": fault_line()}
    bad = world.run("--only", "preflight")
    assert (
        bad.status == 1
        and "[inside] the cluster's DNS does not know registry.localhost, the nodes' own does" in bad.err
    )
    assert world.cluster.of_kind("Job") == []
    passed_over = world.run("--only", "preflight", LAB_SKIP="inside")
    assert passed_over.status == 0 and "LAB_SKIP has it" in passed_over.out


def test_pods_without_a_result_are_a_warning_with_the_reason(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = {
        "containerStatuses": [{"state": {"waiting": {"reason": "ErrImagePull", "message": "no route to docker.io"}}}]
    }
    real = world.pods.run_jobs

    def never() -> None:
        real()
        for job in world.cluster.of_kind("Job"):
            world.cluster.objects["Pod", "default", f"{job['metadata']['name']}-pod"]["status"] = waiting

    monkeypatch.setattr(world.pods, "run_jobs", never)
    run = world.run("--only", "preflight", LAB_WAIT_FLUX_MINUTES="0")
    assert run.status == 0 and "could not be seen by the nodes' DNS: ErrImagePull no route to docker.io" in run.err
    assert world.cluster.of_kind("Job") == []


@pytest.mark.slow
def test_a_dry_run_and_a_lab_that_is_built_start_no_pods(journey: Journey) -> None:
    world = journey.to("preflight")
    assert "a dry run starts no pod there" in world.must_run("--dry-run", "--only", "preflight").out
    world = journey.to("end")
    assert (
        "./lab up --only preflight tries it again"
        in world.must_run("--from", "preflight", LAB_WAIT_VERIFY_MINUTES="1").out
    )
    assert not [call for call in world.calls if "lab-inside" in " ".join(call.arguments)]


@pytest.mark.slow(keep=1)
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_stopped_while_pods_look_takes_them_away(
    world: World, monkeypatch: pytest.MonkeyPatch, end: int
) -> None:
    def stop() -> None:
        if world.cluster.of_kind("Job") and world.running:
            world.running.send_signal(end)

    monkeypatch.setattr(world.pods, "run_jobs", stop)
    run = world.run("--only", "preflight")
    assert run.status == 128 + end and world.cluster.of_kind("Job") == []


@pytest.mark.slow
def test_pods_that_a_killed_run_left_are_gone_before_others_look(world: World) -> None:
    world.cluster.failing_jobs = {"lab-inside-node": fault_line(host="old.localhost")}
    world.kill_before = lambda call, _: "get pods" in call.detail
    assert world.run("--only", "preflight").status < 0 and len(world.cluster.of_kind("Job")) == 2
    world.cluster.failing_jobs = {}
    run = world.run("--only", "preflight")
    assert run.status == 0 and "old.localhost" not in run.text and world.cluster.of_kind("Job") == []
