"""GitLab's runners, through its API: https://docs.gitlab.com/api/runners/."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..secret import Secret
from .gitlab_requests import Requests, json_object


@dataclass(frozen=True)
class Runner:
    """A runner; `kind` says whether it is of the instance, of groups or of projects."""

    id: int
    kind: str
    description: str
    token: Secret


@dataclass(frozen=True)
class RunnerManager:
    """A machine that has shown a runner's token."""

    system_id: str
    status: str


class RunnerRequests(Requests):
    """The part of the API that is about runners."""

    def verify_runner(self, token: Secret, system_id: str) -> int | None:
        """Return the number of the runner that has a token, shown as from the machine *system_id*; None where none
        has."""
        body = {"token": token, "system_id": system_id}
        answer = self._transport.request(
            "POST", "/runners/verify", "check the runner's token", 200, 403, body=body, token=Secret("")
        )
        return int(json_object(answer)["id"]) if answer.status == 200 else None

    def runners(self) -> list[Runner]:
        """Return the runners of every kind."""
        return [_runner(one) for one in self._list("/runners/all", "runners")]

    def delete_runners(self, runners: Sequence[Runner]) -> None:
        self._delete_each("/runners", [one.id for one in runners])

    def make_runner(self, description: str, kind: str, more: Mapping[str, Any]) -> Runner:
        """Make a runner.

        Args:
            more: to whom it belongs (`group_id`, `project_id`), and which jobs it takes.
        """
        body = {"runner_type": kind, "description": description, "run_untagged": True, "locked": False, **more}
        return _runner(json_object(self._post("/user/runners", f"make the runner {description}", body)))

    def runner_managers(self, runner: int) -> list[RunnerManager]:
        """Return the machines that have shown a runner's token."""
        answer = self._get(f"/runners/{runner}/managers", "show the machines of the runner")
        return [RunnerManager(str(one["system_id"]), str(one["status"])) for one in json.loads(answer.body)]


def _runner(one: Mapping[str, Any]) -> Runner:
    kind, description, token = (str(one.get(name, "")) for name in ("runner_type", "description", "token"))
    return Runner(int(one["id"]), kind, description, Secret(token))
