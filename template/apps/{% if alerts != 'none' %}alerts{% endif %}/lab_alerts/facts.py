"""What the cluster, GitLab and others have answered, as facts. Each function takes answers; none asks."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .cron import longest_pause
from .judge import BAD, GOOD, UNCLEAR, Fact

Object = Mapping[str, Any]
MINUTE, HOUR, DAY = 60, 3600, 86400
# What the CronJobs of a lab are for.
BACKUPS = {"gitlab-backup": "backup", "gitlab-backup-drill": "restore drill"}
# What Flux says while something else is in the way, which is told by itself.
WAITS = frozenset({"DependencyNotReady"})
# Flux reaches these through GitLab, if GitLab holds the repository.
THROUGH_GITLAB = frozenset({"GitRepository", "ImageUpdateAutomation"})
# A volume is well again below this share of its limit, so that one at its limit is not told again and again.
WELL_BELOW = 0.96


def seconds(time: str) -> float:
    """Return a time of Kubernetes, GitLab or a day as seconds since 1970."""
    found = datetime.datetime.fromisoformat(time.replace("Z", "+00:00"))
    return (found if found.tzinfo else found.replace(tzinfo=datetime.timezone.utc)).timestamp()


def day(time: float) -> str:
    """Return the day of a time, in UTC."""
    return datetime.datetime.fromtimestamp(time, datetime.timezone.utc).date().isoformat()


def condition(item: Object, kind: str) -> Mapping[str, Any]:
    """Return an object's condition of a type; an empty one if there is none."""
    found = (item.get("status") or {}).get("conditions") or []
    return next((one for one in found if one.get("type") == kind), {})


def flux(items: Iterable[Object], *, gitlab_is_ready: bool, self_hosted: bool, grace: int) -> list[Fact]:
    """Return whether Flux could do what each of its objects asks."""
    found = []
    for item in items:
        kind, meta = str(item["kind"]), item["metadata"]
        ready = condition(item, "Ready")
        state = {"True": GOOD, "False": BAD}.get(str(ready.get("status")), UNCLEAR)
        if state == BAD and ready.get("reason") in WAITS:
            state = UNCLEAR
        if state == BAD and kind in THROUGH_GITLAB and self_hosted and not gitlab_is_ready:
            state = UNCLEAR
        if (item.get("spec") or {}).get("suspend"):
            state = GOOD
        name = f"{meta['namespace']}/{meta['name']}"
        text = str(ready.get("message", ""))
        found.append(Fact(f"flux/{kind}/{name}", state, f"Flux: {kind} {name} fails", text, grace))
    return found


def gitlab(deployment: Object | None, grace: int) -> Fact:
    """Return whether GitLab's pod is ready, and since when it is not."""
    key, title = "gitlab/ready", "GitLab is not ready"
    if deployment is None:
        return Fact(key, BAD, title, "its Deployment is missing", grace)
    if (deployment.get("status") or {}).get("readyReplicas", 0) >= 1:
        return Fact(key, GOOD, title)
    if (deployment.get("spec") or {}).get("replicas") == 0:
        return Fact(key, BAD, title, "it was scaled to 0 replicas", grace)
    available = condition(deployment, "Available")
    since = seconds(available["lastTransitionTime"]) if available.get("status") == "False" else None
    return Fact(key, BAD, title, str(available.get("message", "")), grace, since)


def backup(cronjob: Object | None, jobs: Iterable[Object], now: float) -> list[Fact]:
    """Return whether the newest Job of a backup's CronJob went well, and whether one did lately."""
    if cronjob is None:
        return []
    name, status = cronjob["metadata"]["name"], cronjob.get("status") or {}
    what = BACKUPS.get(name, f"run of {name}")
    own = [
        one for one in jobs if any(owner.get("name") == name for owner in one["metadata"].get("ownerReferences", []))
    ]
    ended = [one for one in own if _end(one) is not None]
    newest = max(ended, key=lambda one: str(one["metadata"].get("creationTimestamp", "")), default=None)
    state, text = UNCLEAR, ""
    if newest is not None and _end(newest):
        state = GOOD
    elif newest is not None:
        why, place = condition(newest, "Failed").get("message", ""), newest["metadata"]
        state, text = BAD, f"{why} (kubectl logs job/{place['name']} -n {place['namespace']})"
    last = status.get("lastSuccessfulTime")
    began = seconds(str(last or cronjob["metadata"]["creationTimestamp"]))
    # One that is missed is told as a failed one; two, or none for so long, are too old whatever the reason.
    allowed = longest_pause(str(cronjob["spec"]["schedule"])) + DAY
    old = "the last one that succeeded is of " + day(began) if last else "none has succeeded yet"
    if cronjob["spec"].get("suspend"):
        old += f", and the CronJob {name} is suspended"
    return [
        Fact(f"backup/{name}/failed", state, f"The last {what} failed", text),
        Fact(f"backup/{name}/old", BAD if now - began > allowed else GOOD, f"The newest {what} is too old", old),
    ]


def _end(job: Object) -> bool | None:
    """Return whether a Job succeeded; None while it runs."""
    for kind, well in (("Complete", True), ("Failed", False)):
        if condition(job, kind).get("status") == "True":
            return well
    return None


def volumes(summaries: Mapping[str, Object], limit: int) -> list[Fact]:
    """Return how full each node's disks and each claim's volume are, by what the kubelets say.

    Args:
        summaries: what each node's kubelet answers at /stats/summary.
        limit: the per cent above which a volume is too full.
    """
    found: dict[str, Fact] = {}
    for node, summary in sorted(summaries.items()):
        disk = (summary.get("node") or {}).get("fs") or {}
        images = ((summary.get("node") or {}).get("runtime") or {}).get("imageFs") or {}
        # Images mostly lie on the node's own disk, and so do the volumes of local-path: one disk is one fault.
        known = {disk.get("capacityBytes")}
        _add(found, f"volume/node/{node}", f"The disk of node {node} is nearly full", disk, limit)
        if images.get("capacityBytes") not in known:
            _add(found, f"volume/images/{node}", f"The disk for images of node {node} is nearly full", images, limit)
            known.add(images.get("capacityBytes"))
        for pod in summary.get("pods") or []:
            for volume in pod.get("volume") or []:
                claim = volume.get("pvcRef")
                if claim and volume.get("capacityBytes") not in known:
                    name = f"{claim['namespace']}/{claim['name']}"
                    _add(found, f"volume/claim/{name}", f"The volume {name} is nearly full", volume, limit)
    return list(found.values())


def _add(found: dict[str, Fact], key: str, title: str, figures: Object, limit: int) -> None:
    capacity, free = figures.get("capacityBytes"), figures.get("availableBytes")
    if not capacity or free is None:
        return
    # As df counts: what root alone may still use is no free space.
    share = 100 * (1 - free / capacity)
    state = BAD if share > limit else GOOD if share < limit * WELL_BELOW else UNCLEAR
    found[key] = Fact(key, state, title, f"{share:.0f} % of {size(capacity)} are used, {size(free)} are free")


def size(count: float) -> str:
    """Return a number of bytes in words: 12 GiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def _expires_soon(begins: float | None, ends: float, now: float, days: int) -> bool:
    """Say whether something expires within some days; of what lasts for days only, within a quarter of its time."""
    allowed = days * DAY
    if begins is not None:
        allowed = min(allowed, int((ends - begins) / 4))
    return ends - now <= allowed


def served_certificates(ends: Mapping[str, tuple[float, float]], now: float, days: int) -> list[Fact]:
    """Return which certificates expire soon, by when each host's begins and ends."""
    found = []
    for host, (begins, end) in sorted(ends.items()):
        state = BAD if _expires_soon(begins, end, now, days) else GOOD
        text = f"{'it expired' if end <= now else 'it expires'} on {day(end)}"
        found.append(Fact(f"certificate/{host}", state, f"The certificate of {host} expires soon", text))
    return found


def certificates(items: Iterable[Object], now: float, days: int) -> list[Fact]:
    """Return which of cert-manager's certificates expire soon, and which were never issued."""
    found = []
    for item in items:
        meta, status = item["metadata"], item.get("status") or {}
        name = f"{meta['namespace']}/{meta['name']}"
        look = f"kubectl describe certificate {meta['name']} -n {meta['namespace']}"
        if status.get("notAfter"):
            end = seconds(status["notAfter"])
            begins = seconds(status["notBefore"]) if status.get("notBefore") else None
            state = BAD if _expires_soon(begins, end, now, days) else GOOD
            text = f"{'it expired' if end <= now else 'it expires'} on {day(end)} and was not renewed ({look})"
            found.append(Fact(f"certificate/{name}", state, f"The certificate {name} expires soon", text))
        ready = condition(item, "Ready")
        state = {"True": GOOD, "False": BAD}.get(str(ready.get("status")), UNCLEAR)
        text = f"{ready.get('message', '')} ({look})"
        found.append(Fact(f"certificate/{name}/ready", state, f"The certificate {name} is not ready", text, HOUR))
    return found


def tokens(items: Iterable[Object], project: str, now: float, days: int) -> list[Fact]:
    """Return which access tokens of a project expire soon; of several with one name, the last to expire counts."""
    newest: dict[str, Object] = {}
    for item in items:
        name = str(item.get("name", ""))
        if not item.get("revoked") and str(item.get("expires_at") or "9") >= str(
            newest.get(name, {}).get("expires_at") or ""
        ):
            newest[name] = item
    found = []
    for name, item in sorted(newest.items()):
        title = f"The access token {name} of {project} expires soon"
        if not item.get("expires_at"):
            found.append(Fact(f"token/{name}", GOOD, title))
            continue
        end = seconds(str(item["expires_at"])[:10])
        state = BAD if end - now <= days * DAY else GOOD
        text = (
            f"{'it expired' if end <= now else 'it expires'} on {day(end)}; `./lab up` renews those that the lab made"
        )
        found.append(Fact(f"token/{name}", state, title, text))
    return found


def runners(items: Iterable[Object], prefix: str) -> list[Fact]:
    """Return which of the lab's runners GitLab has not heard of for two hours; it knows no sooner."""
    found = []
    for item in items:
        name = str(item.get("description", ""))
        if not (name == prefix or name.startswith(f"{prefix} ")):
            continue
        status = str(item.get("status", ""))
        state = {"online": GOOD, "offline": BAD, "stale": BAD, "never_contacted": BAD}.get(status, UNCLEAR)
        if item.get("paused"):
            state = GOOD
        grace = HOUR if status == "never_contacted" else 0
        text = "it has never asked for jobs" if grace else "it has not asked for jobs for two hours"
        found.append(Fact(f"runner/{item['id']}", state, f"The runner {name} is offline", text, grace))
    return found


def security(version: str, answer: Object | None) -> list[Fact]:
    """Return whether a security release is out, by what GitLab's version check answers for a version."""
    title = "A security release of GitLab is out"
    if not answer or answer.get("version") != version:
        return [Fact("security/gitlab", UNCLEAR, title)]
    if answer.get("severity") != "danger" and not answer.get("critical_vulnerability"):
        return [Fact("security/gitlab", GOOD, title)]
    newest = [str(one) for one in answer.get("latest_stable_versions") or []] or [str(answer.get("latest_version", ""))]
    series = version.rpartition(".")[0]
    same = [one for one in newest if one.rpartition(".")[0] == series]
    take = (same or newest)[0]
    critical = "critical " if answer.get("critical_vulnerability") else ""
    text = (
        f"{version} has {critical}vulnerabilities; ./lab upgrade {take}"
        if take
        else f"{version} has {critical}vulnerabilities"
    )
    return [Fact("security/gitlab", BAD, title, text)]


def blind(sources: Sequence[str], unread: Mapping[str, str], excused: frozenset[str]) -> list[Fact]:
    """Return which sources could not be read.

    Args:
        unread: why not, by source.
        excused: those that cannot be read because of a fault that is told by itself.
    """
    found = []
    for source in sources:
        state = GOOD if source not in unread else UNCLEAR if source in excused else BAD
        title = f"The alarm cannot look at: {source}"
        found.append(Fact(f"blind/{source}", state, title, unread.get(source, ""), HOUR))
    return found
