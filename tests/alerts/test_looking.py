"""One look: a source that does not answer keeps no other from being judged, and says why; GitLab's answers come page by page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.support.alerts import facts, judge, looking, settings, web
from tests.support.http_server import Handler, HttpServer

NOW = facts.seconds("2026-11-28T12:00:00Z")
IMAGE = {"spec": {"template": {"spec": {"containers": [{"image": "gitlab/gitlab-ce:19.3.1-ce.0@sha256:0"}]}}}}


class Cluster:
    """Answers what a test says, by the last words of the path; what is an exception is raised."""

    def __init__(self, **answers: Any) -> None:
        self.answers = {"gitlab": IMAGE | {"status": {"readyReplicas": 1}}, "nodes": [], **answers}

    def get(self, path: str) -> Any:
        found = self.answers.get(path.rpartition("/")[2].replace("-", "_"))
        if isinstance(found, Exception):
            raise found
        return found

    def items(self, path: str, kind: str) -> list[dict[str, Any]]:
        return [{"kind": kind, **one} for one in self.get(path) or []]

    def kubelet(self, node: dict[str, Any], *, verify: bool) -> Any:
        found = node["summary"]
        if isinstance(found, Exception):
            raise found
        return found


class GitLab:
    """GitLab's API as far as the alarm asks it: two lists of a project, two items a page, for one token."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.lists: dict[str, list[Any]] = {"access_tokens": [], "runners": []}
        self.check: dict[str, Any] | None = {"severity": "danger", "latest_stable_versions": ["19.3.2"]}

    def __enter__(self) -> GitLab:
        gitlab = self

        class Api(Handler):
            def do_GET(self) -> None:
                status, headers, content = gitlab.answer(self.path, self.headers.get("PRIVATE-TOKEN", ""))
                self.reply_json(status, content, headers)

        self.server = HttpServer(Api)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        return self

    def __exit__(self, *_: object) -> None:
        self.server.stop()

    def answer(self, path: str, token: str) -> tuple[int, dict[str, str], Any]:
        self.asked.append(path)
        parts = urlsplit(path)
        if parts.path == "/check.json":
            return (200, {}, self.check) if self.check is not None else (502, {}, None)
        if token != "glpat-right":
            return 401, {}, {"message": "401 Unauthorized"}
        assert parts.path.startswith("/api/v4/projects/homelab%2Flab/"), path
        page = int(parse_qs(parts.query)["page"][0])
        found = self.lists[parts.path.rpartition("/")[2]]
        more = str(page + 1) if len(found) > page * 2 else ""
        return 200, {"X-Next-Page": more}, found[(page - 1) * 2 : page * 2]


@pytest.fixture
def gitlab() -> Iterator[GitLab]:
    with GitLab() as found:
        yield found


def look(
    cluster: Cluster, gitlab: GitLab, folder: Path, state: dict[str, Any] | None = None, **more: Any
) -> tuple[looking.Looker, judge.Look]:
    (folder / "gitlab-token").write_text("glpat-right\n", encoding="utf-8")
    found = settings("ntfy", gitlab_url=gitlab.url, cert_manager=True) | more
    looker = looking.Looker(found, cluster, folder, NOW)  # type: ignore[arg-type]
    return looker, looker.look(state if state is not None else judge.new_state())


def states(seen: judge.Look) -> dict[str, str]:
    return {one.key: one.state for one in seen.facts}


def test_a_lab_in_which_all_is_well_has_no_fault(gitlab: GitLab, tmp_path: Path) -> None:
    looker, seen = look(Cluster(), gitlab, tmp_path)
    assert not looker.unread and judge.BAD not in states(seen).values()
    assert seen.read == {"gitlab", "flux", "volume", "certificate", "backup", "token", "runner", "blind", "security"}


@pytest.mark.parametrize("error", [web.NoAnswerError("forbidden"), KeyError("status"), TypeError("no list")])
@pytest.mark.parametrize(
    ("answer", "source"),
    [
        ("kustomizations", "flux"),
        ("certificates", "certificate"),
        ("jobs", "backup"),
        ("nodes", "volume"),
        ("gitlab", "gitlab"),
    ],
)
def test_a_source_that_fails_leaves_the_others(
    gitlab: GitLab, tmp_path: Path, answer: str, source: str, error: Exception
) -> None:
    looker, seen = look(Cluster(**{answer: error}), gitlab, tmp_path)
    assert set(looker.unread) == {source} and source not in seen.read
    assert states(seen)[f"blind/{source}"] == judge.BAD
    assert len(seen.read) == 8, "all other sources were read"


def test_a_fault_of_a_source_that_cannot_be_read_stays_as_it_was(gitlab: GitLab, tmp_path: Path) -> None:
    failing = {
        "metadata": {"namespace": "a", "name": "b"},
        "status": {"conditions": [{"type": "Ready", "status": "False"}]},
    }
    broken = Cluster(kustomizations=[failing])
    state = judge.judge(judge.new_state(), look(broken, gitlab, tmp_path)[1], NOW)
    assert "flux/Kustomization/a/b" in state["faults"]
    broken.answers["kustomizations"] = web.NoAnswerError("forbidden")
    state = judge.judge(state, look(broken, gitlab, tmp_path)[1], NOW)
    assert "flux/Kustomization/a/b" in state["faults"]
    broken.answers["kustomizations"] = []
    assert "flux/Kustomization/a/b" not in judge.judge(state, look(broken, gitlab, tmp_path)[1], NOW)["faults"]


def test_a_node_that_does_not_answer_leaves_the_others_volumes(gitlab: GitLab, tmp_path: Path) -> None:
    full = {"node": {"fs": {"capacityBytes": 100, "availableBytes": 1}}, "pods": []}
    nodes = [
        {"metadata": {"name": "one"}, "summary": web.NoAnswerError("it did not answer in time")},
        {"metadata": {"name": "two"}, "summary": full},
    ]
    looker, seen = look(Cluster(nodes=nodes), gitlab, tmp_path)
    assert states(seen)["volume/node/two"] == judge.BAD and "volume" not in seen.read
    assert looker.unread == {"volume": "the kubelet of node one: it did not answer in time"}


def test_every_page_of_gitlabs_lists_is_read(gitlab: GitLab, tmp_path: Path) -> None:
    gitlab.lists["runners"] = [
        {"id": one, "description": "lab-lab", "status": "online" if one < 5 else "offline"} for one in range(6)
    ]
    gitlab.lists["access_tokens"] = [{"name": f"t{one}", "expires_at": "2026-12-01"} for one in range(5)]
    _, seen = look(Cluster(), gitlab, tmp_path)
    assert states(seen)["runner/5"] == judge.BAD and [key for key in states(seen) if key.startswith("token/")] == [
        f"token/t{one}" for one in range(5)
    ]
    assert all(states(seen)[f"token/t{one}"] == judge.BAD for one in range(5))


def test_a_token_that_gitlab_does_not_take_is_said_unless_gitlab_is_down(gitlab: GitLab, tmp_path: Path) -> None:
    looker, seen = look(Cluster(), gitlab, tmp_path)
    (tmp_path / "gitlab-token").write_text("glpat-wrong", encoding="utf-8")
    for ready, state in ((1, judge.BAD), (0, judge.UNCLEAR)):
        cluster = Cluster(gitlab=IMAGE | {"status": {"readyReplicas": ready}})
        looker = looking.Looker(settings("ntfy", gitlab_url=gitlab.url), cluster, tmp_path, NOW)  # type: ignore[arg-type]
        seen = looker.look(judge.new_state())
        assert looker.unread["token"] == 'GitLab\'s API: HTTP 401: {"message": "401 Unauthorized"}'
        assert states(seen)["blind/token"] == states(seen)["blind/runner"] == state
    (tmp_path / "gitlab-token").unlink()
    looker = looking.Looker(settings("ntfy", gitlab_url=gitlab.url), Cluster(), tmp_path, NOW)  # type: ignore[arg-type]
    looker.look(judge.new_state())
    assert "./lab up --only alerts" in looker.unread["token"]


def test_a_lab_whose_repository_is_elsewhere_asks_gitlab_nothing(gitlab: GitLab, tmp_path: Path) -> None:
    looker, seen = look(Cluster(), gitlab, tmp_path, project="")
    assert not gitlab.asked and not looker.unread and "blind/token" not in states(seen)


def test_the_version_check_is_asked_once_a_day_and_again_after_an_upgrade(gitlab: GitLab, tmp_path: Path) -> None:
    state: dict[str, Any] = judge.new_state()
    url = f"{gitlab.url}/check.json"

    def told() -> str:
        return states(look(Cluster(), gitlab, tmp_path, state, version_check=url)[1])["security/gitlab"]

    def asked() -> int:
        return sum(path.startswith("/check.json") for path in gitlab.asked)

    assert (told(), told(), asked()) == (judge.BAD, judge.BAD, 1)
    state["security"]["asked"] -= facts.DAY
    gitlab.check = None
    assert (told(), asked()) == (judge.BAD, 2), "what was known stays, if nobody answers"
    assert (told(), asked()) == (judge.BAD, 2), "one request a day, answered or not"
    gitlab.check = {"severity": "success"}
    state["security"]["of"] = "19.3.0"
    assert (told(), asked()) == (judge.GOOD, 3)
    assert "security/gitlab" not in states(look(Cluster(), gitlab, tmp_path)[1]), "it is switched off"


def test_off_line_there_is_no_fault_of_releases(tmp_path: Path, gitlab: GitLab) -> None:
    gitlab.check = None
    _, seen = look(Cluster(), gitlab, tmp_path, version_check=f"{gitlab.url}/check.json")
    assert states(seen)["security/gitlab"] == judge.UNCLEAR and "blind/security" not in states(seen)
