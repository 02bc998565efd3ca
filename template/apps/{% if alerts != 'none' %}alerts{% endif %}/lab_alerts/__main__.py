"""One look, and at most one message. `test` sends a message without looking.

The message is written into the state before it is sent, and taken out after the server has taken it. So a run that is
cut off loses none; only one that is cut off in the moment between the two sends it again, with the same number.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from . import channels, mail, web
from .cluster import STATE_KEY, TEST_KEY, Cluster, ClusterError
from .judge import Message, begin_to_send, compose, judge, not_sent, sent
from .looking import Looker

SETTINGS, SECRETS = Path("/etc/lab-alerts/settings.json"), Path("/etc/lab-alerts-secrets")
STATE = "alerts-state"


class NotSentError(Exception):
    """A message did not reach its server, in words without secrets."""


def deliver(settings: Mapping[str, Any], secrets: Path, message: Message, now: float) -> str:
    """Send a message, and return what the server answered.

    Raises:
        NotSentError: it did not take it.
    """
    held = (
        {file.name: file.read_text().strip() for file in secrets.iterdir() if file.is_file()}
        if secrets.is_dir()
        else {}
    )
    authority = str(secrets / "ca.crt")
    try:
        if settings["channel"] == "email":
            login = (held.get("smtp-user", ""), held.get("smtp-password", ""))
            words = mail.send(settings, login, authority, mail.letter(settings, message, now))
        else:
            answer = web.send(channels.request(settings, held, message), web.trust(authority))
            words = _hidden(answer.words, held)
            if not answer.is_good:
                raise NotSentError(words)
    except (channels.NotSetUpError, mail.MailError, web.NoAnswerError) as error:
        raise NotSentError(_hidden(str(error), held)) from None
    return _hidden(words, held)


def _hidden(words: str, held: Mapping[str, str]) -> str:
    for name, value in held.items():
        if name != "ca.crt" and len(value) > 5:
            words = words.replace(value, "[hidden]")
    return words


def run(settings: Mapping[str, Any], cluster: Cluster, secrets: Path, now: float) -> int:
    """Look, judge, and send what there is to tell; return the exit status."""
    state, held = cluster.load(settings["gitlab_namespace"], STATE)
    looker = Looker(settings, cluster, secrets, now)
    look = looker.look(state)
    state = compose(judge(state, look, now), settings["lab"], now)
    state, message = begin_to_send(state | {"looked": now, "unread": looker.unread}, now)
    cluster.save(held, STATE_KEY, state, alone=True)
    for name, fault in sorted(state["faults"].items()):
        print(f"{'told' if fault['told'] else 'not told yet'}: {name}: {fault['text']}")
    if message is None:
        print(f"{len(look.facts)} facts, {len(state['faults'])} faults, nothing to send")
        return 0
    try:
        answer = deliver(settings, secrets, message, now)
    except NotSentError as error:
        cluster.save(held, STATE_KEY, not_sent(state, str(error)))
        print(f"The message was not sent, and will be tried again: {error}", file=sys.stderr)
        return 1
    cluster.save(held, STATE_KEY, sent(state, now))
    print(f"sent: {message.subject}: {answer}")
    return 0


def test(settings: Mapping[str, Any], cluster: Cluster, secrets: Path, now: float, number: str) -> int:
    """Send a message that says that it is a test; its outcome goes beside the state, for `./lab alerts test`."""
    _, held = cluster.load(settings["gitlab_namespace"], STATE)
    text = "This is a test by `./lab alerts test`. Faults of the lab will come here."
    try:
        words, well = (
            deliver(
                settings, secrets, Message(f"test-{number}", f"{settings['lab']}: a test", text, is_bad=False), now
            ),
            True,
        )
    except NotSentError as error:
        words, well = str(error), False
    cluster.save(held, TEST_KEY, {"number": number, "well": well, "words": words})
    print(words)
    return 0 if well else 1


def main(arguments: Sequence[str]) -> int:
    """Do what the pod is for, and return the exit status."""
    settings = json.loads(SETTINGS.read_text(encoding="utf-8"))
    try:
        cluster = Cluster()
        if arguments[:1] == ["test"]:
            return test(settings, cluster, SECRETS, time.time(), arguments[1])
        return run(settings, cluster, SECRETS, time.time())
    except ClusterError as error:
        print(f"{error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
