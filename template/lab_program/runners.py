"""Which runners of GitLab's the lab has: one process serves them all, each with a token of its own.

runner/config.toml, or the settings in runner/helmrelease.yaml, hold the same list; the template's tests compare them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .clients.gitlab_runners import Runner
from .settings import Settings

INSTANCE, GROUP, PROJECT = "instance_type", "group_type", "project_type"
# The tag that jobs of the lab's protected branches ask for (.gitlab-ci.yml), and the variable that tells it to them.
PROTECTED_TAG = "protected"
PROTECTED_VARIABLE = "LAB_RUNNER"
# The runner for the project that holds the lab's machines as code.
MACHINES = "machines"
# What each variable with a token begins with.
TOKEN = "RUNNER_TOKEN"  # noqa: S105 - a name


@dataclass(frozen=True)
class Wanted:
    """A runner that GitLab should have.

    Attributes:
        name: its description in GitLab, and its name in the settings.
        variable: the variable from which the runner reads its token.
        kind: whose jobs it takes, as GitLab's API calls that.
        owner: the group or the project that it belongs to; nothing for the whole instance.
    """

    name: str
    variable: str
    kind: str
    owner: str = ""

    @property
    def is_protected(self) -> bool:
        """Whether it takes jobs of protected branches alone, which ask for it by its tag."""
        return self.kind == PROJECT

    def is_in(self, runner: Runner) -> bool:
        """Say whether GitLab has it in this runner."""
        return (runner.kind, runner.description) == (self.kind, self.name)


def wanted(settings: Settings) -> list[Wanted]:
    """Return the lab's runners, in the order of the runner's settings."""
    name = settings.runner_name
    if settings.runner_scope == "instance":
        found = [Wanted(name, TOKEN, INSTANCE)]
    else:
        own = [settings.lab_project.rpartition("/")[0]] if settings.self_hosted else []
        served = top_groups([*settings.groups, *own])
        found = [Wanted(f"{name} of {one}", token_variable(one), GROUP, one) for one in served]
    if settings.self_hosted:
        found.append(Wanted(f"{name} protected", f"{TOKEN}_PROTECTED", PROJECT, settings.lab_project))
    if settings.iac_project:
        # Its jobs hold what makes and destroys machines: they share a runner with no others.
        found.append(Wanted(f"{name} {MACHINES}", f"{TOKEN}_{MACHINES.upper()}", PROJECT, settings.iac_project))
    return found


def is_ours(settings: Settings, runner: Runner) -> bool:
    """Say whether the program made a runner for this lab, now or after another answer."""
    name = runner.description
    ours = {
        INSTANCE: name == settings.runner_name,
        GROUP: name.startswith(f"{settings.runner_name} of "),
        PROJECT: name in {f"{settings.runner_name} {kind}" for kind in ("protected", MACHINES)},
    }
    return ours.get(runner.kind, False)


def is_token(variable: str) -> bool:
    """Say whether a variable is one of the program's for a token."""
    return variable in (TOKEN, f"{TOKEN}_PROTECTED", f"{TOKEN}_{MACHINES.upper()}") or variable.startswith(
        f"{TOKEN}_OF_"
    )


def top_groups(groups: Sequence[str]) -> list[str]:
    """Return the groups, each once, that lie below none of the others: a group's runner serves all below it."""
    known = {one.lower(): one for one in reversed(groups)}
    below = {one for one in known for other in known if one.startswith(f"{other}/")}
    return [one for one in dict.fromkeys(known[each.lower()] for each in groups) if one.lower() not in below]


def token_variable(group: str) -> str:
    """Return the variable for the token of a group's runner: another one for each path, whatever its capitals."""
    return f"{TOKEN}_OF_{''.join(map(_escaped, group.lower()))}"


def _escaped(character: str) -> str:
    if character.isalnum():
        return character.upper()
    return "__" if character == "_" else f"_{ord(character):02X}"
