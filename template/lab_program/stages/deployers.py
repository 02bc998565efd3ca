"""Who deploys: whoever the owner's answer names, and nobody else, pushes the tags of images that Flux watches.

Flux takes the greatest tag of an image. Without a rule, GitLab lets every developer push one, from any machine.
https://docs.gitlab.com/user/packages/container_registry/protected_container_tags/
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import partial

from ..clients.gitlab_access import DEVELOPER, MAINTAINER
from ..clients.objects import KubeObject
from ..kept_tags import VERSIONS
from ..lab import Lab
from ..probes import FLUX, IMAGE_POLICY, IMAGE_REPOSITORY

# Git tags of every name: a pipeline of one builds.
ALL = "*"
_REPOSITORY = re.compile(r'^ +repository: "?([^\s"]+)"?$', re.MULTILINE)
# Images by name, and the patterns that their deployable tags have.
Images = dict[str, set[str]]


class Deployers:
    """Sees to the rules."""

    def __init__(self, lab: Lab) -> None:
        self.lab, self.settings, self.console = lab, lab.settings, lab.console
        self.may_be_developers = lab.settings.deployers == "developers"

    def ensure(self, projects: Images) -> None:
        """Make the rules of each project, or take them away."""
        for project, patterns in sorted(projects.items()):
            self.lab.patience.settle(f"protect the tags of {project}", partial(self._ensure_git_tags, project))
            ensure = partial(self._ensure_rules, project, patterns)
            self.lab.patience.settle(f"protect the container tags of {project}", ensure)

    def projects(self) -> Images:
        """Return the projects that exist, with the patterns of their deployable tags."""
        settings, cluster = self.settings, self.lab.cluster
        images = written(settings.registry_address, self._releases())
        if settings.sample_app:
            images.setdefault(settings.sample_project.lower(), {VERSIONS})
        objects = cluster.list_of(f"{IMAGE_REPOSITORY},{IMAGE_POLICY}", FLUX)
        repositories = [one for one in objects if one.kind == "ImageRepository"]
        policies = [one for one in objects if one.kind == "ImagePolicy"]
        seen = watched(settings.registry_address, repositories, policies)
        found: Images = {}
        for image, patterns in (images | seen).items():
            project = self._project_of(image)
            if project:
                found.setdefault(project, set()).update(patterns)
        return found

    def _releases(self) -> Iterable[str]:
        for file in sorted(self.lab.folder.glob("apps/*/helmrelease.yaml")):
            yield file.read_text(encoding="utf-8", errors="replace")

    def _project_of(self, image: str) -> str:
        """Return the project that an image is in: it may have names of its own below it. Nothing before it is made."""
        path = image
        while "/" in path:
            found = self.lab.gitlab.project(path)
            if found is not None:
                return found.path
            path = path.rpartition("/")[0]
        return ""

    def _ensure_git_tags(self, project: str) -> None:
        """Only protected tags get protected variables, and a tag of any name builds an image."""
        if self.lab.gitlab.has_protected_tag(project, ALL):
            self.console.have(f"tags of {project} are protected")
            return
        self.lab.gitlab.protect_tags(project, ALL, DEVELOPER if self.may_be_developers else MAINTAINER)
        self.console.did(f"tags of {project} are protected")

    def _ensure_rules(self, project: str, patterns: Iterable[str]) -> None:
        rules = self.lab.gitlab.tag_rules(project)
        if rules is None:
            self._warn(project, "this GitLab has no protected container tags; 18.8 and newer have")
            return
        there = {rule.pattern: rule for rule in rules}
        for pattern in sorted(patterns):
            if self.may_be_developers:
                if pattern in there:
                    self.lab.gitlab.delete_tag_rule(project, there[pattern])
                    self.console.did(f"developers of {project} may push the container tags that Flux deploys")
            elif not pattern:
                self._warn(project, "its image policy takes tags of every name; set imagePolicy.filterTags.pattern")
            elif pattern in there and there[pattern].push and there[pattern].delete:
                self.console.have(f"only maintainers of {project} push the container tags that Flux deploys")
            else:
                if pattern in there:
                    self.lab.gitlab.delete_tag_rule(project, there[pattern])
                refusal = self.lab.gitlab.make_tag_rule(project, pattern)
                if refusal:
                    self._warn(project, f"GitLab takes no rule for {pattern} ({refusal})")
                    continue
                said = f"only maintainers of {project} push the container tags that Flux deploys, {pattern}"
                self.console.did(f"{said}; to open it again: deployers")

    def _warn(self, project: str, why: str) -> None:
        if self.may_be_developers:
            return
        self.console.warn(
            f"Every developer of {project} can push a container tag that Flux deploys: {why}.\n"
            f"{self.settings.gitlab_url}/{project}/-/settings/packages_and_registries shows the rules that there are"
        )


def written(registry: str, releases: Iterable[str]) -> Images:
    """Return the images that releases in this working tree have under an image policy, before Flux knows of them."""
    found: Images = {}
    for text in releases:
        for name in _REPOSITORY.findall(text) if "imagePolicy: true" in text else ():
            if name.startswith(f"{registry}/"):
                found[name.removeprefix(f"{registry}/").lower()] = {VERSIONS}
    return found


def watched(registry: str, repositories: Iterable[KubeObject], policies: Iterable[KubeObject]) -> Images:
    """Return the images of the lab's registry that Flux scans, with the patterns of the tags that its policies take."""
    images = {one.name: str(one.spec.get("image", "")) for one in repositories}
    found: Images = {}
    for policy in policies:
        name = images.get(str((policy.spec.get("imageRepositoryRef") or {}).get("name")), "")
        if name.startswith(f"{registry}/"):
            found.setdefault(name.removeprefix(f"{registry}/").lower(), set()).add(deployable(policy.spec))
    return found


def deployable(policy: Mapping[str, object]) -> str:
    """Return the pattern of the tags that an image policy may pick; nothing where it may be any.

    Flux looks for its own pattern anywhere in a tag; with `.*` around it means the same to who compares whole tags.
    https://fluxcd.io/flux/components/image/imagepolicies/#filter-tags
    """
    tags, order = policy.get("filterTags"), policy.get("policy")
    pattern = str(tags.get("pattern") or "") if isinstance(tags, dict) else ""
    if pattern:
        return f".*(?:{pattern}).*"
    return VERSIONS if isinstance(order, dict) and "semver" in order else ""
