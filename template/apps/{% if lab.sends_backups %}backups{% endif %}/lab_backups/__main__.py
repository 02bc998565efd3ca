"""What the pods of the backups run.

send              the newest backup of GitLab to the target; what is too old goes there
drill             the newest set at the target, read to its end and compared with its manifest
list              which sets there are, as JSON
check NAME        one set, read to its end and compared with its manifest
cat NAME PART     one encrypted part, to standard output
look data NAME    an archive that comes through standard input, as `./lab backup drill` decrypts it; look config, too
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from . import archives
from .age import RecipientError
from .openssl import OpenSslError
from .sending import RefusedError, Sender
from .sets import COMPLETE, ManifestError, Set
from .state import Keeper, State, StateError
from .target import Target, TargetError

SETTINGS, SECRETS = Path("/etc/lab-backups/settings.json"), Path("/etc/lab-backups-secrets")
RCLONE = "/tools/rclone"
DATA, CONFIG = Path("/gitlab/backups"), Path("/gitlab/config_backup")
PROBLEMS = (archives.ArchiveError, RefusedError, TargetError, ManifestError, OpenSslError, RecipientError, StateError)


def say(line: str) -> None:
    """Print a line of the pod's log; standard output may be a file's way."""
    print(line, file=sys.stderr, flush=True)


def recipients(settings: Mapping[str, Any], secrets: Path) -> list[str]:
    """Return the public keys to encrypt for: those of the lab, or the one that `./lab up` found with the owner.

    Raises:
        RefusedError: there is none.
    """
    held = secrets / "recipients"
    found = list(settings["recipients"]) or (held.read_text(encoding="utf-8").split() if held.is_file() else [])
    if not found:
        raise RefusedError("there is no public key to encrypt for: ./lab up --only backups brings one")
    return found


def place_in_words(target: Mapping[str, Any]) -> str:
    """Return where the target is, as the state remembers it."""
    if target["kind"] == "s3":
        return f"{target['endpoint'] or 'AWS'} {target['bucket']}/{target['prefix']}"
    return str(target["place"])


def check_place(state: State, place: str, found: Sequence[Set]) -> None:
    """Refuse a target that is empty all of a sudden: a disk that is not mounted is an empty folder.

    Raises:
        RefusedError: sets were there at the last look, and now there is nothing.
    """
    if not found and state.get("place") == place and state.get("sets"):
        raise RefusedError(
            f"{place} is empty, and {len(state['sets'])} sets were there: is the disk mounted, the bucket right?"
            " If you have emptied it: kubectl delete configmap backups-state, which Flux makes anew"
        )


def seen(state: State, place: str, found: Sequence[Set], now: float) -> State:
    """Return the state after a look at the target."""
    newest = next((one for one in found if one.state == COMPLETE), None)
    known = [
        {"name": one.name, "state": one.state, "made": one.made, "size": one.size, "why": one.why} for one in found
    ]
    whole = {"name": newest.name, "made": newest.made, "size": newest.size} if newest else None
    return {**state, "place": place, "looked": now, "sets": known, "whole": whole}


def send(settings: Mapping[str, Any], sender: Sender, keeper: Keeper, secrets: Path, now: float) -> int:
    """Send the newest backup, remove what is too old, and keep what is known then."""
    state, place = keeper.load(), place_in_words(settings["target"])
    check_place(state, place, sender.sets())
    # What is too old makes room first. The newest complete set stays whatever happens.
    sender.prune(settings["keep_days"], now)
    sender.send(archives.newest(DATA, CONFIG), recipients(settings, secrets), now)
    sender.prune(settings["keep_days"], now)
    keeper.save(seen(state, place, sender.sets(), now))
    return 0


def drill(settings: Mapping[str, Any], sender: Sender, keeper: Keeper, now: float) -> int:
    """Check the newest set that is complete by its looks, and keep what came of it."""
    state, place = keeper.load(), place_in_words(settings["target"])
    found = sender.sets()
    check_place(state, place, found)
    state = seen(state, place, found, now)
    newest = next((one for one in found if one.state == COMPLETE), None)
    try:
        if newest is None:
            raise RefusedError("there is no complete set at the target")
        manifest = sender.check(newest.name)
        if list(manifest.recipients) != recipients(settings, SECRETS):
            say(f"{newest.name} is encrypted for other keys than the next one: keep the private keys of both")
    except PROBLEMS as error:
        keeper.save({**state, "checked": {"name": newest.name if newest else "", "at": now, "problem": str(error)}})
        raise
    keeper.save({**state, "checked": {"name": newest.name, "at": now, "problem": ""}})
    say(f"{newest.name} is complete at the target: sizes, checksums, and keys for {len(manifest.recipients)}")
    return 0


def look(what: str, name: str) -> int:
    """Read an archive from standard input, and say what it holds."""
    if what == "data":
        registry = archives.look_at_data(sys.stdin.buffer, name)
        say(f"the archive of the data is complete, {'with' if registry else 'without'} the registry's images")
    else:
        archives.look_at_config(sys.stdin.buffer)
        say("the archive of the configuration is complete, gitlab-secrets.json is in it")
    return 0


def cat(target: Target, name: str, part: str) -> int:
    """Write one part of a set to standard output."""
    for piece in target.pieces(f"{name}/{part}"):
        sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()
    return 0


def main(arguments: Sequence[str]) -> int:
    """Do what the pod is for, and return the exit status."""
    word, *rest = arguments
    try:
        if word == "look":
            return look(rest[0], rest[1] if len(rest) > 1 else "")
        settings = json.loads(SETTINGS.read_text(encoding="utf-8"))
        target, now = Target(settings["target"], SECRETS, RCLONE), time.time()
        sender = Sender(target, settings["lab"], say)
        words: dict[str, Callable[[], int]] = {
            "send": lambda: send(settings, sender, Keeper(settings["gitlab_namespace"]), SECRETS, now),
            "drill": lambda: drill(settings, sender, Keeper(settings["gitlab_namespace"]), now),
            "list": lambda: _print([one.as_json() for one in sender.sets()]),
            "check": lambda: _print(json.loads(sender.check(rest[0]).text())),
            "cat": lambda: cat(target, rest[0], rest[1]),
        }
        return words[word]()
    except PROBLEMS as error:
        say(f"{error}")
        return 1


def _print(content: object) -> int:
    print(json.dumps(content))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
