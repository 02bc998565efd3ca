"""`./lab new-app` adds an application to any lab, in the shape of the sample application, or says why not."""

from __future__ import annotations

import hashlib
import os
import random
import re
import shutil
import subprocess
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import test_labs
from tests.support import program
from tests.support.cluster import Lab, read_lab
from tests.support.compiled import share_compiled
from tests.support.depth import every
from tests.support.references import problems
from tests.support.rendering import VALID, read_answers, recorded_answers, rendered, required

# Names that YAML, Helm or a shell could misread, and ordinary ones.
NAMES = ["on", "y", "null", "true", "e1", "shop", "my-blog-2", "a" * 53, "x--y", "demo2", "no", "nan", "api"]


def copy_of(path: Path, target: Path) -> Path:
    return share_compiled(shutil.copytree(path, target))


def new_app(lab: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the lab's own program without a terminal."""
    return subprocess.run(
        [str(lab / "lab"), "new-app", *arguments],
        cwd="/",
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def fingerprint(lab: Path) -> dict[str, str]:
    """Return what every file of the lab holds, and may be done with."""
    return {
        str(file.relative_to(lab)): f"{file.stat().st_mode:o} {hashlib.sha256(file.read_bytes()).hexdigest()}"
        for file in sorted(lab.rglob("*"))
        if file.is_file()
    }


def lab_folder(shared: Path, name: str) -> Path:
    return rendered(shared, name, read_answers(next(file for file in VALID if file.stem == name)))


def read(path: Path) -> Lab:
    return read_lab(path, recorded_answers(path))


# Checks of files that it leaves as they are, byte for byte, which is asserted instead; and one that knows of the sample
# application alone.
UNTOUCHED = {
    "test_gitlab_rb_sets_only_what_gitlab_knows",
    "test_gitlab_rb_agrees_with_services_routes_and_answers",
    "test_scripts_are_clean",
    "test_runner_files_are_what_compose_and_the_runner_read",
    "test_pipelines_are_what_gitlab_reads",
    "test_renovate_reads_its_settings",
    "test_the_settings_of_the_program_are_the_answers",
    "test_the_labs_program_is_the_templates_own",
    "test_the_sample_applications_dockerfile_is_clean",
    "test_ssh_reads_its_entry",
    "test_image_names_are_lower_case_and_on_the_labs_registry",
}


def checks_of_labs() -> dict[str, Any]:
    """Return the checks that test_labs.py runs on a lab."""
    checks = {
        name: one
        for name, one in vars(test_labs).items()
        if name.startswith("test_") and one.__code__.co_varnames[0] == "lab"
    }
    assert set(checks) > UNTOUCHED
    return checks


@pytest.mark.xdist_group("article")
@pytest.mark.deep
def test_many_applications_leave_a_lab_that_passes_every_check(shared: Path, tmp_path: Path) -> None:
    path, chance = copy_of(lab_folder(shared, "article"), tmp_path / "lab"), random.Random(5)
    wanted, before = {}, fingerprint(path)
    for number in range(50 if every() else 20):
        name = NAMES[number] if number < len(NAMES) else f"app-{number}"
        project = chance.choice([f"HomeLAB/{name}", f"homelab/deep/er/Project_{number}", f"HOMELAB/p.{number}"])
        arguments = [name, "--project", project] if chance.random() < 0.7 else [name]
        if chance.random() < 0.5:
            arguments += ["--host", f"h{number}.other.lab", f"--port={chance.randint(1, 65535)}"]
        if chance.random() < 0.5:
            arguments += ["--health", "/healthz", "--memory", "1Gi"]
        done = new_app(path, *arguments)
        assert done.returncode == 0, done.stderr
        wanted[name] = f"registry.lab/{(project if '--project' in arguments else f'homelab/{name}').lower()}"
    lab = read(path)
    assert before.items() <= fingerprint(path).items(), "nothing that was there has changed"
    for name, check in checks_of_labs().items():
        if name not in UNTOUCHED:
            check(lab)
    images = {one["metadata"]["name"]: one["spec"]["image"] for one in lab.of_kind("ImageRepository")}
    assert images == {"demo": "registry.lab/homelab/demo", **wanted}
    followed = {
        one["metadata"]["name"]
        for one in lab.of_kind("Kustomization")
        if one["metadata"].get("namespace") == "flux-system"
    }
    assert set(wanted) <= followed


# Where the lab itself is read: what the script leaves as it is, is built and linted once.
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in ("pair-07", "pair-02", "pair-13")]
)
@pytest.mark.deep(keep=1)
def test_it_works_in_labs_of_other_kinds(shared: Path, tmp_path: Path, name: str) -> None:
    """A certificate in a secret, cert-manager, another port, a private authority, five groups, no sample application."""
    path = copy_of(lab_folder(shared, name), tmp_path / "lab")
    group = recorded_answers(path)["groups"][-1]
    assert new_app(path, "shop", "--project", f"{group}/Shop").returncode == 0
    lab = read(path)
    assert problems(lab) == []
    for check in (
        test_labs.test_every_object_is_what_kubernetes_flux_traefik_and_cert_manager_accept,
        test_labs.test_yaml_is_well_formed_and_tidy,
    ):
        check(lab)


LIMITS = ("podSecurityContext", "securityContext", "volumes", "networkPolicy")


@pytest.mark.labs(sample_app=[True])
@pytest.mark.deep(keep=4)
def test_an_application_has_the_shape_of_the_sample_application(lab: Lab, tmp_path: Path) -> None:
    path = copy_of(lab.path, tmp_path / "lab")
    cluster = path / "clusters" / lab.answers["cluster_name"]
    shutil.rmtree(path / "apps/demo")
    (cluster / "demo.yaml").unlink()
    done = new_app(path, "demo", "--health", "/", "--memory", "64Mi")
    assert done.returncode == 0, done.stderr
    for file in (
        "apps/demo/kustomization.yaml",
        "apps/demo/helmrelease.yaml",
        str((cluster / "demo.yaml").relative_to(path)),
    ):
        mine, theirs = [
            list(yaml.safe_load_all((root / file).read_text(encoding="utf-8"))) for root in (path, lab.path)
        ]
        for one in mine + theirs:
            values = one.get("spec", {}).get("values")
            if values:
                values["image"]["tag"] = "any"
                values["resources"]["requests"]["memory"] = "any"
                assert values["probes"].pop("readiness") == {"httpGet": {"path": "/", "port": "http"}}
                if "volumes" in values:
                    values["volumes"]["items"]["tmp"]["emptyDir"]["sizeLimit"] = "any"
                # A lab that was made before the limits has an older sample application; a new one has them there, too.
                if lab.answers["app_security"] == "warned":
                    assert {name for name in LIMITS if values.pop(name, None)} == (
                        set(LIMITS) if any(one is new for new in mine) else set()
                    )
        assert mine == theirs, file
    text = (path / "apps/demo/helmrelease.yaml").read_text(encoding="utf-8")
    assert '      tag: 0.0.0 # {"$imagepolicy": "flux-system:demo:tag"}\n' in text
    assert ("$" in text, "None" in text) == (True, False)


@pytest.mark.slow
def test_the_earlier_name_of_the_command_goes_on(article: Lab, tmp_path: Path) -> None:
    one, other = copy_of(article.path, tmp_path / "one"), copy_of(article.path, tmp_path / "other")
    assert new_app(one, "shop", "--memory", "1Gi").returncode == 0
    done = subprocess.run(
        [other / "new-app.sh", "shop", "--memory", "1Gi"], cwd="/", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and "./lab new-app now" in done.stderr
    assert fingerprint(one) == fingerprint(other)


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
@pytest.mark.deep(keep=1)
def test_the_files_are_the_owners_as_any_other(article: Lab, tmp_path: Path, umask: int) -> None:
    """The program works with private files; what it leaves in the lab is not."""
    path = copy_of(article.path, tmp_path / "lab")
    subprocess.run([path / "lab", "new-app", "shop"], umask=umask, capture_output=True, check=True)
    modes = {
        file: file.stat().st_mode & 0o777
        for file in [path / "apps/shop", *(path / "apps/shop").iterdir(), path / "clusters/homelab/shop.yaml"]
    }
    assert modes == {file: (0o777 if file.is_dir() else 0o666) & ~umask for file in modes}


def test_the_same_application_twice_is_refused_and_nothing_changes(article: Lab, tmp_path: Path) -> None:
    path = copy_of(article.path, tmp_path / "lab")
    assert new_app(path, "shop").returncode == 0
    before = fingerprint(path)
    for arguments in (["shop"], ["shop", "--host", "another.lab"], ["demo"]):
        done = new_app(path, *arguments)
        assert done.returncode == 1 and f'there is an application "{arguments[0]}" already' in done.stderr
    assert fingerprint(path) == before


@pytest.mark.slow
def test_removing_an_application_as_the_help_says_leaves_the_lab_as_it_was(article: Lab, tmp_path: Path) -> None:
    path = copy_of(article.path, tmp_path / "lab")
    for arguments in (["init", "--quiet"], ["add", "--all"]):
        subprocess.run(["git", "-C", path, *arguments], check=True)
    before = {name: value for name, value in fingerprint(path).items() if not name.startswith(".git/")}
    assert new_app(path, "shop").returncode == 0
    subprocess.run(["git", "-C", path, "add", "--all"], check=True)
    text = new_app(path, "--help").stdout
    command = re.search(r"git rm -r (\S+) (\S+\.yaml)", text)
    assert command
    files = [word.replace("NAME", "shop") for word in command.groups()]
    subprocess.run(["git", "-C", path, "rm", "-r", "--quiet", "--force", *files], check=True)
    assert {name: value for name, value in fingerprint(path).items() if not name.startswith(".git/")} == before
    assert new_app(path, "shop").returncode == 0, "and the name is free again"


REFUSED: dict[str, tuple[list[str], str]] = {
    "upper case": (["Shop"], '"Shop" cannot name a Kubernetes Service'),
    "a digit first": (["2048"], '"2048" cannot name'),
    "an underscore": (["my_shop"], "such as my-shop"),
    "a hyphen last": (["shop-"], '"shop-" cannot name'),
    "a dot": (["my.shop"], '"my.shop" cannot name'),
    "a path": (["../evil"], '"../evil" cannot name'),
    "words": (["my shop"], '"my shop" cannot name'),
    "a line break": (["shop\nevil: true"], "cannot name"),
    "too long": (["a" * 54], "has 54 characters; Helm takes 53"),
    "GitLab": (["gitlab"], '"gitlab" is a part of the lab itself'),
    "Flux": (["flux-system"], "is a part of the lab itself"),
    "the runner": (["runner"], "is a part of the lab itself"),
    "infrastructure": (["infrastructure"], "is a part of the lab itself"),
    "automation": (["automation"], "is a part of the lab itself"),
    "the sample application": (["demo"], 'there is an application "demo" already'),
    "no group": (["shop", "--project", "shop"], "write group/project, such as HomeLAB/shop"),
    "another group": (
        ["shop", "--project", "strangers/shop"],
        "is in none of the lab's groups (HomeLAB), so the cluster could not pull",
    ),
    "a group that begins alike": (["shop", "--project", "HomeLAB2/shop"], "is in none of the lab's groups"),
    "an empty part": (["shop", "--project", "HomeLAB//shop"], "has an empty part"),
    "no project": (["shop", "--project", "HomeLAB/"], "has an empty part"),
    "a project that no image can be called": (
        ["shop", "--project", "HomeLAB/-shop"],
        '"-shop" in "HomeLAB/-shop" is not allowed in an image\'s name',
    ),
    "two dots": (["shop", "--project", "HomeLAB/a..b"], "is not allowed in an image's name"),
    "quotes": (["shop", "--project", 'HomeLAB/"x'], "is not allowed in an image's name"),
    "a name too long for an image": (
        ["shop", "--project", f"HomeLAB/{'a' * 240}"],
        "are 261 characters, and an image's name has 255 at most",
    ),
    "a scheme": (["shop", "--host", "https://shop.lab"], '"https://shop.lab" is no host'),
    "a port": (["shop", "--host", "shop.lab:443"], '"shop.lab:443" is no host'),
    "an address": (["shop", "--host", "10.0.0.1"], '"10.0.0.1" ends in a number, as addresses do'),
    "a letter of some language only": (["shop", "--host", "bücher.lab"], '"bücher.lab" is no host'),
    "a label too long": (["shop", "--host", f"{'a' * 64}.lab"], "has 64 characters; DNS takes 63"),
    "GitLab's host": (["shop", "--host", "gitlab.lab"], "is GitLab's own host"),
    "the registry's host": (["shop", "--host", "registry.lab"], "is GitLab's own host"),
    "a host that is taken": (
        ["shop", "--host", "demo.lab"],
        "demo.lab is served by apps/demo/helmrelease.yaml already",
    ),
    "port 0": (["shop", "--port", "0"], '"0" is no port: give a number from 1 to 65535'),
    "port 65536": (["shop", "--port", "65536"], "is no port"),
    "a named port": (["shop", "--port", "http"], "is no port"),
    "a page without a slash": (["shop", "--health", "healthz"], "it begins with a slash"),
    "a page with a colon": (["shop", "--health", "/a: b"], "is no path"),
    "no unit": (["shop", "--memory", "512"], "such as 512Mi or 2Gi"),
    "more than any machine has": (["shop", "--memory", "99999999999999999999Gi"], "is no amount of memory"),
}
WRONG_CALLS = {
    "no name": ([], "what is the application called?"),
    "two names": (["shop", "blog"], 'one application at a time: "shop" or "blog"?'),
    "an unknown option": (["shop", "--prot", "1"], 'there is no option "--prot"'),
    "no value": (["shop", "--port"], "--port needs a value"),
    "a variable that was never set": (["shop", "--host", ""], "--host needs a value"),
    "the same, with =": (["shop", "--project="], "--project needs a value"),
}


@pytest.mark.slow
def test_what_cannot_work_is_refused_in_words_and_nothing_is_written(article: Lab, tmp_path: Path) -> None:
    path = copy_of(article.path, tmp_path / "lab")
    before, wrong = fingerprint(path), []
    cases = list({**REFUSED, **WRONG_CALLS}.items())
    # Each is a start of the program: one in three, and all in CI.
    for case, (arguments, said) in cases if every() or required() else cases[::3]:
        done = new_app(path, *arguments)
        if done.returncode != (2 if case in WRONG_CALLS else 1) or said not in done.stderr or done.stdout:
            wrong.append((case, done.returncode, done.stderr))
    assert wrong == []
    assert fingerprint(path) == before


@pytest.mark.deep
def test_letters_are_the_same_whatever_language_the_shell_speaks(article: Lab, tmp_path: Path) -> None:
    path = copy_of(article.path, tmp_path / "lab")
    for language in ("de_DE.UTF-8", "C", "tr_TR.ISO-8859-9"):
        done = new_app(path, "shop", "--host", "bücher.lab", LC_ALL=language)
        assert done.returncode == 1 and "is no host" in done.stderr


@pytest.mark.parametrize(("most", "set_aside"), [("16Mi", "16Mi"), ("64Mi", "64Mi"), ("65Mi", "64Mi"), ("1Gi", "64Mi")])
@pytest.mark.deep(keep=1)
def test_no_more_memory_is_set_aside_than_the_application_may_take(
    article: Lab, tmp_path: Path, most: str, set_aside: str
) -> None:
    """Kubernetes refuses a pod that asks for more than its limit."""
    path = copy_of(article.path, tmp_path / "lab")
    assert new_app(path, "shop", "--memory", most).returncode == 0
    release = yaml.safe_load((path / "apps/shop/helmrelease.yaml").read_text(encoding="utf-8"))
    resources = release["spec"]["values"]["resources"]
    assert (resources["limits"]["memory"], resources["requests"]["memory"]) == (most, set_aside)


def test_of_two_runs_at_once_the_later_takes_nothing_from_the_earlier(
    article: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have looked, and nothing was there; then one is a moment faster."""
    path = copy_of(article.path, tmp_path / "lab")

    def faster(*_: object) -> None:
        (path / "apps/shop").mkdir()
        (path / "apps/shop/helmrelease.yaml").write_text("theirs\n")

    monkeypatch.setattr(program.new_app, "check", faster)
    options = Namespace(
        names=["shop"],
        rename=None,
        project=None,
        host=None,
        port=None,
        health=None,
        memory=None,
        secret=None,
        secret_from=None,
        sign_in=None,
    )
    console = program.console()
    command = program.new_app.NewApp(
        path, console, program.programs.Programs({}, console), program.Invocation(options, [], [])
    )
    with pytest.raises(program.errors.Failure):
        command.run()
    assert (path / "apps/shop/helmrelease.yaml").read_text() == "theirs\n" and not console.out.getvalue()


def test_a_run_that_is_cut_short_leaves_nothing(article: Lab, tmp_path: Path) -> None:
    path = copy_of(article.path, tmp_path / "lab")
    before = fingerprint(path)
    # The last file cannot be written: its folder is a file.
    shutil.rmtree(path / "clusters/homelab")
    (path / "clusters/homelab").write_text("")
    done = new_app(path, "shop")
    assert done.returncode != 0
    assert not (path / "apps/shop").exists()
    assert not [name for name in fingerprint(path) if name.startswith("apps/") and name not in before]


def objects_but_routes(lab: Lab) -> dict[str, Any]:
    """Return the lab's objects by kind and name; routes are called after their hosts."""
    return {
        f"{one['kind']} {one['metadata']['name']}": one
        for one in lab.objects
        if one["kind"] not in {"Ingress", "Middleware"}
    }


@pytest.mark.slow
def test_a_renamed_application_is_the_same_one_to_flux(article: Lab, tmp_path: Path) -> None:
    """Only where its files lie, its image and its host change: another Kustomization would remove it first."""
    path = copy_of(article.path, tmp_path / "lab")
    assert new_app(path, "shop").returncode == 0
    before = objects_but_routes(read(path))
    done = new_app(path, "shop", "--rename", "store", "--project", "HomeLAB/store", "--host", "store.lab")
    assert done.returncode == 0, done.stderr
    lab = read(path)
    assert problems(lab) == []
    after = objects_but_routes(lab)
    assert set(after) == set(before)
    changed = {"Kustomization shop", "HelmRelease shop", "Deployment shop", "ImageRepository shop"}
    assert {name for name in after if after[name] != before[name]} == changed
    assert after["Kustomization shop"]["spec"]["path"] == "./apps/store"
    assert after["ImageRepository shop"]["spec"]["image"] == "registry.lab/homelab/store"
    served = {rule["host"] for one in lab.of_kind("Ingress") for rule in one["spec"]["rules"]}
    assert "store.lab" in served and "shop.lab" not in served
    assert not (path / "apps/shop").exists()
    # A new application of the old name would be the renamed one to Flux.
    taken = new_app(path, "shop")
    assert taken.returncode == 1 and "store.yaml" in taken.stderr
    again = new_app(path, "store", "--rename", "market")
    assert again.returncode == 0 and read(path).of_kind("Deployment")[0]["metadata"]["name"]
    assert (path / "clusters/homelab/market.yaml").read_text(encoding="utf-8").count(
        "In the cluster it goes on as shop"
    ) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nobody", "--rename", "store"], "demo"),
        (["demo", "--rename", "Store"], "small letters"),
        (["demo", "--rename", "gitlab"], "part of the lab"),
        (["demo", "--rename", "demo"], "already"),
        (["demo", "--rename", "store", "--project", "elsewhere/store"], "none of the lab's groups"),
        (["demo", "--rename", "store", "--host", "gitlab.lab"], "GitLab's own host"),
        (["demo", "--rename", "store", "--port", "80"], "helmrelease.yaml"),
    ],
)
@pytest.mark.deep(keep=2)
def test_a_renaming_that_cannot_work_is_refused_and_nothing_changes(
    article: Lab, tmp_path: Path, words: list[str], said: str
) -> None:
    path = copy_of(article.path, tmp_path / "lab")
    before = fingerprint(path)
    done = new_app(path, *words)
    assert done.returncode in (1, 2) and said in done.stderr, done.stderr
    assert fingerprint(path) == before


@pytest.mark.slow
def test_it_says_what_comes_next(article: Lab, shared: Path, tmp_path: Path) -> None:
    path = copy_of(article.path, tmp_path / "lab")
    done = new_app(path, "shop", "--project", "HomeLAB/web/shop")
    assert not done.stderr
    for words in (
        "https://gitlab.lab/HomeLAB/web/shop",
        "sample-app/.gitlab-ci.yml",
        "sends shop.lab to Traefik",
        "git tag v0.1.0",
        "git add apps/shop clusters/homelab/shop.yaml",
        "./lab up --only groups protects its tags",
    ):
        assert words in done.stdout, words
    for name, words in {
        "pair-07": "a certificate that covers it in the Secret tls-7 of the namespace git;",
        "pair-01": ".gitlab/image.gitlab-ci.yml",
    }.items():
        other = copy_of(lab_folder(shared, name), tmp_path / name)
        done = new_app(other, "shop")
        assert done.returncode == 0 and words in done.stdout
        pipeline = re.search(r"copy of (\S+)\.\n", done.stdout)
        assert pipeline and (other / pipeline[1]).is_file(), "the pipeline to copy is there"


def test_help_asks_nothing_and_names_every_option(article: Lab) -> None:
    done = new_app(article.path, "--help")
    assert done.returncode == 0 and not done.stderr
    options = {"--project", "--host", "--port", "--health", "--memory"}
    assert all(option in done.stdout for option in options)
    assert "To remove an application" in done.stdout and all(len(line) <= 130 for line in done.stdout.splitlines())
