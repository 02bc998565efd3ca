"""Project access tokens: how long one has to last, and the one with which the scheduled update is proposed."""

from __future__ import annotations

import datetime

from ..clients.gitlab import AccessToken
from ..clients.gitlab_access import DEVELOPER
from ..lab import Lab

UPDATE_TOKEN = "template-update"  # noqa: S105 - its name
UPDATE_VARIABLE = "LAB_UPDATE_TOKEN"
# A token is replaced when it expires within this time.
MONTH = datetime.timedelta(days=30)
# The last day that GitLab lets such a token end.
YEAR = datetime.timedelta(days=364)


def today() -> datetime.date:
    """Return the day by which GitLab counts."""
    return datetime.datetime.now(datetime.timezone.utc).date()


def lasts(token: AccessToken, day: datetime.date) -> bool:
    """Say whether a token is valid for another month at least."""
    if not token.is_active:
        return False
    return not token.expires_at or datetime.date.fromisoformat(token.expires_at[:10]) > day + MONTH


def ensure_update_token(lab: Lab) -> None:
    """Keep a token with which the scheduled job pushes its branch and opens a merge request, and nothing else.

    It is a developer's, so it does not open the protected branch that Flux follows. It lies in a variable that only
    jobs of protected branches get: the schedule runs on one, a merge request does not. Pushing with options opens a
    merge request without the API: https://docs.gitlab.com/topics/git/commit/#push-options-for-merge-requests

    GitLab shows the token once, and a hidden variable never. The variable is removed before its token is replaced, so
    that a variable that exists holds the token that is valid.
    """
    project, gitlab = lab.settings.lab_project, lab.gitlab
    tokens, variable = gitlab.access_tokens(project, UPDATE_TOKEN), gitlab.project_variable(project, UPDATE_VARIABLE)
    if variable is not None and variable.is_closed and len(tokens) == 1 and lasts(tokens[0], today()):
        lab.console.have(f"{UPDATE_VARIABLE} of {project}")
        return
    if variable is not None:
        gitlab.delete_project_variable(project, UPDATE_VARIABLE)
    gitlab.delete_access_tokens(project, tokens)
    ends = (today() + YEAR).isoformat()
    made = gitlab.make_access_token(project, UPDATE_TOKEN, ends, ("write_repository",), DEVELOPER)
    gitlab.make_project_variable(project, UPDATE_VARIABLE, made.token)
    lab.console.did(f"{UPDATE_VARIABLE} of {project}: protected, masked and hidden, until {ends}")
