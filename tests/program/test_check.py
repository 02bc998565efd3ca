"""What the program reads off the cluster about the check before GitLab, and about the version that has GitLab's data."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.program import gitlab_check, installed_gitlab, objects

KubeObject = objects.KubeObject


def pod(created: int, *, owner: str = "", leaving: bool = False, first: Any = None, then: Any = None) -> Any:
    metadata: dict[str, Any] = {
        "creationTimestamp": f"2026-01-01T00:00:{created:02}Z",
        "ownerReferences": [{"name": owner}],
    }
    metadata |= {"deletionTimestamp": "2026-01-01T00:01:00Z"} if leaving else {}
    status = {"initContainerStatuses": [first] if first else [], "containerStatuses": [then] if then else []}
    return KubeObject({"metadata": metadata, "status": status})


def ended(code: int, message: str = "") -> dict[str, Any]:
    return {"state": {"terminated": {"exitCode": code, "message": message}}}


WAITING = {"state": {"waiting": {"reason": "ImagePullBackOff"}}}
RUNNING = {"state": {"running": {}}}
AGAIN = {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "restartCount": 2}


@pytest.mark.parametrize(
    ("pods", "said"),
    [
        ([], None),
        ([pod(1, first=ended(0), then=RUNNING)], None),
        ([pod(1, first=ended(0), then=ended(0))], None),
        ([pod(1, first=ended(1, "no such image\n"), then=WAITING)], "no such image"),
        ([pod(1, first=ended(0), then=ended(1, "a quote"))], "a quote"),
        ([pod(1, then=ended(1, "the commit before")), pod(2, then=RUNNING)], None),
        ([pod(1, then=ended(1, "older")), pod(2, then=ended(1, "newer"))], "newer"),
        ([pod(1, then=ended(1, "it goes"), leaving=True)], None),
        ([pod(1, then=ended(7))], "it ended with 7, and said nothing"),
    ],
)
def test_the_newest_pod_of_the_check_says_why_it_failed(pods: list[Any], said: str | None) -> None:
    assert gitlab_check.refusal_of(pods) == said


def template(version: str) -> dict[str, Any]:
    return {"template": {"spec": {"containers": [{"image": f"gitlab/gitlab-ce:{version}-ce.0"}]}}}


def replica_set(revision: int, version: str) -> Any:
    annotations = {"deployment.kubernetes.io/revision": str(revision)}
    return KubeObject(
        {"metadata": {"name": f"gitlab-{revision}", "annotations": annotations}, "spec": template(version)}
    )


@pytest.mark.parametrize(
    ("pods", "version"),
    [
        ([pod(1, owner="gitlab-10", then=WAITING)], "19.3.2-ce.0"),
        ([pod(1, owner="gitlab-10", then=AGAIN)], "19.9.9-ce.0"),
        ([pod(1, owner="gitlab-10", then=RUNNING)], "19.9.9-ce.0"),
        ([], "19.9.9-ce.0"),
    ],
)
def test_a_version_whose_image_never_came_has_not_run(pods: list[Any], version: str) -> None:
    sets = [replica_set(9, "19.3.2"), replica_set(10, "19.9.9"), replica_set(2, "19.2.4")]
    deployment = KubeObject({"spec": template("19.9.9")})
    assert installed_gitlab.version_that_ran(deployment, sets, pods) == version
