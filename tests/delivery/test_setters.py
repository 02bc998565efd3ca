"""A new image becomes one changed line in the lab, and a commit that says what went from what to what."""

from __future__ import annotations

import difflib
import shutil
from pathlib import Path

import pytest
import yaml

from tests.delivery.support.flux_semver import latest
from tests.delivery.support.flux_setters import Change, kept_by_kyaml, message, set_in_text, update
from tests.support.cluster import Lab
from tests.support.references import MARKER

with_application = pytest.mark.labs(sample_app=[True])


@pytest.fixture
def apps(lab: Lab, tmp_path: Path) -> Path:
    """Return a copy of what the automation may write to."""
    (automation,) = lab.of_kind("ImageUpdateAutomation")
    return shutil.copytree(lab.path / automation["spec"]["update"]["path"], tmp_path / "apps")


def policies(lab: Lab, tag: str) -> dict[str, str]:
    """Return what every policy of the lab selects when each repository has this new tag."""
    images = {one["metadata"]["name"]: one["spec"]["image"] for one in lab.of_kind("ImageRepository")}
    return {
        f"{one['metadata']['namespace']}:{one['metadata']['name']}": f"{images[one['spec']['imageRepositoryRef']['name']]}:{tag}"
        for one in lab.of_kind("ImagePolicy")
    }


def difference(before: dict[Path, str], folder: Path) -> list[str]:
    """Return the lines that differ, with their signs."""
    lines = []
    for file, text in before.items():
        new = (folder / file).read_text(encoding="utf-8")
        lines += [line for line in difflib.ndiff(text.splitlines(), new.splitlines()) if line[0] in "+-"]
    return lines


def contents(folder: Path) -> dict[Path, str]:
    return {
        file.relative_to(folder): file.read_text(encoding="utf-8")
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


@with_application
def test_a_new_tag_changes_one_line_and_nothing_else(lab: Lab, apps: Path) -> None:
    before = contents(apps)
    changes = update(apps, policies(lab, "v9.8.7"))
    assert difference(before, apps) == [
        '-       tag: v0.1.0 # {"$imagepolicy": "flux-system:demo:tag"}',
        '+       tag: v9.8.7 # {"$imagepolicy": "flux-system:demo:tag"}',
    ]
    assert set(contents(apps)) == set(before)
    assert changes == [Change(apps / "demo/helmrelease.yaml", "demo", "flux-system:demo:tag", "v0.1.0", "v9.8.7")]
    assert update(apps, policies(lab, "v9.8.7")) == [], "a second look changes nothing"


@with_application
def test_the_commit_says_which_application_went_from_what_to_what(lab: Lab, apps: Path) -> None:
    template = lab.of_kind("ImageUpdateAutomation")[0]["spec"]["git"]["commit"]["messageTemplate"]
    changes = update(apps, policies(lab, "v9.8.7"))
    assert message(template, changes) == "demo v0.1.0 -> v9.8.7\n"
    more = [*changes, Change(apps / "shop/helmrelease.yaml", "shop", "flux-system:shop:tag", "1.0.0", "1.0.1")]
    assert message(template, more) == "demo v0.1.0 -> v9.8.7\nshop 1.0.0 -> 1.0.1\n"


@with_application
def test_the_new_value_is_what_the_release_deploys(lab: Lab, apps: Path) -> None:
    update(apps, policies(lab, "2.0.0"))
    release = yaml.safe_load((apps / "demo/helmrelease.yaml").read_text(encoding="utf-8"))
    assert release["spec"]["values"]["image"]["tag"] == "2.0.0"


def test_writing_a_marked_file_anew_changes_nothing_else(lab: Lab) -> None:
    for file in sorted((lab.path / "apps").rglob("*.yaml")):
        text = file.read_text(encoding="utf-8")
        if MARKER.search(text):
            assert kept_by_kyaml(text) == []


def test_an_application_without_its_marker_is_held(article: Lab, tmp_path: Path) -> None:
    apps = shutil.copytree(article.path / "apps", tmp_path / "apps")
    file = apps / "demo/helmrelease.yaml"
    file.write_text(MARKER.sub(r"\g<indent>\g<key>: \g<value>", file.read_text(encoding="utf-8")), encoding="utf-8")
    assert update(apps, policies(article, "v9.8.7")) == []
    release = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert release["spec"]["values"]["image"]["tag"] == "v0.1.0", "and stays what it was"


@pytest.mark.parametrize(("semver", "wanted"), [("1.4.2", "1.4.2"), (">=0.0.0 !=1.5.0", "1.4.3"), ("1.4.x", "1.4.3")])
def test_going_back_and_pinning_is_a_change_of_the_range(
    article: Lab, tmp_path: Path, semver: str, wanted: str
) -> None:
    """The lab has 1.5.0; the owner changes `imagePolicy.semver`, and Flux itself writes the tag to go back to."""
    apps = shutil.copytree(article.path / "apps", tmp_path / "apps")
    registry = ["1.4.1", "1.4.2", "1.4.3", "1.5.0", "cache"]
    name = next(iter(policies(article, "x")))

    def select(text: str) -> list[str]:
        tag = latest(registry, text)
        assert tag
        return [f"{change.old} -> {change.new}" for change in update(apps, {name: f"registry.lab/homelab/demo:{tag}"})]

    assert select(">=0.0.0") == ["v0.1.0 -> 1.5.0"]
    assert select(semver) == [f"1.5.0 -> {wanted}"]
    registry.append("1.5.1")
    assert select(semver) == ([f"{wanted} -> 1.5.1"] if "!=" in semver else [])


MARKERS = {
    "the tag": ('tag: 1.0.0 # {"$imagepolicy": "ns:app:tag"}', "tag: 2.0.0 #"),
    "a quoted tag": ('tag: "1.0.0" # {"$imagepolicy": "ns:app:tag"}', 'tag: "2.0.0" #'),
    "the whole image": ('image: r/a:1.0.0 # {"$imagepolicy": "ns:app"}', "image: r/a:2.0.0 #"),
    "its name": ('image: r/b # {"$imagepolicy": "ns:app:name"}', "image: r/a #"),
    "another policy": ('tag: 1.0.0 # {"$imagepolicy": "ns:other:tag"}', "tag: 1.0.0 #"),
    "another namespace": ('tag: 1.0.0 # {"$imagepolicy": "other:app:tag"}', "tag: 1.0.0 #"),
    "words before it": ('tag: 1.0.0 # see {"$imagepolicy": "ns:app:tag"}', "tag: 1.0.0 #"),
    "no JSON": ("tag: 1.0.0 # {$imagepolicy: ns:app:tag}", "tag: 1.0.0 #"),
    "a line too early": ('# {"$imagepolicy": "ns:app:tag"}\ntag: 1.0.0', "tag: 1.0.0"),
}


@pytest.mark.parametrize("case", MARKERS)
def test_the_rule_in_these_tests_reads_markers_as_flux_does(case: str) -> None:
    text, wanted = MARKERS[case]
    new, _ = set_in_text(text + "\n", {"ns:app": "r/a:2.0.0", "ns:app:name": "r/a", "ns:app:tag": "2.0.0"})
    assert wanted in new and (new == text + "\n") is ("2.0.0" not in new and "image: r/a #" not in new)


def test_a_message_with_what_the_controller_does_not_know_is_noticed() -> None:
    with pytest.raises(ValueError, match="documentation"):
        message("{{ range .Updated.Images }}{{ . }}{{ end }}", [])
