"""Which image tags must stay in the registry, and the clean-up policy that keeps them.

GitLab's clean-up knows names, numbers and ages of tags. It does not know what a cluster runs. So the lab's policy names
all tags that Flux may deploy, and all that something in the cluster or in this repository uses; it may take the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from .clients.gitlab_cleanup import CleanupPolicy
from .clients.objects import KubeObject

# Every tag that Flux reads as a version, pre-releases too: three numbers. No branch's name in a pipeline has dots.
VERSIONS = r"^v?[0-9]+\.[0-9]+\.[0-9]+(-.*)?$"
# Each version, and what begins like one, whatever deploys it: an owner may go back to any of them.
RELEASES = r"v?[0-9]+\.[0-9]+\.[0-9]+.*"
# GitLab's own limit for each of the two patterns.
LONGEST_PATTERN = 255
KEEP_N, OLDER_THAN, CADENCE = 10, "90d", "7d"
# A project that was made without a policy has this one, switched off.
_UNTOUCHED = {"name_regex": ("", ".*"), "keep_n": (None, KEEP_N), "older_than": ("", OLDER_THAN)}
_NAMED_GROUP = re.compile(r"\(\?P?<[A-Za-z_]\w*>")
_WRITTEN = re.compile(r'^ *repository: "?([^\s"]+)"?\s*\n *tag: "?([^\s"#]+)"?', re.MULTILINE)

# Tags by image, which is named without its registry.
Tags = dict[str, set[str]]


class UnkeepableError(ValueError):
    """No policy can keep all that must stay; the text says why."""


def policy(patterns: Iterable[str], used: Iterable[str]) -> CleanupPolicy:
    """Return the clean-up policy of a project.

    Args:
        patterns: what Flux may deploy of it, as regular expressions (RE2) for whole tags; an empty one for any tag.
        used: the tags of it that are in use.
    Raises:
        UnkeepableError: every tag may be deployed, or the pattern is too long for GitLab.
    """
    kept = [RELEASES]
    for pattern in sorted(patterns):
        if not pattern:
            raise UnkeepableError("its image policy may choose any tag")
        if pattern != VERSIONS:
            kept.append(_without_names(pattern))
    kept += sorted(re.escape(tag) for tag in set(used) if not any(_matches(f"(?:{one})", tag) for one in kept))
    joined = _joined(kept)
    if len(joined) > LONGEST_PATTERN:
        why = f"what has to stay takes {len(joined)} characters, and GitLab's pattern has {LONGEST_PATTERN} at most"
        raise UnkeepableError(why)
    return _keeping(joined)


def everything() -> CleanupPolicy:
    """Return the policy of the lab's that takes nothing."""
    return _keeping(_joined([RELEASES, ".*"]))


def _keeping(pattern: str) -> CleanupPolicy:
    return CleanupPolicy(
        enabled=True,
        name_regex=".*",
        name_regex_keep=pattern,
        keep_n=KEEP_N,
        older_than=OLDER_THAN,
        cadence=CADENCE,
    )


def _joined(kept: Iterable[str]) -> str:
    r"""Return one pattern of several. GitLab puts \A and \z around it, which must not bind to two of them alone."""
    return f"(?:{'|'.join(f'(?:{one})' for one in kept)})"


def _without_names(pattern: str) -> str:
    """Return a pattern without names of groups: two alternatives may not give one name to two groups."""
    found, escaped, in_class = "", False, False
    position = 0
    while position < len(pattern):
        match = None if escaped or in_class else _NAMED_GROUP.match(pattern, position)
        if match:
            found, position = f"{found}(?:", match.end()
            continue
        one = pattern[position]
        in_class = not escaped and (one == "[" or (in_class and one != "]"))
        escaped = one == "\\" and not escaped
        found, position = found + one, position + 1
    return found


def _matches(pattern: str, tag: str, *, unreadable: bool = False) -> bool:
    """Say whether a tag has a pattern, which GitLab puts between its anchors. Some of RE2 Python does not read."""
    try:
        return re.search(rf"\A{pattern}\Z", tag) is not None
    except re.error:
        return unreadable


def may_take(there: CleanupPolicy | None, tag: str) -> bool:
    """Say whether a policy can ever take a tag, whatever its age and its number."""
    if there is None or not there.enabled or tag == "latest":
        return False
    kept = there.name_regex_keep != "" and _matches(there.name_regex_keep, tag)
    return _matches(there.name_regex, tag, unreadable=True) and not kept


def is_labs(there: CleanupPolicy) -> bool:
    """Say whether the lab has set a policy, in this or an earlier form, on or off."""
    return there.name_regex_keep.startswith(f"(?:(?:{RELEASES})")


def is_untouched(there: CleanupPolicy | None) -> bool:
    """Say whether nobody has set a policy: GitLab gives each project one that is off."""
    if there is None:
        return True
    known = all(getattr(there, name) in values for name, values in _UNTOUCHED.items())
    return not there.enabled and not there.name_regex_keep and known


def running(registry: str, objects: Iterable[KubeObject]) -> Tags:
    """Return the tags of a registry's images that objects of the cluster name: workloads, pods, releases' values."""
    found: Tags = {}
    for one in objects:
        for image in _images(one.content):
            _add(found, registry, image)
    return found


def written(registry: str, releases: Iterable[str]) -> Tags:
    """Return the tags of a registry's images that releases in this working tree name."""
    found: Tags = {}
    for text in releases:
        for repository, tag in _WRITTEN.findall(text):
            _add(found, registry, f"{repository}:{tag}")
    return found


def _images(content: object) -> Iterator[str]:
    if isinstance(content, Mapping):
        image = content.get("image")
        if isinstance(image, str):
            yield image
        if isinstance(content.get("repository"), str) and content.get("tag"):
            yield f"{content['repository']}:{content['tag']}"
        for value in content.values():
            yield from _images(value)
    elif isinstance(content, list):
        for value in content:
            yield from _images(value)


def _add(found: Tags, registry: str, image: str) -> None:
    name, _, tag = image.partition("@")[0].removeprefix(f"{registry}/").rpartition(":")
    if image.startswith(f"{registry}/") and name and "/" not in tag:
        found.setdefault(name.lower(), set()).add(tag)
