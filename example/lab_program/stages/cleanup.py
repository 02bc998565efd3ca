"""Clean-up: which image tags GitLab removes by itself, so that the registry does not grow for ever."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from .. import kept_tags
from ..lab import Lab
from ..probes import HELM_RELEASE
from .deployers import Images

# What names images: what runs, what may run again, and what is to run.
HOLDERS = "pods,replicasets,deployments,statefulsets,controllerrevisions,daemonsets,jobs,cronjobs"


class Cleanup:
    """Sees to the clean-up policies of projects whose images the lab runs.

    Args:
        projects: by project, the patterns of the tags that Flux may deploy; see Deployers.
    """

    def __init__(self, lab: Lab, projects: Mapping[str, set[str]]) -> None:
        self.lab, self.console, self.projects = lab, lab.console, projects

    def ensure(self) -> None:
        """Set the policies, and name what a policy of the owner's may take although it runs."""
        used = tags_in_use(self.lab)
        for project, patterns in sorted(self.projects.items()):
            tags = used_of(project, used)
            ensure = partial(self._ensure_policy, project, patterns, tags)
            self.lab.patience.settle(f"set the clean-up policy of {project}", ensure)

    def _ensure_policy(self, project: str, patterns: set[str], used: set[str]) -> None:
        there = self.lab.gitlab.cleanup_policy(project)
        ours = there is not None and kept_tags.is_labs(there)
        if self.lab.settings.registry_cleanup != "build-tags" or not (ours or kept_tags.is_untouched(there)):
            self.console.have(f"the clean-up of {project} is as you set it")
            taken = sorted(tag for tag in used if kept_tags.may_take(there, tag))
            if taken:
                self._warn(project, taken)
            return
        if there is not None and ours and not there.enabled:
            self.console.have(f"the clean-up of {project} is off, as you set it")
            return
        try:
            wanted = kept_tags.policy(patterns, used)
        except kept_tags.UnkeepableError as error:
            if ours and there != kept_tags.everything():
                self.lab.gitlab.set_cleanup_policy(project, kept_tags.everything())
            self.console.have(f"nothing of {project} is removed: {error}")
            return
        if wanted == there:
            self.console.have(f"old build tags of {project} are removed, its versions stay")
            return
        self.lab.gitlab.set_cleanup_policy(project, wanted)
        said = f"GitLab removes tags of {project} that are no version and not in use, after {kept_tags.OLDER_THAN}"
        self.console.did(f"{said}; to leave that to you: registry_cleanup")

    def _warn(self, project: str, taken: list[str]) -> None:
        self.console.warn(
            f"The clean-up policy of {project} may remove tags that are in use: {', '.join(taken)}.\n"
            f"Add them to its pattern of tags to keep:"
            f" {self.lab.settings.gitlab_url}/{project}/-/settings/packages_and_registries"
        )


def tags_in_use(lab: Lab) -> kept_tags.Tags:
    """Return the tags of the lab's registry that the cluster or a release in this folder names, by image."""
    registry = lab.settings.registry_address
    # Two looks: a list with a kind that is not there yet would be empty.
    objects = [*lab.cluster.list_of(HOLDERS), *lab.cluster.list_of(HELM_RELEASE)]
    found = kept_tags.running(registry, objects)
    texts = [file.read_text(encoding="utf-8", errors="replace") for file in lab.folder.glob("apps/*/*.yaml")]
    for image, tags in kept_tags.written(registry, texts).items():
        found.setdefault(image, set()).update(tags)
    return found


def used_of(project: str, used: Images) -> set[str]:
    """Return the tags in use of a project: of its own image, and of those below it."""
    path = project.lower()
    return {tag for image, tags in used.items() for tag in tags if image == path or image.startswith(f"{path}/")}
