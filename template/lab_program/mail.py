"""A mail, sent by GitLab's own Rails: only that shows whether the mail server takes what GitLab sends."""

from __future__ import annotations

import json

from .clients.pod import PodError
from .errors import Failure
from .lab import Lab

_SENT, _REFUSED = "mail=sent", "mail=refused "


def code(address: str, lab_name: str) -> str:
    """Return the Ruby that sends one mail, and prints what became of it.

    https://docs.gitlab.com/omnibus/settings/smtp/#testing-the-smtp-configuration
    """
    words = ", ".join(json.dumps(text) for text in (address, f"Mail from the lab {lab_name}", "It works."))
    return f"""begin
  Notify.test_email({words}).deliver_now
  puts '{_SENT}'
rescue StandardError => e
  puts "{_REFUSED}#{{e.class}}: #{{e.message.to_s.split.join(' ')}}"
end"""


def refusal(lab: Lab, address: str) -> str | None:
    """Send a mail to an address; return why GitLab could not, or None.

    Raises:
        Failure: GitLab's Rails did not answer.
    """
    lab.console.doing(f"having GitLab send a mail to {address} (a minute or so)")
    try:
        said = lab.pod.rails(code(address, lab.settings.lab_name))
    except PodError as error:
        look = f"kubectl logs deploy/gitlab -n {lab.settings.gitlab_namespace} --tail=50"
        raise Failure(f"GitLab was asked to send a mail, and did not answer: {error}", look) from error
    return verdict(said)


def verdict(said: str) -> str | None:
    """Return why no mail was sent, from what the Ruby printed; None where one was."""
    lines = [line.strip() for line in said.splitlines()]
    if _SENT in lines:
        return None
    refused = next((line for line in lines if line.startswith(_REFUSED)), "")
    return refused.removeprefix(_REFUSED) or "GitLab did not say what became of it"
