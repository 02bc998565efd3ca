"""Docker's client and BuildKit's, as strict as the real ones about what they are told, and without a daemon.

Called as: stand_in_builder.py PROGRAM EVENTS ARGUMENT...; writes what happened to the file EVENTS, one JSON object a line.
Settings, from the environment:
    STAND_IN_DAEMON_AFTER   how many times `docker info` fails first; -1: always
    STAND_IN_TEST_FAILS     the Dockerfile's stage `test` fails
    STAND_IN_ACCEPTS        USER:PASSWORD that the registry takes
"""

from __future__ import annotations

import base64
import json
import os
import re
import sys

PROGRAM, EVENTS, *ARGUMENTS = sys.argv[1:]
# No pathlib: to import it would take a fifth of a call.
CONFIG = os.path.join(os.environ["HOME"], ".docker", "config.json")


def read(file: str) -> str:
    with open(file, encoding="utf-8") as opened:
        return opened.read()


def event(kind: str, **more: object) -> None:
    with open(EVENTS, "a", encoding="utf-8") as log:
        log.write(json.dumps({"event": kind, **more}) + "\n")


def events(kind: str) -> list[dict[str, object]]:
    if not os.path.exists(EVENTS):
        return []
    with open(EVENTS, encoding="utf-8") as log:
        return [one for one in map(json.loads, log) if one["event"] == kind]


def fail(message: str, status: int = 1) -> None:
    event("refused", message=message)
    print(f"{PROGRAM}: {message}", file=sys.stderr)
    sys.exit(status)


def options(arguments: list[str], known: dict[str, bool]) -> tuple[dict[str, list[str]], list[str]]:
    """Split arguments into options (name: whether it takes a value) and the rest; an unknown option ends the program."""
    found: dict[str, list[str]] = {}
    rest: list[str] = []
    while arguments:
        word, *arguments = arguments
        name, equals, value = word.partition("=")
        if not word.startswith("-"):
            rest.append(word)
        elif name not in known:
            fail(f"unknown flag: {name}", 125)
        elif not known[name]:
            found.setdefault(name, []).append("")
        else:
            if not equals:
                if not arguments:
                    fail(f"flag needs an argument: {name}", 125)
                value, *arguments = arguments
            found.setdefault(name, []).append(value)
    return found, rest


def stages(dockerfile: str) -> list[str]:
    found = re.findall(r"^FROM\s+(\S+)(?:\s+AS\s+(\S+))?\s*$", read(dockerfile), re.MULTILINE | re.IGNORECASE)
    return [name or "" for _, name in found]


def credentials(registry: str) -> str:
    """Return user:password of the registry in the client's configuration."""
    if not os.path.exists(CONFIG):
        fail(f"push access denied: no basic auth credentials for {registry}")
    auths = json.loads(read(CONFIG))["auths"]
    if registry not in auths:
        fail(f"push access denied: no basic auth credentials for {registry}")
    return base64.b64decode(auths[registry]["auth"]).decode()


def push(image: str) -> None:
    repository, _, tag = image.rpartition(":")
    registry = repository.split("/")[0]
    path = r"[\w.-]+(:\d+)?(/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)+"
    if not re.fullmatch(path, repository) or not re.fullmatch(r"\w[\w.-]{0,127}", tag):
        fail(f"invalid reference format: {image}")
    if credentials(registry) != os.environ["STAND_IN_ACCEPTS"]:
        fail(f"denied: {registry} does not take these credentials")
    event("push", image=image)


def cache(text: str, extra: set[str]) -> str:
    """Check a cache as BuildKit reads it, and return where it lies."""
    fields = dict(part.partition("=")[::2] for part in text.split(","))
    if fields.get("type") != "registry" or not fields.get("ref") or set(fields) - {"type", "ref"} - extra:
        fail(f"cannot read the cache {text}")
    if "mode" in extra and (fields.get("mode") != "max" or fields.get("ignore-error") != "true"):
        fail(f"a cache that is written keeps every stage, and its failure is no failure: {text}")
    return fields["ref"]


def build(target: str, context: str, dockerfile: str) -> None:
    """Build a stage. The stage `test` is what the setting says; what it begins with is what was built before it."""
    names = stages(os.path.join(dockerfile, "Dockerfile"))
    if target and target not in names:
        fail(f'target stage "{target}" could not be found')
    event("build", target=target or names[-1], last=not target or target == names[-1])
    if target == "test" and os.environ.get("STAND_IN_TEST_FAILS"):
        fail('process "/bin/sh -c nginx -t" did not complete successfully: exit code: 1')


def docker() -> None:
    command, *arguments = ARGUMENTS
    over_tls = {"DOCKER_HOST": "tcp://docker:2376", "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": "/certs/client"}
    if any(os.environ.get(name) != value for name, value in over_tls.items()):
        fail("Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?")
    if command == "info":
        options(arguments, {})
        asked = len(events("info"))
        event("info")
        after = int(os.environ.get("STAND_IN_DAEMON_AFTER", "0"))
        if after < 0 or asked < after:
            fail("failed to connect to the docker API at tcp://docker:2376: no such host")
    elif command == "login":
        given, rest = options(
            arguments, {"--username": True, "--password-stdin": False, "-u": True, "--password": True, "-p": True}
        )
        if set(given) != {"--username", "--password-stdin"} or len(rest) != 1:
            fail(f"log in with a user name and the password on standard input, not: {ARGUMENTS}")
        password = sys.stdin.read().rstrip("\r\n")
        if f"{given['--username'][0]}:{password}" != os.environ["STAND_IN_ACCEPTS"]:
            fail(f"Error response from daemon: Get https://{rest[0]}/v2/: unauthorized")
        os.makedirs(os.path.dirname(CONFIG), mode=0o700, exist_ok=True)
        auth = base64.b64encode(f"{given['--username'][0]}:{password}".encode()).decode()
        with open(CONFIG, "w", encoding="utf-8") as written:
            json.dump({"auths": {rest[0]: {"auth": auth}}}, written)
        os.chmod(CONFIG, 0o600)
        event("login", registry=rest[0], user=given["--username"][0])
        print("Login Succeeded")
    elif command == "build":
        given, rest = options(
            arguments, {"--tag": True, "--cache-from": True, "--cache-to": True, "--target": True, "--provenance": True}
        )
        if rest != ["."]:
            fail(f"the context is the checkout, not {rest}")
        for text in given.get("--cache-from", []):
            event("cache from", ref=cache(text, set()))
        build(given.get("--target", [""])[0], ".", ".")
        for text in given.get("--cache-to", []):
            event("cache to", ref=cache(text, {"mode", "ignore-error"}))
        for tag in given.get("--tag", []):
            event("tag", image=tag)
    elif command == "push":
        given, rest = options(arguments, {"--quiet": False})
        if rest[0] not in [one["image"] for one in events("tag")]:
            fail(f"An image does not exist locally with the tag: {rest[0]}")
        push(rest[0])
    else:
        fail(f"unknown command: docker {command}", 125)


def buildctl() -> None:
    if os.environ.get("BUILDKITD_FLAGS") != "--oci-worker-no-process-sandbox":
        fail("operation not permitted: the container allows no second sandbox")
    command, *arguments = ARGUMENTS
    known = ("--frontend", "--local", "--opt", "--output", "--import-cache", "--export-cache")
    given, rest = options(arguments, dict.fromkeys(known, True))
    folders = sorted(given.get("--local", []))
    if (
        command != "build"
        or rest
        or given.get("--frontend") != ["dockerfile.v0"]
        or folders != ["context=.", "dockerfile=."]
    ):
        fail(f"cannot build that: {ARGUMENTS}")
    opts = dict(one.partition("=")[::2] for one in given.get("--opt", []))
    if set(opts) - {"target"}:
        fail(f"unknown options: {opts}")
    for text in given.get("--import-cache", []):
        event("cache from", ref=cache(text, set()))
    build(opts.get("target", ""), ".", ".")
    for text in given.get("--output", []):
        fields = dict(part.partition("=")[::2] for part in text.split(","))
        if set(fields) != {"type", "name", "push"} or fields["type"] != "image" or fields["push"] != "true":
            fail(f"cannot write that: {text}")
        push(fields["name"])
    for text in given.get("--export-cache", []):
        event("cache to", ref=cache(text, {"mode", "ignore-error"}))


if PROGRAM == "docker":
    docker()
else:
    buildctl()
