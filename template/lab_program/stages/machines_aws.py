"""What the lab has at AWS: made by OpenTofu with the owner's own credentials, which nobody keeps.

The pipeline's jobs log in to AWS by what is made here: a bucket with GitLab's keys, a role that trusts them. So the
first time cannot be theirs. Nor can a change of who may do what, or of the keys themselves: GitLab signs with a new key
at once, and AWS takes no token of it before the key is published.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..certificates import read
from ..clients.gitlab_access import Variable
from ..clients.http import Http, HttpError
from ..clients.tofu import Plan, Tofu
from ..errors import Failure
from ..lab import Lab
from ..settings import Settings
from .findings import Advice, Finding, Good, Problem

KEYS = "oauth/discovery/keys"
CERTIFICATE = "iac/aws-ca.crt"
_RESOURCE = re.compile(r'^resource "(aws_\w+)" "(\w+)"', re.MULTILINE)
# What tells AWS's programs who one is: https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html
_LOG_IN = ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI")
_HOW = (
    "log in to AWS in this terminal as somebody who may change IAM, such as `aws sso login --profile NAME` and\n"
    "`export AWS_PROFILE=NAME`, or export AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN;\n"
    "then run ./lab up --only machines. The program keeps none of it"
)


def credentials(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what the owner has set for AWS's programs."""
    return {name: value for name, value in environment.items() if name.startswith("AWS_")}


def logged_in(environment: Mapping[str, str]) -> bool:
    """Say whether the owner has credentials here: in the environment, or in the files of AWS's programs."""
    if any(environment.get(name) for name in _LOG_IN):
        return True
    home = Path(environment.get("HOME") or "~").expanduser() / ".aws"
    named = [environment.get("AWS_SHARED_CREDENTIALS_FILE"), environment.get("AWS_CONFIG_FILE")]
    return any(file.is_file() for file in (*map(Path, filter(None, named)), home / "credentials", home / "config"))


def addresses(texts: Iterable[str]) -> list[str]:
    """Return the resources that code makes at AWS."""
    return sorted({f"{kind}.{name}" for text in texts for kind, name in _RESOURCE.findall(text)})


def without_index(address: str) -> str:
    """Return a resource's address without the name of one of several."""
    return re.sub(r"\[.*\]$", "", address)


def not_made(wanted: Iterable[str], state: Iterable[str]) -> list[str]:
    """Return the resources of which the state has nothing. One that is made several times has an index there."""
    there = set(map(without_index, state))
    # A role for each project that keeps its state here: there may be none.
    return [one for one in wanted if one not in there and not one.endswith(".state")]


def issuer(settings: Settings) -> str:
    """Return the address at which AWS reads GitLab's keys; nothing if it asks GitLab itself."""
    if not settings.aws_issuer_bucket:
        return ""
    return f"https://{settings.aws_issuer_bucket}.s3.{settings.aws_region}.amazonaws.com"


def key_set(body: bytes) -> frozenset[tuple[str, str]] | None:
    """Return the keys of a document, each by its name and its modulus; None where it is no such document."""
    try:
        content: Any = json.loads(body)
        return frozenset((str(one["kid"]), str(one["n"])) for one in content["keys"])
    except (ValueError, KeyError, TypeError):
        return None


def unpublished(lab: Lab) -> str:
    """Return why AWS does not see GitLab's keys as they are; nothing where it does, or nobody can look from here."""
    address = issuer(lab.settings)
    if not address:
        return ""
    here = _keys_at(lab.http, f"{lab.settings.gitlab_url}/{KEYS}")
    if not here:
        lab.console.warn(f"GitLab does not show its keys at {lab.settings.gitlab_url}/{KEYS}")
        return ""
    try:
        answer = lab.public_http.send("GET", f"{address}/{KEYS}")
    except HttpError as error:
        lab.console.warn(f"{address} could not be looked at from here: {error.words}")
        return ""
    there = key_set(answer.body) if answer.status == 200 else None
    return "" if there == here else f"{address} does not show GitLab's keys as they are now"


def _keys_at(http: Http, url: str) -> frozenset[tuple[str, str]] | None:
    try:
        answer = http.send("GET", url)
    except HttpError:
        return None
    return key_set(answer.body) if answer.status == 200 else None


def checks(lab: Lab) -> Iterator[Finding]:
    """Preflight: the authority for jobs' certificates is there, and the owner can log in."""
    file = lab.folder / CERTIFICATE
    if lab.settings.aws_login == "roles-anywhere":
        held = read(file.read_text(encoding="utf-8", errors="replace")) if file.is_file() else None
        again = f"cp ca.crt {CERTIFICATE} (the certificate, never the key), then commit it: iac/aws.md"
        if held is None or not held.certificates:
            yield Problem("aws", f"{CERTIFICATE} is missing, or no certificate is in it", again)
        elif held.has_key:
            yield Problem("aws", f"{CERTIFICATE} holds a private key, which would end up in Git", again)
        else:
            yield Good(f"jobs log in to AWS with certificates of {held.certificates[0].subject}")
    if not logged_in(lab.environment):
        yield Advice(
            "There are no credentials for AWS here. The first time, and for changes of roles, they are needed."
        )


class AwsPlace:
    """The lab's part of AWS.

    Args:
        must: does something by OpenTofu, and says for the owner what went wrong.
    """

    def __init__(self, lab: Lab, must: Callable[[str, Callable[[], Any]], Any]) -> None:
        self.lab, self.settings, self.console, self._must = lab, lab.settings, lab.console, must

    def ensure(self, folder: Path, tofu: Tofu) -> None:
        """Make what is missing, and change what is not as the project says, after a yes.

        Args:
            folder: the project's main, which OpenTofu has prepared.
        Raises:
            Failure: it is needed, and there are no credentials, or it was not done.
        """
        known = self._must("read the state", tofu.resources)
        ours = addresses(file.read_text(encoding="utf-8") for file in sorted(folder.glob("aws*.tf")))
        everything = addresses(file.read_text(encoding="utf-8") for file in sorted(folder.glob("*.tf")))
        # What is in the state and no longer in the code goes.
        wanted = sorted({*everything, *(one for one in map(without_index, known) if one.startswith("aws_"))})
        if not wanted:
            self.console.warn(
                f"main of {self.settings.iac_project} has no code for AWS yet: merge the lab's merge request there, "
                "then run ./lab up --only machines"
            )
            return
        missing = not_made(ours, known)
        stale = unpublished(self.lab) if not missing else ""
        if not logged_in(self.lab.environment):
            self._without_credentials(missing, stale)
            return
        self._apply(tofu, self._must("plan what is at AWS", lambda: tofu.plan(*wanted)))
        self._tell_variables()

    def _without_credentials(self, missing: list[str], stale: str) -> None:
        if not missing and not stale:
            self.console.have(f"{self.settings.aws_bucket} at AWS is in OpenTofu's state; the pipeline looks at it")
            self._tell_variables()
            return
        what = f"{stale}." if stale else f"Not yet at AWS: {', '.join(missing)}."
        raise Failure(f"{what} That takes your own credentials, and there are none here.", "iac/aws.md", _HOW)

    def _apply(self, tofu: Tofu, plan: Plan) -> None:
        settings, console = self.settings, self.console
        if plan.is_empty:
            console.have(f"AWS account {settings.aws_account} is as {settings.iac_project} says")
            return
        console.print(f"\n{tofu.shown()}\n")
        question = f"Do this in the AWS account {settings.aws_account}, with your credentials?"
        # A script may make things; that something goes away is read by a person.
        gone = bool(plan.removed)
        if not console.ask_yes(question, "call it with --yes if it may be done", in_person=gone):
            raise Failure("Nothing was changed at AWS.", f"{settings.gitlab_url}/{settings.iac_project}")
        console.doing("OpenTofu changes AWS")
        self._must("change what is at AWS", tofu.apply)
        console.did(f"{len(plan.actions)} change(s) in the AWS account {settings.aws_account}")

    def _tell_variables(self) -> None:
        """Say which of the project's variables are missing, and which are open: jobs log in by them."""
        names = {"keys": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
        names["roles-anywhere"] = ("AWS_CERTIFICATE", "AWS_PRIVATE_KEY")
        wanted = names.get(self.settings.aws_login, ())
        there = {name: self.lab.gitlab.project_variable(self.settings.iac_project, name) for name in wanted}
        for name, variable in there.items():
            wrong = variable_problem(self.settings.aws_login, variable)
            if wrong:
                page = f"{self.settings.gitlab_url}/{self.settings.iac_project}/-/settings/ci_cd"
                self.console.warn(f"The variable {name} {wrong}: {page}; iac/aws.md says how")
            else:
                self.console.have(f"{name} of {self.settings.iac_project}")


def variable_problem(login: str, variable: Variable | None) -> str:
    """Return what is wrong with a variable by which jobs log in; nothing where it is right.

    One that holds a certificate's file has several lines, which GitLab cannot mask.
    """
    if variable is None:
        return "is missing, so jobs cannot log in to AWS"
    if not variable.is_protected:
        return "is not protected, so jobs of every branch get it"
    if login == "keys" and not variable.is_masked:
        return "is not masked, so a log may show it"
    return ""
